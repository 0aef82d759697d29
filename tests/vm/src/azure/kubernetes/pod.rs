//! Pods: those that kubelets mirror here. Nothing schedules any.

use axum::http::Method;
use serde_json::{Value, json};

use super::access::Attributes;
use super::status::{not_allowed, not_found, not_served, status};
use super::{gate, object};
use crate::azure::call::{Call, Outcome, Reply};
use crate::azure::state::State;
use crate::azure::token::Claims;

/// `namespace` is empty for those of all.
pub(super) fn answer(
    state: &mut State,
    cluster: &str,
    call: &Call,
    who: &Claims,
    namespace: &str,
    path: &[&str],
) -> Outcome {
    let (name, subresource) = match path {
        [] => ("", ""),
        [name] => (*name, ""),
        [name, "status"] => (*name, "status"),
        _ => return Err(not_served(call)),
    };
    let watches = call.parameter("watch").is_some_and(|value| value == "true" || value == "1");
    let verb = match (&call.method, name, subresource) {
        (&Method::GET, "", _) if watches => "watch",
        (&Method::GET, "", _) => "list",
        (&Method::GET, ..) => "get",
        (&Method::POST, "", _) if !namespace.is_empty() => "create",
        (&Method::PATCH, name, "status") if !name.is_empty() => "patch",
        (&Method::DELETE, name, "") if !name.is_empty() => "delete",
        _ => return Err(not_allowed()),
    };
    let [verb_, resource, subresource, namespace_, name_] =
        [verb, "pods", subresource, namespace, name].map(str::to_owned);
    let what =
        Attributes { verb: verb_, group: String::new(), resource, subresource, namespace: namespace_, name: name_ };
    gate::authorize(state, cluster, who, &what)?;
    let key = format!("{namespace}/{name}");
    let found = state.cluster(cluster).and_then(|cluster| cluster.pods.get(&key).cloned());
    match verb {
        "list" => {
            let inside = |key: &String| namespace.is_empty() || key.starts_with(&format!("{namespace}/"));
            let pods = state.cluster(cluster).map(|cluster| cluster.pods.clone()).unwrap_or_default();
            let items: Vec<Value> = pods.into_iter().filter(|(key, _)| inside(key)).map(|(_, pod)| pod).collect();
            let metadata = json!({"resourceVersion": "1"});
            Ok(Reply::json(200, &json!({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items})))
        }
        "watch" => Err(status(501, "NotImplemented", "the emulator does not watch; list instead")),
        "create" => create(state, cluster, call, namespace),
        "patch" => {
            let patch = gate::json(call, &["application/strategic-merge-patch+json"])?;
            let mut pod = found.ok_or_else(|| not_found("pods", name))?;
            object::is_current("pods", &pod, &patch)?;
            object::merge(&mut pod["status"], &patch["status"], true);
            object::touch(state, cluster, &mut pod);
            keep(state, cluster, key, &pod);
            Ok(Reply::json(200, &pod))
        }
        _ => {
            let pod = found.ok_or_else(|| not_found("pods", name))?;
            if verb == "delete"
                && let Some(cluster) = state.cluster(cluster)
            {
                cluster.pods.remove(&key);
            }
            Ok(Reply::json(200, &pod))
        }
    }
}

/// A kubelet may create only mirrors of its static pods, bound to its Node (admission plugin NodeRestriction).
fn create(state: &mut State, cluster: &str, call: &Call, namespace: &str) -> Outcome {
    let mut pod = gate::object(call, "v1", "Pod")?;
    let name = object::name(&pod, "Pod")?;
    if pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_null() || pod["spec"]["nodeName"].is_null() {
        let message = format!(
            "pods \"{name}\" is forbidden: pod does not have \"kubernetes.io/config.mirror\" annotation \
                               or is bound to no node: can only create mirror pods"
        );
        return Err(status(403, "Forbidden", &message));
    }
    let key = format!("{namespace}/{name}");
    if state.cluster(cluster).is_some_and(|cluster| cluster.pods.contains_key(&key)) {
        return Err(status(409, "AlreadyExists", &format!("pods \"{name}\" already exists")));
    }
    pod["metadata"]["namespace"] = json!(namespace);
    pod["status"] = json!({"phase": "Pending"});
    object::create(state, cluster, &mut pod);
    keep(state, cluster, key, &pod);
    Ok(Reply::json(201, &pod))
}

fn keep(state: &mut State, cluster: &str, key: String, pod: &Value) {
    if let Some(cluster) = state.cluster(cluster) {
        cluster.pods.insert(key, pod.clone());
    }
}
