//! One service on one port: reads a request, lets its fault have its way, has it answered, and records it.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State as Extract};
use axum::http::HeaderValue;
use axum::http::header::HeaderName;
use axum::response::Response;
use futures_util::stream;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::call::{Call, Reply};
use super::clock::http_date;
use super::fault::{Fault, Schedule};
use super::himds::Site;
use super::operation::{Operation, Service};
use super::record::{Log, Recorded};
use super::state::State;
use super::tls::Identity;
use super::wire::{Fate, Incoming};
use super::{arm, entra, himds, kubernetes};

/// What all services share.
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) schedule: Schedule,
    pub(super) log: Log,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who answers on a port.
#[derive(Clone)]
pub(super) enum Desk {
    Entra,
    Arm,
    Himds(Arc<Site>),
    /// The API server of the cluster with this id.
    Kubernetes(Arc<str>),
}

impl Desk {
    fn service(&self) -> Service {
        match self {
            Self::Entra => Service::Entra,
            Self::Arm => Service::Arm,
            Self::Himds(_) => Service::Himds,
            Self::Kubernetes(_) => Service::Kubernetes,
        }
    }

    fn answer(&self, state: &mut State, call: &mut Call) -> Reply {
        match self {
            Self::Entra => entra::answer(state, call),
            Self::Arm => arm::answer(state, call),
            Self::Himds(site) => himds::answer(state, site, call),
            Self::Kubernetes(cluster) => kubernetes::answer(state, cluster, call),
        }
    }

    /// An error of its own making, in its own shape.
    fn error(&self, status: u16) -> Reply {
        match self {
            Self::Entra => entra::unavailable(status),
            Self::Arm => arm::unavailable(status),
            Self::Himds(_) => himds::unavailable(status),
            Self::Kubernetes(_) => kubernetes::unavailable(status),
        }
    }
}

/// Starts a service.
pub(super) fn start(
    runtime: &Handle,
    at: SocketAddr,
    identity: Option<Arc<Identity>>,
    desk: Desk,
    shared: &Arc<Shared>,
) -> Result<(SocketAddr, JoinHandle<()>)> {
    let listener = std::net::TcpListener::bind(at).with_context(|| format!("listen on {at}"))?;
    listener.set_nonblocking(true).context("prepare the port")?;
    let address = listener.local_addr().context("ask for the port")?;
    let inside = runtime.enter();
    let incoming = Incoming::new(TcpListener::from_std(listener).context("listen on the port")?, address, identity);
    let app = Router::new().fallback(serve).with_state((desk, Arc::clone(shared)));
    let service = app.into_make_service_with_connect_info::<Fate>();
    let task = runtime.spawn(async move {
        // It only ends with the runtime.
        let _ = axum::serve(incoming, service).await;
    });
    drop(inside);
    Ok((address, task))
}

/// Larger than any body that these services take.
const LARGEST: usize = 1 << 20;

async fn serve(
    ConnectInfo(fate): ConnectInfo<Fate>,
    Extract((desk, shared)): Extract<(Desk, Arc<Shared>)>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let at = shared.state().clock.now();
    let mut call = Call::new(parts.method, &parts.uri, parts.headers, at);
    let service = desk.service();
    let operation = Operation::of(service, &call);
    let fault = shared.schedule.next(service, operation, call.method.as_str(), &call.path);
    let reply = match to_bytes(body, LARGEST).await {
        Ok(body) => {
            call.body = body;
            compose(&desk, &shared, &mut call, fault.as_ref())
        }
        Err(_) => Some(desk.error(413)),
    };
    let answered = reply.is_some() && !matches!(fault, Some(Fault::LoseAnswer));
    shared.log.add(Recorded {
        service,
        operation,
        method: call.method.to_string(),
        path: call.path.clone(),
        query: call.query.clone(),
        principal: call.principal.clone(),
        status: reply.as_ref().filter(|_| answered).map(|reply| reply.status),
        error: reply.as_ref().and_then(error_code),
        fault: fault.as_ref().map(|fault| format!("{fault:?}")),
        at,
    });
    match (fault, reply) {
        (Some(Fault::Hang), _) => pending().await,
        (Some(Fault::Reset | Fault::LoseAnswer), _) | (_, None) => {
            fate.tear();
            Response::new(Body::empty())
        }
        (fault, Some(reply)) => send(reply, fault, &fate, call.now),
    }
}

