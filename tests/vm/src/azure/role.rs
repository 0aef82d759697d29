//! Azure's built-in roles as far as a join meets them: what each allows.
//!
//! Ids are those of Azure's built-in roles; permissions are written from memory of that list and shortened to the actions
//! that the emulator knows.

/// Id of `Azure Kubernetes Service Cluster User Role`.
pub const CLUSTER_USER: &str = "4abbcc35-e782-43d8-92c5-2d3f1bd2253f";
/// Id of `Azure Kubernetes Service Cluster Admin Role`.
pub const CLUSTER_ADMIN: &str = "0ab0b1a8-8aac-4efd-b8c2-3ee1fb270be8";
/// Id of `Azure Kubernetes Service RBAC Cluster Admin`.
pub const RBAC_CLUSTER_ADMIN: &str = "b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b";
/// Id of `Azure Kubernetes Service RBAC Reader`: pods and the like, not nodes.
pub const RBAC_READER: &str = "7f6c6a51-bcf8-42ba-9220-52d62157d7db";
/// Id of the proposed `Flex Node Agent`; its permissions here are those a kubelet needs.
pub const FLEX_NODE_AGENT: &str = "8f139b0f-7eaf-460b-a9da-5b1246d9ed0d";
/// Id of `Reader`.
pub const READER: &str = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
/// Id of `Contributor`: everything but granting.
pub const CONTRIBUTOR: &str = "b24988ac-6180-42a0-ab88-20f7382dd24c";
/// Id of `Owner`.
pub const OWNER: &str = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
/// Id of `User Access Administrator`.
pub const USER_ACCESS_ADMINISTRATOR: &str = "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9";
/// Id of `Role Based Access Control Administrator`.
pub const RBAC_ADMINISTRATOR: &str = "f58310d9-a9f6-439a-9e8d-f62e7b41a168";
/// Id of `Azure Connected Machine Onboarding`.
pub const ONBOARDING: &str = "b64e21ea-ac4e-4cdf-9dc9-5b892992bee7";

/// A built-in role.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) actions: &'static [&'static str],
    pub(super) not_actions: &'static [&'static str],
    pub(super) data_actions: &'static [&'static str],
}

impl Role {
    pub(super) fn with_id(id: &str) -> Option<&'static Self> {
        ROLES.iter().find(|role| role.id.eq_ignore_ascii_case(id))
    }

    /// Whether it allows an action; a data action is one inside the resource, such as reading a cluster's nodes.
    pub(super) fn allows(&self, action: &str, is_data: bool) -> bool {
        let any = |patterns: &[&str]| patterns.iter().any(|pattern| matches(pattern, action));
        if is_data { any(self.data_actions) } else { any(self.actions) && !any(self.not_actions) }
    }
}

pub(super) const ROLES: &[Role] = &[
    Role { data_actions: &[], ..role(OWNER, "Owner", &["*"]) },
    Role {
        not_actions: &["Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write"],
        ..role(CONTRIBUTOR, "Contributor", &["*"])
    },
    role(READER, "Reader", &["*/read"]),
    role(USER_ACCESS_ADMINISTRATOR, "User Access Administrator", &["*/read", "Microsoft.Authorization/*"]),
    role(
        RBAC_ADMINISTRATOR,
        "Role Based Access Control Administrator",
        &["Microsoft.Authorization/roleAssignments/write", "Microsoft.Authorization/roleAssignments/delete", "*/read"],
    ),
    role(
        ONBOARDING,
        "Azure Connected Machine Onboarding",
        &["Microsoft.HybridCompute/machines/read", "Microsoft.HybridCompute/machines/write"],
    ),
    role(
        CLUSTER_USER,
        "Azure Kubernetes Service Cluster User Role",
        &[USER_CREDENTIAL, "Microsoft.ContainerService/managedClusters/read"],
    ),
    role(
        CLUSTER_ADMIN,
        "Azure Kubernetes Service Cluster Admin Role",
        &[
            "Microsoft.ContainerService/managedClusters/listClusterAdminCredential/action",
            "Microsoft.ContainerService/managedClusters/read",
        ],
    ),
    Role {
        data_actions: &["Microsoft.ContainerService/managedClusters/*"],
        ..role(
            RBAC_CLUSTER_ADMIN,
            "Azure Kubernetes Service RBAC Cluster Admin",
            &["Microsoft.Authorization/*/read", USER_CREDENTIAL],
        )
    },
    Role {
        data_actions: &[
            "Microsoft.ContainerService/managedClusters/pods/read",
            "Microsoft.ContainerService/managedClusters/services/read",
        ],
        ..role(RBAC_READER, "Azure Kubernetes Service RBAC Reader", &["Microsoft.Authorization/*/read"])
    },
    Role {
        data_actions: &[
            "Microsoft.ContainerService/managedClusters/nodes/*",
            "Microsoft.ContainerService/managedClusters/coordination.k8s.io/leases/*",
            "Microsoft.ContainerService/managedClusters/events/*",
            "Microsoft.ContainerService/managedClusters/pods/*",
        ],
        ..role(
            FLEX_NODE_AGENT,
            "Azure Kubernetes Service Flex Node Agent",
            &["Microsoft.ContainerService/managedClusters/read", USER_CREDENTIAL],
        )
    },
];

const USER_CREDENTIAL: &str = "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action";

const fn role(id: &'static str, name: &'static str, actions: &'static [&'static str]) -> Role {
    Role { id, name, actions, not_actions: &[], data_actions: &[] }
}

/// Whether a pattern with stars fits, in any case.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(head) else { return false };
    (0..=rest.len()).any(|skip| rest.is_char_boundary(skip) && matches(tail, &rest[skip..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_allows_what_its_patterns_say_and_nothing_else() {
        let may = |role, action| Role::with_id(role).unwrap().allows(action, false);
        assert!(may(OWNER, "Microsoft.Authorization/roleAssignments/write"));
        assert!(!may(CONTRIBUTOR, "Microsoft.Authorization/roleAssignments/write"));
        assert!(may(CONTRIBUTOR, "microsoft.hybridcompute/machines/write"));
        assert!(may(READER, "Microsoft.HybridCompute/machines/read") && !may(READER, USER_CREDENTIAL));
        assert!(may(CLUSTER_USER, USER_CREDENTIAL));
        assert!(!may(CLUSTER_USER, "Microsoft.ContainerService/managedClusters/nodes/read"));
    }

    #[test]
    fn data_actions_are_a_matter_of_their_own() {
        let node = "Microsoft.ContainerService/managedClusters/nodes/write";
        assert!(Role::with_id(RBAC_CLUSTER_ADMIN).unwrap().allows(node, true));
        assert!(!Role::with_id(OWNER).unwrap().allows(node, true), "an owner of the cluster is none inside it");
        assert!(!Role::with_id(RBAC_READER).unwrap().allows(node, true));
    }

    #[test]
    fn stars_match_any_run() {
        assert!(matches("*/read", "a/b/read") && matches("a*c", "ac") && matches("a*c*", "AxxC/y"));
        assert!(!matches("*/read", "a/write") && !matches("a", "ab"));
    }
}
