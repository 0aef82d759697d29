//! The mirrors of static pods at the API server: how each pod is, for those who ask the cluster.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::pods::{ContainerReport, PodState, Running};

/// Makes the API server's mirrors of this node's pods say what is so; those in `before` that are gone are deleted.
pub(super) async fn report(client: &Client, node: &str, before: &[PodState], now: &[PodState]) -> Result<()> {
    for gone in before.iter().filter(|pod| !now.iter().any(|other| other.uid == pod.uid)) {
        client.ask(Method::DELETE, &path(gone), None).await?;
    }
    for pod in now.iter().filter(|pod| !before.contains(pod)) {
        if client.ask(Method::GET, &path(pod), None).await?.is_none() {
            let path = format!("/api/v1/namespaces/{}/pods", pod.namespace);
            client.ask(Method::POST, &path, Some(&mirror(pod, node))).await?;
        }
        let change = json!({"status": status(pod)});
        client.ask(Method::PATCH, &format!("{}/status", path(pod)), Some(&change)).await?;
    }
    Ok(())
}

fn path(pod: &PodState) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name)
}

fn mirror(pod: &PodState, node: &str) -> Value {
    let spec = |one: &ContainerReport| json!({"name": one.name, "image": one.image});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": pod.name, "namespace": pod.namespace,
            "annotations": {"kubernetes.io/config.mirror": pod.uid, "kubernetes.io/config.source": "file"},
        },
        "spec": {"nodeName": node, "containers": pod.containers.iter().map(spec).collect::<Vec<_>>()},
    })
}

fn status(pod: &PodState) -> Value {
    let statuses = pod.containers.iter().map(|one| match &one.state {
        Running::Yes { id, restarts } => json!({
            "name": one.name, "image": one.image, "ready": true, "restartCount": restarts,
            "containerID": format!("containerd://{id}"), "state": {"running": {}},
        }),
        Running::No { reason, message } => json!({
            "name": one.name, "image": one.image, "ready": false,
            "state": {"waiting": {"reason": reason, "message": message}},
        }),
    });
    let statuses: Vec<Value> = statuses.collect();
    let runs = |one: &ContainerReport| matches!(one.state, Running::Yes { .. });
    let phase = if pod.containers.iter().all(runs) { "Running" } else { "Pending" };
    json!({"phase": phase, "podIP": pod.address, "containerStatuses": statuses})
}
