//! The kubelets of a fleet, all in this process: each registers its Node and reports it ready, with the token of its
//! machine, once `systemctl` has started it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use flexnode_firstboot::config::Secret;
use flexnode_firstboot::himds::{AKS_SERVER, Himds};
use flexnode_firstboot::retry::Pace;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::runtime::Runtime;

use super::machine::Machine;
use crate::azure::{Emulator, client, contoso};

/// They run until this is dropped.
pub(super) struct Kubelets {
    _runtime: Runtime,
}

struct Kubelet {
    node: String,
    machine_id: String,
    himds: String,
    tokens: PathBuf,
}

impl Kubelets {
    /// `started` is a pipe, in which a line with a machine's number means that its kubelet was started.
    pub(super) fn start(started: &Path, machines: &[Machine], azure: &Emulator, pace: Pace) -> Result<Self> {
        let (server, ca) = azure.api_server(&contoso::cluster_id()).context("find the cluster")?;
        let client = client::client(&ca, Duration::from_secs(30))?;
        let server: Arc<str> = server.into();
        let kubelets: Vec<Arc<Kubelet>> = machines.iter().map(|machine| Arc::new(Kubelet::of(machine))).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.context("start a thread")?;
        let inside = runtime.enter();
        // Open for writing too, or it would end whenever no script writes.
        let pipe = pipe::OpenOptions::new().read_write(true).open_receiver(started).context("open the pipe")?;
        runtime.spawn(async move {
            let mut lines = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Some(kubelet) = line.parse().ok().and_then(|nth: usize| kubelets.get(nth)).cloned() else {
                    continue;
                };
                let (client, server) = (client.clone(), Arc::clone(&server));
                tokio::spawn(async move {
                    // As long as it takes; the agent tells what it waits for.
                    while kubelet.run(&client, &server).await.is_err() {
                        tokio::time::sleep(pace.of(Duration::from_secs(1))).await;
                    }
                });
            }
        });
        drop(inside);
        Ok(Self { _runtime: runtime })
    }
}

impl Kubelet {
    fn of(machine: &Machine) -> Self {
        Self {
            node: machine.name.clone(),
            machine_id: machine.id.clone(),
            himds: machine.himds.url().to_owned(),
            tokens: machine.tokens.clone(),
        }
    }

    async fn run(&self, client: &Client, server: &str) -> Result<()> {
        let himds = Himds::new(client.clone(), &self.himds, &self.tokens);
        let token = himds.token(AKS_SERVER).await.context("ask for a token")?;
        let Self { node, machine_id, .. } = self;
        let mut object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}});
        let url = format!("{server}/api/v1/nodes");
        let status = ask(client, Method::POST, "application/json", &url, &token, &object).await?;
        ensure!(matches!(status, 201 | 409), "the Node is not registered");
        object["status"] =
            json!({"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"machineID": machine_id}});
        let url = format!("{server}/api/v1/nodes/{node}/status");
        let status =
            ask(client, Method::PATCH, "application/strategic-merge-patch+json", &url, &token, &object).await?;
        ensure!(status == 200, "the Node's status is not taken");
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": node},
            "spec": {"holderIdentity": node, "leaseDurationSeconds": 40},
        });
        let url = format!("{server}/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases");
        let status = ask(client, Method::POST, "application/json", &url, &token, &lease).await?;
        ensure!(matches!(status, 201 | 409), "the lease is not taken");
        Ok(())
    }
}

async fn ask(client: &Client, method: Method, media: &str, url: &str, token: &Secret, body: &Value) -> Result<u16> {
    let request = client.request(method, url).bearer_auth(token.expose()).header("content-type", media);
    Ok(request.body(body.to_string()).send().await?.status().as_u16())
}

pub(super) fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}
