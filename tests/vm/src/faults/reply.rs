//! What the server answers: a file or a part of it, as the fault of the hour has it.

use std::fmt::Write as _;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use flexnode_build::digest::Digest;
use tokio::io::AsyncWriteExt as _;

use super::connection::Wire;
use super::{Fault, Request, State};

/// An answer, before anything goes wrong on the wire.
#[derive(Debug, Default)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The body ends with the connection.
    unannounced: bool,
}

pub(super) async fn send(
    wire: &mut Box<dyn Wire>,
    state: &State,
    request: &Request,
    path: PathBuf,
    fault: Option<Fault>,
) -> io::Result<()> {
    let reply = compose(request, path, fault.as_ref()).await;
    wire.write_all(reply.head().as_bytes()).await?;
    let (chunk, pause) = match fault {
        Some(Fault::Slow { chunk, pause }) => (chunk, pause),
        _ => (16 << 10, Duration::ZERO),
    };
    let end = match fault {
        Some(Fault::Truncate { after } | Fault::Reset { after } | Fault::Stall { after }) => as_index(after),
        _ => usize::MAX,
    };
    for piece in reply.body[..end.min(reply.body.len())].chunks(chunk) {
        wire.write_all(piece).await?;
        wire.flush().await?;
        state.count_sent(piece.len());
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    match fault {
        Some(Fault::Stall { .. }) => pending().await,
        Some(Fault::Reset { .. }) => wire.tcp().set_zero_linger(),
        _ => wire.shutdown().await,
    }
}

async fn compose(request: &Request, path: PathBuf, fault: Option<&Fault>) -> Reply {
    let file = match fault {
        Some(Fault::Answer { status, headers, body }) => {
            return Reply { status: *status, headers: headers.clone(), body: body.clone(), ..Reply::default() };
        }
        Some(Fault::Swap(body)) => body.clone(),
        _ => match tokio::fs::read(path).await {
            Ok(file) => file,
            Err(_) => return Reply { status: 404, body: b"Not Found\n".to_vec(), ..Reply::default() },
        },
    };
    let etag = format!("\"{}\"", Digest::of(&file).short());
    let mut reply = Reply { status: 200, headers: vec![("ETag".to_owned(), etag.clone())], ..Reply::default() };
    let is_same = request.header("if-range").is_none_or(|tag| tag == etag);
    let start = request.header("range").and_then(range_start).filter(|_| is_same);
    match (fault, start) {
        (Some(Fault::NoSuchRange), Some(_)) => reply.not_satisfiable(&file),
        (Some(Fault::WrongRange), Some(_)) => reply.part(&file, 0),
        (Some(Fault::IgnoreRange), _) | (_, None) => reply.body = file,
        (_, Some(start)) if start < file.len() => reply.part(&file, start),
        (_, Some(_)) => reply.not_satisfiable(&file),
    }
    if let Some(Fault::Oversize { extra }) = fault {
        reply.body.resize(reply.body.len() + as_index(*extra), 0);
        reply.unannounced = true;
    }
    reply
}

impl Reply {
    fn part(&mut self, file: &[u8], start: usize) {
        self.status = 206;
        let range = format!("bytes {start}-{}/{}", file.len() - 1, file.len());
        self.headers.push(("Content-Range".to_owned(), range));
        self.body = file[start..].to_vec();
    }

    fn not_satisfiable(&mut self, file: &[u8]) {
        self.status = 416;
        self.headers.push(("Content-Range".to_owned(), format!("bytes */{}", file.len())));
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} -\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            // Writing to a string cannot fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let announces = |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-length");
        if !self.unannounced && !self.headers.iter().any(announces) {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        head + "\r\n"
    }
}

/// The first byte of `bytes=N-`.
fn range_start(range: &str) -> Option<usize> {
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

fn as_index(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
