//! Role assignments of the machine's identity: Cluster User on the cluster, and what the config adds.

use std::time::Duration;

use anyhow::Result;
use uuid::Uuid;

use crate::arm::{Assignment, Caller};
use crate::config::azure::Role;
use crate::failure::{Exit, Failure};
use crate::http::HttpError;
use crate::join::Join;
use crate::retry::{Schedule, Verdict};
use crate::state::Step;

const DEADLINE: Duration = Duration::from_secs(15 * 60);

/// `Azure Kubernetes Service Cluster User Role`: may read the kubeconfig, and nothing more.
const CLUSTER_USER: &str = "4abbcc35-e782-43d8-92c5-2d3f1bd2253f";

/// Built-in roles that a node may be given, so that Azure needs not be asked for their ids, which never change.
const KNOWN: [(&str, &str); 5] = [
    ("Azure Kubernetes Service Cluster Admin Role", "0ab0b1a8-8aac-4efd-b8c2-3ee1fb270be8"),
    ("Azure Kubernetes Service Cluster User Role", CLUSTER_USER),
    ("Azure Kubernetes Service RBAC Cluster Admin", "b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b"),
    ("Azure Kubernetes Service RBAC Reader", "7f6c6a51-bcf8-42ba-9220-52d62157d7db"),
    ("Reader", "acdd72a7-3385-48ef-bd42-f606fba81ae7"),
];

/// Gives `principal` every role that it needs and does not have.
///
/// # Errors
/// When the operator may not, or a role does not exist.
pub(crate) async fn assign(join: &Join<'_>, principal: &str) -> Result<()> {
    let scope = join.settings.cluster.to_string();
    give(join, &assignment(&scope, CLUSTER_USER, principal)).await?;
    for grant in &join.settings.roles {
        let scope = grant.scope.to_string();
        let role = id_of(join, &grant.role, &scope).await?;
        give(join, &assignment(&scope, &role, principal)).await?;
    }
    Ok(())
}

/// The assignment, named after what it says: whoever asks for it again asks for the same one.
fn assignment(scope: &str, role: &str, principal: &str) -> Assignment {
    /// The project's own namespace, drawn once at random. Another one would make second assignments.
    const NAMESPACE: Uuid = Uuid::from_u128(0x4c0b_6c55_9d0e_4f0f_9a2f_35d1_f3b0_7a61);
    let (scope_key, role, principal) =
        (scope.to_ascii_lowercase(), role.to_ascii_lowercase(), principal.to_ascii_lowercase());
    let name = Uuid::new_v5(&NAMESPACE, format!("{scope_key}|{role}|{principal}").as_bytes());
    Assignment { name: name.to_string(), scope: scope.to_owned(), role, principal }
}

/// The PUT is the look as well: it answers 200 for an assignment that is there.
async fn give(join: &Join<'_>, assignment: &Assignment) -> Result<()> {
    let operator = Caller::Operator(&join.operator);
    let put = async || match join.arm.assign(operator, assignment).await {
        // The same principal, role and scope under another name: somebody else assigned it.
        Err(error) if error.has_code("RoleAssignmentExists") => Ok(()),
        // Somebody else may have assigned it to spare the operator this right. If not, say what was denied.
        Err(error) if error.has_code("AuthorizationFailed") => match join.arm.is_assigned(operator, assignment).await {
            Ok(true) => Ok(()),
            // Not told yet; the next attempt asks again.
            Err(unanswered) if unanswered.verdict() != Verdict::Final => Err(unanswered),
            _ => Err(error),
        },
        other => other,
    };
    join.ask(Step::Roles, Schedule::until(DEADLINE), put, verdict)
        .await
        .map_err(|error| denied(error, assignment).into())
}

/// A new identity takes a while to be known everywhere. Nothing else about an assignment gets better by waiting.
fn verdict(error: &HttpError) -> Verdict {
    if error.has_code("PrincipalNotFound") { Verdict::Again(None) } else { error.verdict() }
}

fn denied(error: HttpError, assignment: &Assignment) -> Failure {
    let Assignment { scope, role, principal, .. } = assignment;
    let shown = KNOWN.iter().find(|(_, id)| id == role).map_or(role.as_str(), |(name, _)| name);
    let line = format!(
        "az role assignment create --assignee-object-id {principal} --assignee-principal-type ServicePrincipal \
         --role \"{shown}\" --scope \"{scope}\""
    );
    match error.refusal().map(|refusal| refusal.code.as_str()) {
        Some("PrincipalNotFound") => Failure::new(
            Exit::Transient,
            error.to_string(),
            "nothing to do; the identity is new and not known everywhere yet",
        ),
        Some("RoleDefinitionDoesNotExist") => {
            let hint = "correct rbac.roles: `az role definition list -o table` lists the roles";
            Failure::new(Exit::BadConfig, error.to_string(), hint)
        }
        Some("AuthorizationFailed" | "LinkedAuthorizationFailed" | "RoleAssignmentUpdateNotPermitted") => {
            error.cured_by(format!("as somebody who may assign roles there: {line}"))
        }
        _ => error.into_failure(),
    }
}

async fn id_of(join: &Join<'_>, role: &Role, scope: &str) -> Result<String> {
    let name = match role {
        Role::Id(id) => return Ok(id.to_string()),
        Role::Name(name) => name,
    };
    if let Some((_, id)) = KNOWN.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Ok((*id).to_owned());
    }
    let ask = async || join.arm.role(Caller::Operator(&join.operator), scope, name).await;
    let found = join.ask(Step::Roles, Schedule::until(DEADLINE), ask, HttpError::verdict).await;
    found.map_err(HttpError::into_failure)?.ok_or_else(|| {
        let hint = "correct rbac.roles, or write the GUID: `az role definition list -o table` lists the roles";
        Failure::new(Exit::BadConfig, format!("there is no role {name:?} at {scope}"), hint).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: &str = "/subscriptions/44654aed-2753-4b88-9142-af7132933b6b/resourceGroups/Edge";
    const PRINCIPAL: &str = "0d0c2a5e-9a51-4f2d-8f0a-9b11aabbccdd";

    #[test]
    fn the_name_of_an_assignment_never_changes() {
        // Another version of this program, or of the uuid crate, must come to the same name.
        let name = assignment(SCOPE, CLUSTER_USER, PRINCIPAL).name;
        assert_eq!(name, "dde9dbfc-bbdf-58b0-8287-bf1f6c592298");
        assert_eq!(assignment(&SCOPE.to_ascii_uppercase(), CLUSTER_USER, &PRINCIPAL.to_uppercase()).name, name);
    }

    #[test]
    fn another_scope_role_or_principal_is_another_assignment() {
        let names = [
            assignment(SCOPE, CLUSTER_USER, PRINCIPAL),
            assignment(&SCOPE[..SCOPE.len() - 1], CLUSTER_USER, PRINCIPAL),
            assignment(SCOPE, KNOWN[0].1, PRINCIPAL),
            assignment(SCOPE, CLUSTER_USER, CLUSTER_USER),
        ]
        .map(|assignment| assignment.name);
        let different: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len());
    }

    #[test]
    fn ids_of_known_roles_are_guids() {
        assert!(KNOWN.iter().all(|(_, id)| id.parse::<Uuid>().is_ok_and(|uuid| uuid.to_string() == *id)));
    }
}
