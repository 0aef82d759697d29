//! The container runtime interface, `runtime.v1`, over the runtime's socket: as much of it as a kubelet needs to run pods
//! and a crictl to list them.

pub(crate) mod message;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

/// A runtime, connected to at the first call and again after each loss.
#[derive(Debug, Clone)]
pub(crate) struct Runtime {
    channel: Channel,
}

impl Runtime {
    /// The one at an endpoint such as `unix:///run/containerd/containerd.sock`; each call may take so long.
    pub(crate) fn at(endpoint: &str, patience: Duration) -> Result<Self> {
        let Some(path) = endpoint.strip_prefix("unix://") else {
            bail!("endpoint {endpoint:?} is not supported, only unix sockets are");
        };
        let path = PathBuf::from(path);
        let connect = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // gRPC wants an authority; no name is looked up for it.
        let endpoint = Endpoint::from_static("http://localhost").timeout(patience);
        Ok(Self { channel: endpoint.connect_with_connector_lazy(connect) })
    }

    /// A call of the runtime's service.
    pub(crate) async fn runtime<Q, A>(&self, method: &str, question: Q) -> Result<A, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.call(&format!("/runtime.v1.RuntimeService/{method}"), question).await
    }

    /// A call of the images' service, which is at the same socket.
    pub(crate) async fn image<Q, A>(&self, method: &str, question: Q) -> Result<A, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.call(&format!("/runtime.v1.ImageService/{method}"), question).await
    }

    async fn call<Q, A>(&self, path: &str, question: Q) -> Result<A, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let path: PathAndQuery = path.parse().map_err(|_| Status::internal(format!("{path} is no method")))?;
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(chain(&error)))?;
        let answer = grpc.unary(Request::new(question), path, ProstCodec::<Q, A>::default()).await;
        Ok(answer.map_err(named)?.into_inner())
    }
}

/// A failure to connect, with its cause: tonic itself says no more than "transport error".
fn named(status: Status) -> Status {
    match std::error::Error::source(&status) {
        Some(source) if status.code() == Code::Unknown || status.code() == Code::Unavailable => {
            Status::unavailable(chain(source))
        }
        _ => status,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A status in the words of Go's gRPC.
pub(crate) fn told(status: &Status) -> String {
    format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
}

/// Adds what was asked of the runtime to its answer.
pub(crate) trait Asked<T> {
    fn asked(self, what: &str) -> Result<T>;
}

impl<T> Asked<T> for Result<T, Status> {
    fn asked(self, what: &str) -> Result<T> {
        self.map_err(|status| anyhow::anyhow!(told(&status))).with_context(|| what.to_owned())
    }
}
