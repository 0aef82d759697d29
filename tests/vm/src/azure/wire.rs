//! Connections that can be torn: what lies below HTTP, for faults that HTTP has no words for.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::tls::{Identity, Welcome};

/// The handle on a connection with which its request can tear it.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate(Arc<AtomicBool>);

impl Fate {
    /// From now on nothing is written, and the connection ends with a TCP reset.
    pub(super) fn tear(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_torn(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A TCP connection that can be torn.
struct Wire {
    tcp: TcpStream,
    fate: Fate,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.fate.is_torn() {
            // Where the client has gone already there is nothing to reset.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(context, to)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.fate.is_torn() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fate.is_torn() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection, plain or encrypted.
pub(super) struct Connection {
    stream: Box<dyn Duplex>,
    fate: Fate,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, to)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Connections that are ready for HTTP.
pub(super) struct Incoming {
    ready: mpsc::Receiver<Connection>,
    address: SocketAddr,
}

impl Incoming {
    /// Accepts on `listener`; each handshake goes on by itself, so that one which hangs holds up no other.
    pub(super) fn new(listener: TcpListener, address: SocketAddr, identity: Option<Arc<Identity>>) -> Self {
        let (sender, ready) = mpsc::channel(64);
        tokio::spawn(accept(listener, identity, sender));
        Self { ready, address }
    }
}

impl Listener for Incoming {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.ready.recv().await {
            Some(connection) => (connection, self.address),
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Connected<IncomingStream<'_, Incoming>> for Fate {
    fn connect_info(stream: IncomingStream<'_, Incoming>) -> Self {
        stream.io().fate.clone()
    }
}

async fn accept(listener: TcpListener, identity: Option<Arc<Identity>>, sender: mpsc::Sender<Connection>) {
    loop {
        let tcp = tokio::select! {
            accepted = listener.accept() => accepted,
            // The service has been stopped: its port is given back.
            () = sender.closed() => return,
        };
        let Ok((tcp, _)) = tcp else {
            // Out of file descriptors, or the client is gone already. The first takes a while to pass.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // Where it does not work, answers only come later.
        let _ = tcp.set_nodelay(true);
        let (identity, sender, fate) = (identity.clone(), sender.clone(), Fate::default());
        tokio::spawn(async move {
            if let Some(stream) = welcome(Wire { tcp, fate: fate.clone() }, identity.as_deref(), &fate).await {
                // Nobody receives only when the service has been stopped.
                let _ = sender.send(Connection { stream, fate }).await;
            }
        });
    }
}

async fn welcome(mut wire: Wire, identity: Option<&Identity>, fate: &Fate) -> Option<Box<dyn Duplex>> {
    let Some(identity) = identity else { return Some(Box::new(wire)) };
    match identity.welcome() {
        // A client that refuses our certificate, or goes away, is what these tests are about.
        Welcome::Handshake(config) => match TlsAcceptor::from(config).accept(wire).await {
            Ok(stream) => Some(Box::new(stream)),
            Err(_) => None,
        },
        Welcome::Reset => {
            let _ = wire.read_u8().await;
            fate.tear();
            None
        }
        Welcome::Hang => {
            // Ends when the client does.
            while wire.read_u8().await.is_ok() {}
            None
        }
    }
}
