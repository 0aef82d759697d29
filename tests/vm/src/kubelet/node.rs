//! The Node and its lease.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::flags::Flags;
use crate::standin;

/// What a Node says of its machine.
pub(super) struct Facts {
    pub(super) name: String,
    labels: Map<String, Value>,
    taints: Vec<Value>,
    runtime: String,
}

impl Facts {
    pub(super) fn read(flags: &Flags) -> Result<Self> {
        let context = || format!("failed to load kubelet config file, path: {}", flags.config.display());
        let text = fs::read_to_string(&flags.config).with_context(context)?;
        let config: Value = serde_yaml::from_str(&text).with_context(context)?;
        ensure!(
            config["kind"] == "KubeletConfiguration" && config["apiVersion"] == "kubelet.config.k8s.io/v1beta1",
            "{}: no kind is registered for it",
            context()
        );
        // Without the file, `kubectl logs` would be Unauthorized; the real one does not start.
        let ca = config["authentication"]["x509"]["clientCAFile"].as_str().unwrap_or_default();
        ensure!(ca.is_empty() || Path::new(ca).is_file(), "unable to load client CA file {ca}");
        let pods = config["staticPodPath"].as_str().unwrap_or_default();
        ensure!(pods.is_empty() || Path::new(pods).is_dir(), "no static pods' folder {pods}");
        let endpoint = config["containerRuntimeEndpoint"].as_str().and_then(|text| text.strip_prefix("unix://"));
        let name = match &flags.name {
            Some(name) => name.clone(),
            None => fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_ascii_lowercase(),
        };
        let taints = flags.taints.split(',').filter(|text| !text.is_empty()).map(taint).collect::<Result<_>>()?;
        Ok(Self {
            labels: labels(&flags.labels, &name)?,
            name,
            taints,
            runtime: endpoint.context("no containerRuntimeEndpoint")?.to_owned(),
        })
    }

    fn node(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": self.name, "labels": self.labels},
            "spec": {"taints": self.taints},
        })
    }

    /// The condition Ready, for the same reasons as the real one's.
    fn ready(&self) -> (bool, String) {
        if let Err(error) = UnixStream::connect(&self.runtime) {
            return (false, format!("container runtime is down: {error}"));
        }
        let networks = fs::read_dir("/etc/cni/net.d").into_iter().flatten().flatten();
        if networks.count() == 0 {
            let message = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady \
                           message:Network plugin returns error: cni plugin not initialized";
            return (false, message.to_owned());
        }
        (true, "kubelet is posting ready status".to_owned())
    }
}

/// Registers the Node where there is none, says how it is, and renews the lease; the condition's message.
pub(super) async fn report(client: &Client, facts: &Facts) -> Result<String> {
    let path = format!("/api/v1/nodes/{}", facts.name);
    if client.ask(Method::GET, &path, None).await?.is_none() {
        client.ask(Method::POST, "/api/v1/nodes", Some(&facts.node())).await?;
    }
    let (is_ready, message) = facts.ready();
    let (status, reason) = if is_ready { ("True", "KubeletReady") } else { ("False", "KubeletNotReady") };
    let machine_id = fs::read_to_string("/etc/machine-id").context("read the machine-id")?;
    let change = json!({"status": {
        "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": message}],
        "nodeInfo": {"machineID": machine_id.trim(), "kubeletVersion": format!("v{}", standin::version())},
    }});
    client.ask(Method::PATCH, &format!("{path}/status"), Some(&change)).await?;
    renew(client, &facts.name).await?;
    Ok(message)
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

fn labels(text: &str, name: &str) -> Result<Map<String, Value>> {
    let mut labels = Map::from_iter([("kubernetes.io/hostname".to_owned(), json!(name))]);
    for pair in text.split(',').filter(|text| !text.is_empty()) {
        let (key, value) = pair.split_once('=').with_context(|| format!("invalid label {pair:?}"))?;
        labels.insert(key.to_owned(), json!(value));
    }
    Ok(labels)
}

fn taint(text: &str) -> Result<Value> {
    let Some((pair, effect)) = text.rsplit_once(':') else { bail!("invalid taint spec: {text}") };
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    Ok(json!({"key": key, "value": value, "effect": effect}))
}
