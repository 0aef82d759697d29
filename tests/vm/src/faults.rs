//! A loopback HTTP server that serves a directory and misbehaves on schedule.
//!
//! It speaks HTTP/1.1 by hand over tokio's sockets, because most of its faults lie below what an HTTP library lets one
//! do. It runs on a thread of its own, so tests may block, and ends when it is dropped.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use flexnode_vm::faults::{Fault, Server};
//!
//! let server = Server::http("lab/mirror".as_ref())?;
//! server.once("/dl.k8s.io/kubelet", [Fault::Reset { after: 1000 }, Fault::IgnoreRange]);
//! // ... let something fetch `server.url()` ...
//! assert_eq!(server.requests_for("/dl.k8s.io/kubelet")[1].header("range"), Some("bytes=1000-"));
//! # Ok(())
//! # }
//! ```

mod connection;
mod reply;
mod tls;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

pub use self::tls::Authority;

/// One way to misbehave, for one request. Offsets count bytes of the body that is sent.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An orderly end of the connection before the announced end of the body.
    Truncate { after: u64 },
    /// A TCP reset in the body.
    Reset { after: u64 },
    /// Silence in the body, until the client goes.
    Stall { after: u64 },
    /// A little at a time.
    Slow { chunk: usize, pause: Duration },
    /// Another body, whole and correctly announced, with ranges and an entity tag of its own.
    Swap(Vec<u8>),
    /// So many more bytes than the file has, without an announced length.
    Oversize { extra: u64 },
    /// 200 and the whole file, whatever range was asked for.
    IgnoreRange,
    /// 206 with a range that nobody asked for, from the first byte.
    WrongRange,
    /// 416, whatever range was asked for.
    NoSuchRange,
    /// Any other answer. A `Content-Length` among the headers may lie.
    Answer { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
}

impl Fault {
    /// An answer with this status, one header and a body.
    #[must_use]
    pub fn answer(status: u16, header: (&str, &str), body: &str) -> Self {
        let headers = vec![(header.0.to_owned(), header.1.to_owned())];
        Self::Answer { status, headers, body: body.as_bytes().to_vec() }
    }

    /// A redirect to `to`.
    #[must_use]
    pub fn redirect(to: &str) -> Self {
        Self::answer(302, ("Location", to), "")
    }
}

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `CONNECT`, …
    pub method: String,
    /// As sent: a path, at a proxy a URL or `host:port`.
    pub target: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// A header's value, by its name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The server. Dropping it closes its port and every connection.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct State {
    role: Role,
    plans: Mutex<HashMap<String, Plan>>,
    connections: Mutex<usize>,
    requests: Mutex<Vec<Request>>,
    sent: Mutex<u64>,
    progress: Condvar,
}

#[derive(Debug)]
enum Role {
    /// Serves a directory.
    Site(PathBuf),
    /// Forwards everything to one server, whatever host the client names.
    Proxy(SocketAddr),
}

#[derive(Debug, Default)]
struct Plan {
    once: VecDeque<Fault>,
    always: Option<Fault>,
}

impl Server {
    /// Serves the files below `root`.
    ///
    /// # Errors
    /// When no port or thread can be had.
    pub fn http(root: &Path) -> Result<Self> {
        Self::start(Role::Site(root.to_owned()), None)
    }

    /// The same over TLS, with a certificate of `authority` for 127.0.0.1 and `names`.
    ///
    /// # Errors
    /// When no port, thread or certificate can be had.
    pub fn https(root: &Path, authority: &Authority, names: &[&str]) -> Result<Self> {
        Self::start(Role::Site(root.to_owned()), Some(authority.acceptor(names)?))
    }

    /// An HTTP proxy (absolute URLs and CONNECT) that connects to `to` for every host: names need not resolve.
    ///
    /// # Errors
    /// When no port or thread can be had.
    pub fn proxy(to: &Self) -> Result<Self> {
        Self::start(Role::Proxy(to.address), None)
    }

    fn start(role: Role, tls: Option<TlsAcceptor>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("start a thread for the server")?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("bind a port of loopback")?;
        listener.set_nonblocking(true).context("prepare the port")?;
        let address = listener.local_addr().context("ask for the port")?;
        let state = Arc::new(State {
            role,
            plans: Mutex::default(),
            connections: Mutex::default(),
            requests: Mutex::default(),
            sent: Mutex::default(),
            progress: Condvar::new(),
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let inside = runtime.enter();
        let listener = TcpListener::from_std(listener).context("listen on the port")?;
        runtime.spawn(connection::accept(listener, tls, Arc::clone(&state)));
        drop(inside);
        Ok(Self { address, scheme, state, runtime: Some(runtime) })
    }

    /// `http://127.0.0.1:PORT`, without a final slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One fault for each of the next requests for `path`, in this order; then it behaves.
    pub fn once(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.state.plans).entry(path.to_owned()).or_default().once.extend(faults);
    }

    /// The fault of every request for `path` that [`Server::once`] says nothing about.
    pub fn always(&self, path: &str, fault: Fault) {
        lock(&self.state.plans).entry(path.to_owned()).or_default().always = Some(fault);
    }

    /// Forgets every fault of `path`.
    pub fn behave(&self, path: &str) {
        lock(&self.state.plans).remove(path);
    }

    /// All requests so far, in the order of their arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state.requests).clone()
    }

    /// The requests for one target so far.
    #[must_use]
    pub fn requests_for(&self, target: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.target == target).collect()
    }

    /// Connections so far, those included that never became a request.
    #[must_use]
    pub fn connections(&self) -> usize {
        *lock(&self.state.connections)
    }

    /// Blocks until `bytes` of bodies have been handed to the kernel. It holds back some megabytes for a client that
    /// does not read: ask for more than that, and the client must have read the rest.
    ///
    /// # Errors
    /// When that takes longer than a minute.
    pub fn wait_sent(&self, bytes: u64) -> Result<()> {
        let sent = lock(&self.state.sent);
        let limit = Duration::from_secs(60);
        let waited = self.state.progress.wait_timeout_while(sent, limit, |sent| *sent < bytes);
        let (sent, _) = waited.unwrap_or_else(PoisonError::into_inner);
        ensure!(*sent >= bytes, "only {sent} of {bytes} bytes were sent within {limit:?}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The ordinary drop would wait, which a test inside another runtime may not.
            runtime.shutdown_background();
        }
    }
}

impl State {
    fn next_fault(&self, path: &str) -> Option<Fault> {
        let mut plans = lock(&self.plans);
        let plan = plans.get_mut(path)?;
        plan.once.pop_front().or_else(|| plan.always.clone())
    }

    fn count_sent(&self, bytes: usize) {
        *lock(&self.sent) += bytes as u64;
        self.progress.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
