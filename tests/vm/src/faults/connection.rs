//! One connection, one request: reads it, records it, and has it answered or forwarded.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Request, Role, State, lock, reply};

/// A connection, plain or encrypted.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

pub(super) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    while let Ok((tcp, _)) = listener.accept().await {
        *lock(&state.connections) += 1;
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            // A client that goes away, or refuses our certificate, is what these tests are about.
            let _ = match tls {
                None => serve(Box::new(tcp), &state).await,
                Some(tls) => match tls.accept(tcp).await {
                    Ok(stream) => serve(Box::new(stream), &state).await,
                    Err(error) => Err(error),
                },
            };
        });
    }
}

/// One request per connection: nothing that went wrong reaches the next one.
async fn serve(mut wire: Box<dyn Wire>, state: &State) -> io::Result<()> {
    let head = read_head(&mut wire).await?;
    let request = parse(&head)?;
    lock(&state.requests).push(request.clone());
    match &state.role {
        Role::Proxy(to) => forward(&mut wire, &request, &head, *to).await,
        Role::Site(root) => {
            let path = request.target.split('?').next().unwrap_or_default();
            let fault = state.next_fault(path);
            reply::send(&mut wire, state, &request, root.join(path.trim_start_matches('/')), fault).await
        }
    }
}

async fn forward(wire: &mut Box<dyn Wire>, request: &Request, head: &str, to: SocketAddr) -> io::Result<()> {
    let mut upstream = TcpStream::connect(to).await?;
    if request.method == "CONNECT" {
        wire.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    } else {
        let path = request.target.splitn(4, '/').nth(3).unwrap_or_default();
        upstream.write_all(head.replacen(&request.target, &format!("/{path}"), 1).as_bytes()).await?;
    }
    copy_bidirectional(wire, &mut upstream).await?;
    Ok(())
}

async fn read_head(wire: &mut Box<dyn Wire>) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 64 << 10 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.push(wire.read_u8().await?);
    }
    String::from_utf8(head).map_err(|_not_text| io::ErrorKind::InvalidData.into())
}

fn parse(head: &str) -> io::Result<Request> {
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target)) = (first.next(), first.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Ok(Request { method: method.to_owned(), target: target.to_owned(), headers })
}
