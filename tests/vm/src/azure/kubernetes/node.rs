//! Nodes.

use axum::http::Method;
use serde_json::{Value, json};

use super::access::Attributes;
use super::status::{not_allowed, not_found, status};
use super::{gate, object, table};
use crate::azure::call::{Call, Outcome, Reply};
use crate::azure::state::State;
use crate::azure::things::ClusterState;
use crate::azure::token::Claims;

pub(super) fn answer(state: &mut State, cluster: &str, call: &Call, who: &Claims, path: &[&str]) -> Outcome {
    let (name, subresource) = match path {
        [] => ("", ""),
        [name] => (*name, ""),
        [name, "status"] => (*name, "status"),
        _ => return Err(super::status::not_served(call)),
    };
    let watches = call.parameter("watch").is_some_and(|value| value == "true" || value == "1");
    let verb = match (&call.method, name) {
        (&Method::GET, "") if watches => "watch",
        (&Method::GET, "") => "list",
        (&Method::GET, _) => "get",
        (&Method::POST, "") => "create",
        (&Method::PATCH, name) if !name.is_empty() => "patch",
        (&Method::DELETE, name) if !name.is_empty() && subresource.is_empty() => "delete",
        _ => return Err(not_allowed()),
    };
    let [verb_, resource, subresource_, name_] = [verb, "nodes", subresource, name].map(str::to_owned);
    let what = Attributes { verb: verb_, resource, subresource: subresource_, name: name_, ..Attributes::default() };
    gate::authorize(state, cluster, who, &what)?;
    match verb {
        "list" => {
            let nodes = found(state, cluster)?.nodes.values().cloned().collect();
            Ok(table::list(call, "NodeList", nodes, state.clock.now()))
        }
        "get" => {
            let node = found(state, cluster)?.nodes.get(name).cloned().ok_or_else(|| not_found("nodes", name))?;
            Ok(table::one(call, node, state.clock.now()))
        }
        "create" => create(state, cluster, call),
        "patch" => patch(state, cluster, call, name, subresource),
        "delete" => match found(state, cluster)?.nodes.remove(name) {
            Some(_) => Ok(Reply::json(200, &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))),
            None => Err(not_found("nodes", name)),
        },
        _ => Err(status(501, "NotImplemented", "the emulator does not watch; list instead")),
    }
}

fn create(state: &mut State, cluster: &str, call: &Call) -> Outcome {
    let mut node = gate::object(call, "v1", "Node")?;
    let name = object::name(&node, "Node")?;
    if found(state, cluster)?.nodes.contains_key(&name) {
        return Err(status(409, "AlreadyExists", &format!("nodes \"{name}\" already exists")));
    }
    object::create(state, cluster, &mut node);
    found(state, cluster)?.nodes.insert(name, node.clone());
    Ok(Reply::json(201, &node))
}

/// A patch of the status changes nothing else, and a patch of the node not its status.
fn patch(state: &mut State, cluster: &str, call: &Call, name: &str, subresource: &str) -> Outcome {
    const MERGE: &str = "application/merge-patch+json";
    const STRATEGIC: &str = "application/strategic-merge-patch+json";
    let patch = gate::json(call, &[MERGE, STRATEGIC])?;
    let strategic = call.content_type().as_deref() == Some(STRATEGIC);
    let old = found(state, cluster)?.nodes.get(name).cloned().ok_or_else(|| not_found("nodes", name))?;
    object::is_current("nodes", &old, &patch)?;
    let mut node = old.clone();
    object::merge(&mut node, &patch, strategic);
    if subresource == "status" {
        node["spec"] = old["spec"].clone();
    } else {
        node["status"] = old["status"].clone();
    }
    node["metadata"]["name"] = json!(name);
    object::touch(state, cluster, &mut node);
    found(state, cluster)?.nodes.insert(name.to_owned(), node.clone());
    Ok(Reply::json(200, &node))
}

fn found<'a>(state: &'a mut State, cluster: &str) -> Result<&'a mut ClusterState, Reply> {
    state.cluster(cluster).ok_or_else(|| super::unavailable(500))
}

/// Whether the node says that it is ready.
pub(super) fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}
