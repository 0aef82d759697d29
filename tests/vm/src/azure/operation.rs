//! Which service a request is for, and what it asks there.

use axum::http::Method;

use super::arm::Target;
use super::call::Call;

/// One of the emulated services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// Microsoft Entra ID.
    Entra,
    /// Azure Resource Manager.
    Arm,
    /// The machine's identity endpoint.
    Himds,
    /// A cluster's API server.
    Kubernetes,
}

/// What a request asks, told from method and path alone: a refused request counts too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Entra ID: a token.
    Token,
    /// Entra ID: metadata and keys.
    EntraMetadata,
    /// ARM: its own metadata.
    ArmMetadata,
    /// ARM: GET of a machine.
    MachineRead,
    /// ARM: PUT of a machine.
    MachineWrite,
    /// ARM: DELETE of a machine.
    MachineDelete,
    /// ARM: PUT of a role assignment.
    RoleAssignmentWrite,
    /// ARM: GET of one or all role assignments.
    RoleAssignmentRead,
    /// ARM: DELETE of a role assignment.
    RoleAssignmentDelete,
    /// ARM: GET of one or all role definitions.
    RoleDefinitionRead,
    /// ARM: GET of a cluster.
    ClusterRead,
    /// ARM: POST of `listClusterUserCredential`.
    ClusterUserCredential,
    /// ARM: POST of `listClusterAdminCredential`.
    ClusterAdminCredential,
    /// HIMDS: a request without an answer to a challenge.
    Challenge,
    /// HIMDS: a request with one.
    MachineToken,
    /// Kubernetes: a review of what one may do.
    AccessReview,
    /// Kubernetes: the server's version.
    ServerVersion,
    /// Kubernetes: reads of nodes.
    NodeRead,
    /// Kubernetes: changes of nodes.
    NodeWrite,
    /// Kubernetes: reads of leases.
    LeaseRead,
    /// Kubernetes: changes of leases.
    LeaseWrite,
    /// Kubernetes: reads of pods.
    PodRead,
    /// Kubernetes: changes of pods.
    PodWrite,
    /// Kubernetes: what kinds there are.
    Discovery,
    /// Anything else.
    Other,
}

impl Operation {
    /// Those of a join, in its order.
    pub const JOIN: [Self; 14] = [
        Self::ArmMetadata,
        Self::Token,
        Self::ClusterRead,
        Self::MachineRead,
        Self::MachineWrite,
        Self::RoleAssignmentWrite,
        Self::Challenge,
        Self::MachineToken,
        Self::ClusterUserCredential,
        Self::AccessReview,
        Self::ServerVersion,
        Self::NodeRead,
        Self::NodeWrite,
        Self::LeaseWrite,
    ];

    pub(super) fn of(service: Service, call: &Call) -> Self {
        match service {
            Service::Entra if call.path.ends_with("/oauth2/v2.0/token") => Self::Token,
            Service::Entra => Self::EntraMetadata,
            Service::Arm => Self::of_arm(call),
            Service::Himds if call.headers.contains_key("authorization") => Self::MachineToken,
            Service::Himds => Self::Challenge,
            Service::Kubernetes => Self::of_kubernetes(call),
        }
    }

    fn of_arm(call: &Call) -> Self {
        let method = &call.method;
        match Target::of(call) {
            Target::Metadata => Self::ArmMetadata,
            Target::Machine(_) if method == Method::GET => Self::MachineRead,
            Target::Machine(_) if method == Method::PUT => Self::MachineWrite,
            Target::Machine(_) if method == Method::DELETE => Self::MachineDelete,
            Target::Assignment { .. } if method == Method::GET => Self::RoleAssignmentRead,
            Target::Assignment { .. } if method == Method::PUT => Self::RoleAssignmentWrite,
            Target::Assignment { .. } if method == Method::DELETE => Self::RoleAssignmentDelete,
            Target::Definition { .. } => Self::RoleDefinitionRead,
            Target::Cluster { action: None, .. } => Self::ClusterRead,
            Target::Cluster { action: Some(action), .. } => match action.to_ascii_lowercase().as_str() {
                "listclusterusercredential" => Self::ClusterUserCredential,
                "listclusteradmincredential" => Self::ClusterAdminCredential,
                _ => Self::Other,
            },
            Target::Machine(_) | Target::Assignment { .. } | Target::Unknown => Self::Other,
        }
    }

    fn of_kubernetes(call: &Call) -> Self {
        let reads = call.method == Method::GET;
        let segments = call.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["apis", "authorization.k8s.io", _, _] => Self::AccessReview,
            ["version"] => Self::ServerVersion,
            ["api", "v1", "nodes", ..] if reads => Self::NodeRead,
            ["api", "v1", "nodes", ..] => Self::NodeWrite,
            ["api", "v1", "namespaces", _, "pods", ..] | ["api", "v1", "pods"] if reads => Self::PodRead,
            ["api", "v1", "namespaces", _, "pods", ..] => Self::PodWrite,
            ["apis", "coordination.k8s.io", "v1", _, ..] if reads => Self::LeaseRead,
            ["apis", "coordination.k8s.io", "v1", _, ..] => Self::LeaseWrite,
            ["api" | "apis", ..] => Self::Discovery,
            _ => Self::Other,
        }
    }
}
