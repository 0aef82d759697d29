//! The Node and its lease.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::config::Config;
use super::flags::Flags;

/// What a Node says of its machine.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) name: String,
    labels: Map<String, Value>,
    taints: Vec<Value>,
    machine_id: String,
    version: String,
    pub(super) runtime: String,
    registers: bool,
}

impl Facts {
    pub(super) fn read(flags: &Flags, config: &Config, version: &str) -> Result<Self> {
        let name = match flags.text("hostname-override") {
            "" => fs::read_to_string("/proc/sys/kernel/hostname").context("couldn't determine hostname")?,
            name => name.to_owned(),
        };
        let name = name.trim().to_ascii_lowercase();
        ensure!(!name.is_empty(), "empty hostname is invalid");
        let mut labels = Map::from_iter([("kubernetes.io/hostname".to_owned(), json!(name))]);
        labels.extend(flags.labels()?.into_iter().map(|(key, value)| (key, json!(value))));
        let machine_id = fs::read_to_string("/etc/machine-id").context("read the machine-id")?;
        Ok(Self {
            name,
            labels,
            taints: config.taints.clone(),
            machine_id: machine_id.trim().to_owned(),
            version: format!("v{version}"),
            runtime: String::new(),
            registers: config.registers,
        })
    }

    fn node(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": self.name, "labels": self.labels},
            "spec": {"taints": self.taints},
        })
    }
}

/// Registers the Node where there is none, says how it is, and renews the lease. Without trouble it is ready.
pub(super) async fn report(client: &Client, facts: &Facts, trouble: Option<&str>) -> Result<()> {
    let path = format!("/api/v1/nodes/{}", facts.name);
    if facts.registers && client.ask(Method::GET, &path, None).await?.is_none() {
        client.ask(Method::POST, "/api/v1/nodes", Some(&facts.node())).await?;
    }
    let (status, reason, message) = match trouble {
        None => ("True", "KubeletReady", "kubelet is posting ready status"),
        Some(trouble) => ("False", "KubeletNotReady", trouble),
    };
    let change = json!({"status": {
        "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": message}],
        "nodeInfo": {
            "machineID": facts.machine_id,
            "kubeletVersion": facts.version,
            "containerRuntimeVersion": facts.runtime,
        },
    }});
    client.ask(Method::PATCH, &format!("{path}/status"), Some(&change)).await?;
    renew(client, &facts.name).await
}

async fn renew(client: &Client, name: &str) -> Result<()> {
    const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let path = format!("{LEASES}/{name}");
    match client.ask(Method::GET, &path, None).await? {
        Some(lease) => client.ask(Method::PUT, &path, Some(&lease)).await?,
        None => {
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
                "spec": {"holderIdentity": name, "leaseDurationSeconds": 40},
            });
            client.ask(Method::POST, LEASES, Some(&lease)).await?
        }
    };
    Ok(())
}
