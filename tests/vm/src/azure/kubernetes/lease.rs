//! Leases, with which kubelets say that they live.

use axum::http::Method;
use serde_json::{Value, json};

use super::access::Attributes;
use super::status::{not_allowed, not_found, not_served, status};
use super::{gate, object};
use crate::azure::call::{Call, Outcome, Reply};
use crate::azure::state::State;
use crate::azure::token::Claims;

pub(super) fn answer(
    state: &mut State,
    cluster: &str,
    call: &Call,
    who: &Claims,
    namespace: &str,
    path: &[&str],
) -> Outcome {
    let name = match path {
        [] => "",
        [name] => *name,
        _ => return Err(not_served(call)),
    };
    let verb = match (&call.method, name) {
        (&Method::GET, "") => "list",
        (&Method::GET, _) => "get",
        (&Method::POST, "") => "create",
        (&Method::PUT, name) if !name.is_empty() => "update",
        _ => return Err(not_allowed()),
    };
    let what = Attributes {
        verb: verb.to_owned(),
        group: "coordination.k8s.io".to_owned(),
        resource: "leases".to_owned(),
        subresource: String::new(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    gate::authorize(state, cluster, who, &what)?;
    let leases = |state: &mut State| state.cluster(cluster).map(|cluster| cluster.leases.clone()).unwrap_or_default();
    let key = format!("{namespace}/{name}");
    match verb {
        "list" => {
            let inside = format!("{namespace}/");
            let items: Vec<Value> =
                leases(state).into_iter().filter(|(key, _)| key.starts_with(&inside)).map(|(_, lease)| lease).collect();
            let body =
                json!({"kind": "LeaseList", "apiVersion": "coordination.k8s.io/v1", "metadata": {}, "items": items});
            Ok(Reply::json(200, &body))
        }
        "get" => match leases(state).get(&key) {
            Some(lease) => Ok(Reply::json(200, lease)),
            None => Err(not_found("leases.coordination.k8s.io", name)),
        },
        _ => write(state, cluster, call, namespace, name),
    }
}

/// A new lease where the path names none, the next state of an old one elsewhere.
fn write(state: &mut State, cluster: &str, call: &Call, namespace: &str, path_name: &str) -> Outcome {
    let mut lease = gate::object(call, "coordination.k8s.io/v1", "Lease")?;
    let name = object::name(&lease, "Lease")?;
    if !path_name.is_empty() && name != path_name {
        let message = format!("the name of the object ({name}) does not match the name on the URL ({path_name})");
        return Err(status(400, "BadRequest", &message));
    }
    lease["metadata"]["namespace"] = json!(namespace);
    let key = format!("{namespace}/{name}");
    let old = state.cluster(cluster).and_then(|cluster| cluster.leases.get(&key).cloned());
    let code = match (&old, path_name.is_empty()) {
        (Some(_), true) => {
            let message = format!("leases.coordination.k8s.io \"{name}\" already exists");
            return Err(status(409, "AlreadyExists", &message));
        }
        (None, false) => return Err(not_found("leases.coordination.k8s.io", &name)),
        (None, true) => {
            object::create(state, cluster, &mut lease);
            201
        }
        (Some(old), false) => {
            object::is_current("leases.coordination.k8s.io", old, &lease)?;
            lease["metadata"]["uid"] = old["metadata"]["uid"].clone();
            lease["metadata"]["creationTimestamp"] = old["metadata"]["creationTimestamp"].clone();
            object::touch(state, cluster, &mut lease);
            200
        }
    };
    if let Some(cluster) = state.cluster(cluster) {
        cluster.leases.insert(key, lease.clone());
    }
    Ok(Reply::json(code, &lease))
}
