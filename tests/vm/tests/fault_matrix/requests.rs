//! One side of the matrix: the requests of a join, and who sends them.

use flexnode_vm::azure::{Operation, Service};

/// A request of the join.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) name: &'static str,
    pub(crate) operation: Operation,
    /// The how-manieth of its operation it is, in a join without faults.
    pub(crate) nth: u32,
}

const fn request(name: &'static str, operation: Operation, nth: u32) -> Request {
    Request { name, operation, nth }
}

/// In the order of the join.
pub(crate) const REQUESTS: [Request; 23] = [
    request("cloud", Operation::ArmMetadata, 1),
    request("token", Operation::Token, 1),
    request("cluster", Operation::ClusterRead, 1),
    request("azcmagent: cloud", Operation::ArmMetadata, 2),
    request("azcmagent: token", Operation::Token, 2),
    request("azcmagent: machine", Operation::MachineRead, 1),
    request("azcmagent: registration", Operation::MachineWrite, 1),
    request("machine's identity", Operation::MachineRead, 2),
    request("role assignment", Operation::RoleAssignmentWrite, 1),
    // Asked for by an operator who may not assign roles: perhaps somebody else has.
    request("role assignments", Operation::RoleAssignmentRead, 1),
    // Asked for when the config names a role that the agent does not know.
    request("role's id", Operation::RoleDefinitionRead, 1),
    request("HIMDS challenge for ARM", Operation::Challenge, 1),
    request("HIMDS token for ARM", Operation::MachineToken, 1),
    request("kubeconfig", Operation::ClusterUserCredential, 1),
    request("HIMDS challenge for AKS", Operation::Challenge, 2),
    request("HIMDS token for AKS", Operation::MachineToken, 2),
    request("API server's version", Operation::ServerVersion, 1),
    request("access review", Operation::AccessReview, 1),
    request("kubelet: HIMDS challenge", Operation::Challenge, 3),
    request("kubelet: HIMDS token", Operation::MachineToken, 3),
    request("kubelet: Node", Operation::NodeWrite, 1),
    request("kubelet: lease", Operation::LeaseWrite, 1),
    request("Node", Operation::NodeRead, 1),
];

/// Those with TLS.
pub(crate) const SERVICES: [(&str, Service); 3] =
    [("Entra ID", Service::Entra), ("ARM", Service::Arm), ("API server", Service::Kubernetes)];

/// Whose name does not resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// As the config has it.
    Arm,
    /// As ARM tells it.
    Entra,
    /// As the kubeconfig has it.
    ApiServer,
}

pub(crate) const NAMES: [(&str, Whose); 3] =
    [("name of ARM", Whose::Arm), ("name of Entra ID", Whose::Entra), ("name of the API server", Whose::ApiServer)];

#[test]
fn no_operation_of_the_join_is_left_out() {
    let mut missing = Operation::JOIN.into_iter().filter(|one| !REQUESTS.iter().any(|row| row.operation == *one));
    assert_eq!(missing.next(), None);
}