/// The answer, where there is one; the state has changed by then.
fn compose(desk: &Desk, shared: &Shared, call: &mut Call, fault: Option<&Fault>) -> Option<Reply> {
    match fault {
        Some(Fault::Reset | Fault::Hang) => return None,
        Some(Fault::Answer { status, headers, body }) => {
            return Some(Reply { status: *status, headers: headers.clone(), body: body.clone().into_bytes() });
        }
        Some(Fault::Throttled { retry_after }) => {
            return Some(desk.error(429).with("retry-after", retry_after.to_string()));
        }
        Some(Fault::Status(status)) => return Some(desk.error(*status)),
        Some(Fault::Skew(seconds)) => {
            let by = Duration::from_secs(seconds.unsigned_abs());
            call.now = if *seconds < 0 { call.now.saturating_sub(by) } else { call.now + by };
        }
        Some(Fault::Twice) => {
            desk.answer(&mut shared.state(), call);
        }
        _ => {}
    }
    Some(desk.answer(&mut shared.state(), call))
}

/// `error.code` of ARM, AADSTS codes of Entra ID, `error` of HIMDS, `reason` of Kubernetes.
fn error_code(reply: &Reply) -> Option<String> {
    if reply.status < 400 {
        return None;
    }
    let body: Value = serde_json::from_slice(&reply.body).ok()?;
    let entra = body["error_codes"][0].as_u64().map(|code| format!("AADSTS{code}"));
    let others = [&body["error"]["code"], &body["error"], &body["reason"]];
    entra.or_else(|| others.iter().find_map(|code| code.as_str()).map(str::to_owned))
}

fn send(reply: Reply, fault: Option<Fault>, fate: &Fate, now: Duration) -> Response {
    let length = reply.body.len();
    let mut response = Response::new(body(reply.body, fault, fate.clone()));
    *response.status_mut() = reply.status.try_into().unwrap_or_default();
    let headers = [("date".to_owned(), http_date(now)), ("content-length".to_owned(), length.to_string())];
    for (name, value) in headers.into_iter().chain(reply.headers) {
        // What cannot be a header is one of a test's own making, and left out.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// The body as the fault lets it through. A step that only yields lets the server flush what came before it.
fn body(bytes: Vec<u8>, fault: Option<Fault>, fate: Fate) -> Body {
    let (chunk, pause, end) = match &fault {
        Some(Fault::Slow { chunk, pause }) => ((*chunk).max(1), *pause, bytes.len()),
        Some(Fault::ResetBody { after } | Fault::StallBody { after } | Fault::Truncate { after }) => {
            (LARGEST, Duration::ZERO, (*after).min(bytes.len()))
        }
        _ => return Body::from(bytes),
    };
    let chunks: Vec<Vec<u8>> = bytes[..end].chunks(chunk).map(<[u8]>::to_vec).collect();
    let whole = end == bytes.len() && matches!(fault, Some(Fault::Slow { .. }));
    let chunks =
        stream::unfold((chunks.into_iter(), fault, fate, false), move |(mut left, fault, fate, ended)| async move {
            if ended {
                return None;
            }
            if let Some(next) = left.next() {
                tokio::time::sleep(pause).await;
                return Some((Ok(next), (left, fault, fate, false)));
            }
            tokio::task::yield_now().await;
            match fault {
                _ if whole => return None,
                Some(Fault::StallBody { .. }) => pending().await,
                Some(Fault::ResetBody { .. }) => fate.tear(),
                _ => {}
            }
            Some((Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)), (left, fault, fate, true)))
        });
    Body::from_stream(chunks)
}
