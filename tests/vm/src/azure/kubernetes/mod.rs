//! A cluster's API server: access reviews, nodes, leases and pods for whoever a role or a binding lets in.

mod access;
mod discovery;
mod gate;
mod lease;
mod node;
mod object;
mod pod;
mod status;
mod table;

pub use self::access::ClusterRole;
pub(super) use self::status::unavailable;

use super::call::{Call, Outcome, Reply, settle};
use super::state::State;

pub(super) fn answer(state: &mut State, cluster: &str, call: &mut Call) -> Reply {
    settle(route(state, cluster, call))
}

fn route(state: &mut State, cluster: &str, call: &mut Call) -> Outcome {
    let who = gate::authenticate(state, call)?;
    let segments = call.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["version"] => discovery::version(state, cluster),
        ["api"] => discovery::core_versions(),
        ["apis"] => discovery::groups(),
        ["api", "v1"] => discovery::core(),
        ["apis", group] => discovery::group(group, call),
        ["apis", group, version] => discovery::kinds(group, version, call),
        ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"] => {
            access::review(state, cluster, call, &who)
        }
        ["api", "v1", "nodes", rest @ ..] => node::answer(state, cluster, call, &who, rest),
        ["api", "v1", "pods"] => pod::answer(state, cluster, call, &who, "", &[]),
        ["api", "v1", "namespaces", namespace, "pods", rest @ ..] => {
            pod::answer(state, cluster, call, &who, namespace, rest)
        }
        ["apis", "coordination.k8s.io", "v1", "namespaces", namespace, "leases", rest @ ..] => {
            lease::answer(state, cluster, call, &who, namespace, rest)
        }
        _ => Err(status::not_served(call)),
    }
}
