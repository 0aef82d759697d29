//! What kinds there are, as much as kubectl needs to find nodes and leases. Aggregated discovery is not served: a
//! client that asks for it gets the plain form, as from a server before 1.27.

use serde_json::{Value, json};

use super::status::not_served;
use crate::azure::call::{Call, Outcome, Reply};
use crate::azure::state::State;

pub(super) fn version(state: &mut State, cluster: &str) -> Outcome {
    let version = state.cluster(cluster).map(|cluster| cluster.facts.version.clone()).unwrap_or_default();
    let mut parts = version.split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let body = json!({
        "major": major,
        "minor": minor,
        "gitVersion": format!("v{version}"),
        "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean",
        "buildDate": "2024-04-17T00:00:00Z",
        "goVersion": "go1.22.2",
        "compiler": "gc",
        "platform": "linux/amd64",
    });
    Ok(Reply::json(200, &body))
}

pub(super) fn core_versions() -> Outcome {
    let body = json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []});
    Ok(Reply::json(200, &body))
}

const GROUPS: [&str; 2] = ["authorization.k8s.io", "coordination.k8s.io"];

pub(super) fn groups() -> Outcome {
    let groups: Vec<Value> = GROUPS.iter().map(|name| describe(name)).collect();
    Ok(Reply::json(200, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})))
}

pub(super) fn group(name: &str, call: &Call) -> Outcome {
    if !GROUPS.contains(&name) {
        return Err(not_served(call));
    }
    let mut group = describe(name);
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    Ok(Reply::json(200, &group))
}

fn describe(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

pub(super) fn core() -> Outcome {
    let kinds = [
        json!({"name": "nodes", "singularName": "node", "namespaced": false, "kind": "Node", "shortNames": ["no"],
               "verbs": ["create", "delete", "get", "list", "patch"]}),
        json!({"name": "nodes/status", "singularName": "", "namespaced": false, "kind": "Node",
               "verbs": ["get", "patch"]}),
        json!({"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "shortNames": ["po"],
               "verbs": ["create", "delete", "get", "list"]}),
        json!({"name": "pods/status", "singularName": "", "namespaced": true, "kind": "Pod",
               "verbs": ["patch"]}),
    ];
    Ok(list("v1", &kinds))
}

pub(super) fn kinds(group: &str, version: &str, call: &Call) -> Outcome {
    let kind = match (group, version) {
        ("authorization.k8s.io", "v1") => {
            json!({"name": "selfsubjectaccessreviews", "singularName": "selfsubjectaccessreview", "namespaced": false,
                   "kind": "SelfSubjectAccessReview", "verbs": ["create"]})
        }
        ("coordination.k8s.io", "v1") => {
            json!({"name": "leases", "singularName": "lease", "namespaced": true, "kind": "Lease",
                   "verbs": ["create", "get", "list", "update"]})
        }
        _ => return Err(not_served(call)),
    };
    Ok(list(&format!("{group}/{version}"), &[kind]))
}

fn list(group_version: &str, kinds: &[Value]) -> Reply {
    let body = json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": kinds,
    });
    Reply::json(200, &body)
}
