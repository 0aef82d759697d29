//! Who may do what in a cluster: by Azure role where the cluster has Azure RBAC, or by a binding.

use serde::Deserialize;
use serde_json::json;

use super::gate;
use super::status::{not_allowed, status};
use crate::azure::call::{Call, Outcome, Reply};
use crate::azure::state::State;
use crate::azure::token::Claims;

/// A ClusterRole that a binding can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterRole {
    /// `cluster-admin`: everything.
    ClusterAdmin,
    /// `system:node`: what a kubelet needs.
    Node,
    /// `view`: pods and the like, and no nodes.
    View,
}

/// What somebody wants to do; empty where it does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Attributes {
    pub(super) verb: String,
    pub(super) group: String,
    pub(super) resource: String,
    pub(super) subresource: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl ClusterRole {
    fn allows(self, what: &Attributes) -> bool {
        let verbs: &[&str] = match (self, what.group.as_str(), what.resource.as_str(), what.subresource.as_str()) {
            (Self::ClusterAdmin, ..) => return true,
            (Self::Node, "", "nodes", "") => &["create", "get", "list", "watch", "delete", "patch", "update"],
            (Self::Node, "", "nodes", "status") => &["patch", "update"],
            (Self::Node, "coordination.k8s.io", "leases", "") => &["create", "get", "update", "patch", "delete"],
            (Self::Node, "", "events", "") => &["create", "patch", "update"],
            (Self::Node, "", "pods", "") => &["create", "delete", "get", "list", "watch"],
            (Self::Node, "", "pods", "status") => &["patch", "update"],
            (Self::Node, "", "services", "") | (Self::View, "", "pods" | "services", "") => &["get", "list", "watch"],
            _ => &[],
        };
        verbs.contains(&what.verb.as_str())
    }
}

pub(super) fn allows(state: &mut State, cluster: &str, who: &Claims, what: &Attributes) -> bool {
    let Some(found) = state.cluster(cluster) else { return false };
    let (id, azure_rbac) = (found.id(), found.facts.azure_rbac);
    if found.bindings.iter().any(|(oid, role)| *oid == who.oid && role.allows(what)) {
        return true;
    }
    azure_rbac && state.allows(who, &data_action(what), &id, true)
}

/// The name under which Azure RBAC knows it: reads, writes and deletes of a resource, subresources included.
fn data_action(what: &Attributes) -> String {
    let action = match what.verb.as_str() {
        "get" | "list" | "watch" => "read",
        "create" | "update" | "patch" => "write",
        "delete" | "deletecollection" => "delete",
        other => other,
    };
    let group = if what.group.is_empty() { String::new() } else { format!("{}/", what.group) };
    format!("Microsoft.ContainerService/managedClusters/{group}{}/{action}", what.resource)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    resource_attributes: Option<Attributes>,
    non_resource_attributes: Option<serde_json::Value>,
}

/// `SelfSubjectAccessReview`, which everybody may create.
pub(super) fn review(state: &mut State, cluster: &str, call: &Call, who: &Claims) -> Outcome {
    if call.method != axum::http::Method::POST {
        return Err(not_allowed());
    }
    let mut review = gate::object(call, "authorization.k8s.io/v1", "SelfSubjectAccessReview")?;
    let spec: Spec = serde_json::from_value(review["spec"].clone())
        .map_err(|why| status(400, "BadRequest", &format!("SelfSubjectAccessReview cannot be read: spec: {why}")))?;
    let allowed = match (spec.resource_attributes, spec.non_resource_attributes) {
        (Some(what), None) => allows(state, cluster, who, &what),
        // Discovery, version and health are open to every identity of the tenant.
        (None, Some(_)) => true,
        _ => {
            let message = "SelfSubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.resourceAttributes: \
                           Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified";
            return Err(status(422, "Invalid", message));
        }
    };
    let azure_rbac = state.cluster(cluster).is_some_and(|cluster| cluster.facts.azure_rbac);
    let reason = if allowed || !azure_rbac { "" } else { "User does not have access to the resource in Azure." };
    review["status"] = json!({"allowed": allowed, "reason": reason});
    if !review["metadata"].is_object() {
        review["metadata"] = json!({"creationTimestamp": null});
    }
    Ok(Reply::json(201, &review))
}
