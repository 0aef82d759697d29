//! Role assignments, `Microsoft.Authorization/roleAssignments`.

use axum::http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::error;
use super::gate;
use crate::azure::call::{Call, Outcome, Reply};
use crate::azure::clock::rfc3339;
use crate::azure::guid;
use crate::azure::role::Role;
use crate::azure::state::State;
use crate::azure::things::{Assignment, covers};
use crate::azure::token::Claims;

const KIND: &str = "Microsoft.Authorization/roleAssignments";

pub(super) fn answer(state: &mut State, call: &Call, who: &Claims, scope: &str, name: Option<&str>) -> Outcome {
    gate::supports(call, "roleAssignments", &["2022-04-01"])?;
    match (&call.method, name) {
        (&Method::GET, None) => {
            gate::authorize(state, who, &format!("{KIND}/read"), scope)?;
            list(state, call, scope)
        }
        (&Method::GET, Some(name)) => {
            gate::authorize(state, who, &format!("{KIND}/read"), &id(scope, name))?;
            find(state, scope, name).map(|found| Reply::json(200, &describe(found))).ok_or_else(|| missing(name))
        }
        (&Method::PUT, Some(name)) => {
            gate::authorize(state, who, &format!("{KIND}/write"), &id(scope, name))?;
            create(state, call, who, scope, name)
        }
        (&Method::DELETE, Some(name)) => {
            gate::authorize(state, who, &format!("{KIND}/delete"), &id(scope, name))?;
            let found = find(state, scope, name).map(describe);
            state.assignments.retain(|other| !is(other, scope, name));
            Ok(found.map_or_else(|| Reply::empty(204), |found| Reply::json(200, &found)))
        }
        _ => Err(gate::method_is(call, &[]).err().unwrap_or_else(|| super::unavailable(500))),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    properties: Option<Properties>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Properties {
    role_definition_id: Option<String>,
    principal_id: Option<String>,
    principal_type: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
}

fn create(state: &mut State, call: &Call, who: &Claims, scope: &str, name: &str) -> Outcome {
    if !guid::is_guid(name) {
        let message = format!("The role assignment ID '{name}' is not valid. The role assignment ID must be a GUID.");
        return Err(error(400, "InvalidRoleAssignmentId", &message));
    }
    let wanted: Wanted = gate::body(call)?;
    let Some(Properties {
        role_definition_id: Some(definition), principal_id: Some(principal), principal_type, ..
    }) = wanted.properties
    else {
        let message = "The role assignment needs properties.roleDefinitionId and properties.principalId.";
        return Err(error(400, "InvalidCreateRoleAssignmentRequest", message));
    };
    let role = role(&definition)?;
    if !guid::is_guid(&principal) {
        let message = format!("The principal ID '{principal}' is not valid. Principal ID must be a GUID.");
        return Err(error(400, "InvalidPrincipalId", &message));
    }
    exists_in_directory(state, &principal, principal_type.as_deref())?;
    let same = |other: &Assignment| {
        other.scope.eq_ignore_ascii_case(scope)
            && other.role == role.id
            && other.principal.eq_ignore_ascii_case(&principal)
    };
    if let Some(other) = state.assignments.iter().find(|other| other.name.eq_ignore_ascii_case(name)) {
        if same(other) {
            return Ok(Reply::json(200, &describe(other)));
        }
        let message = "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.";
        return Err(error(400, "RoleAssignmentUpdateNotPermitted", message));
    }
    if let Some(other) = state.assignments.iter().find(|other| same(other)) {
        let message = format!(
            "The role assignment already exists. The ID of the existing role assignment is {}.",
            other.name.replace('-', "")
        );
        return Err(error(409, "RoleAssignmentExists", &message));
    }
    if state.assignments.len() >= state.limits.role_assignments {
        let message = "No more role assignments can be created.";
        return Err(error(400, "RoleAssignmentLimitExceeded", message));
    }
    state.assign(name.to_ascii_lowercase(), scope, role.id, &principal, &who.oid);
    let created = find(state, scope, name).map(describe).ok_or_else(|| super::unavailable(500))?;
    Ok(Reply::json(201, &created))
}

/// The role that a definition's id names, with or without a scope before it.
fn role(definition: &str) -> Result<&'static Role, Reply> {
    let (before, id) = definition.rsplit_once('/').unwrap_or(("", definition));
    if !before.to_ascii_lowercase().ends_with("/providers/microsoft.authorization/roledefinitions") {
        let message = format!("The role definition ID '{definition}' is not valid.");
        return Err(error(400, "InvalidRoleDefinitionId", &message));
    }
    Role::with_id(id).ok_or_else(|| {
        let message = format!("The specified role definition with ID '{}' does not exist.", id.replace('-', ""));
        error(404, "RoleDefinitionDoesNotExist", &message)
    })
}

fn exists_in_directory(state: &mut State, principal: &str, kind: Option<&str>) -> Result<(), Reply> {
    let now = state.clock.now();
    let found = state.principals.get_mut(&principal.to_ascii_lowercase());
    if !found.is_some_and(|pending| pending.arrived(now)) {
        let (principal, tenant) = (principal.replace('-', ""), state.tenant.id.replace('-', ""));
        let message = format!(
            "Principal {principal} does not exist in the directory {tenant}. Check that you have the correct principal \
             ID. If you are creating this principal and then immediately assigning a role, this error might be \
             related to a replication delay. In this case, set the role assignment principalType property to a value, \
             such as ServicePrincipal, User, or Group."
        );
        return Err(error(400, "PrincipalNotFound", &message));
    }
    match kind {
        None | Some("ServicePrincipal") => Ok(()),
        Some(kind) => {
            let message = format!(
                "The PrincipalId '{}' has type 'ServicePrincipal', which is different from specified PrincipalType \
                 '{kind}'.",
                principal.replace('-', "")
            );
            Err(error(400, "UnmatchedPrincipalType", &message))
        }
    }
}

/// Those at, above and below the scope, as far as the filter lets them.
fn list(state: &State, call: &Call, scope: &str) -> Outcome {
    let filter = call.parameter("$filter").unwrap_or_default();
    let mut principal = None;
    let mut below = true;
    for term in filter.split(" and ").map(str::trim).filter(|term| !term.is_empty()) {
        let value = |prefix: &str, suffix: &str| term.strip_prefix(prefix)?.strip_suffix(suffix).map(str::to_owned);
        if term.eq_ignore_ascii_case("atScope()") {
            below = false;
        } else if let Some(id) = value("principalId eq '", "'").or_else(|| value("assignedTo('", "')")) {
            principal = Some(id);
        } else {
            let message = format!("The filter '{filter}' is not supported.");
            return Err(error(400, "UnsupportedQuery", &message));
        }
    }
    let fits = |one: &&Assignment| {
        let is_near = covers(&one.scope, scope) || below && covers(scope, &one.scope);
        is_near && principal.as_ref().is_none_or(|id| one.principal.eq_ignore_ascii_case(id))
    };
    let found: Vec<Value> = state.assignments.iter().filter(fits).map(describe).collect();
    Ok(Reply::json(200, &json!({"value": found})))
}

fn find<'a>(state: &'a State, scope: &str, name: &str) -> Option<&'a Assignment> {
    state.assignments.iter().find(|one| is(one, scope, name))
}

fn is(one: &Assignment, scope: &str, name: &str) -> bool {
    one.name.eq_ignore_ascii_case(name) && one.scope.eq_ignore_ascii_case(scope)
}

fn id(scope: &str, name: &str) -> String {
    format!("{scope}/providers/{KIND}/{name}")
}

fn missing(name: &str) -> Reply {
    error(404, "RoleAssignmentNotFound", &format!("The role assignment '{name}' is not found."))
}

fn describe(one: &Assignment) -> Value {
    let subscription = one.scope.split('/').nth(2).unwrap_or_default();
    let definition =
        format!("/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{}", one.role);
    json!({
        "id": id(&one.scope, &one.name),
        "name": one.name,
        "type": KIND,
        "properties": {
            "roleDefinitionId": definition,
            "principalId": one.principal,
            "principalType": "ServicePrincipal",
            "scope": one.scope,
            "createdOn": rfc3339(one.created),
            "updatedOn": rfc3339(one.created),
            "createdBy": one.by,
            "updatedBy": one.by,
        },
    })
}
