//! Role definitions, `Microsoft.Authorization/roleDefinitions`: how a role's name becomes its id.

use axum::http::Method;
use serde_json::{Value, json};

use super::error::error;
use super::gate;
use crate::azure::call::{Call, Outcome, Reply};
use crate::azure::role::{ROLES, Role};
use crate::azure::state::State;
use crate::azure::token::Claims;

const KIND: &str = "Microsoft.Authorization/roleDefinitions";

pub(super) fn answer(state: &mut State, call: &Call, who: &Claims, scope: &str, id: Option<&str>) -> Outcome {
    gate::supports(call, "roleDefinitions", &["2022-04-01"])?;
    gate::method_is(call, &[Method::GET])?;
    gate::authorize(state, who, &format!("{KIND}/read"), scope)?;
    let describe = |role: &Role| describe(role, scope);
    if let Some(id) = id {
        return Role::with_id(id).map(|role| Reply::json(200, &describe(role))).ok_or_else(|| {
            let message = format!("The specified role definition with ID '{}' does not exist.", id.replace('-', ""));
            error(404, "RoleDefinitionDoesNotExist", &message)
        });
    }
    let filter = call.parameter("$filter");
    let name = match filter.as_deref() {
        None => None,
        Some(filter) => match filter.strip_prefix("roleName eq '").and_then(|rest| rest.strip_suffix('\'')) {
            Some(name) => Some(name),
            None => {
                let message = format!("The filter '{filter}' is not supported.");
                return Err(error(400, "UnsupportedQuery", &message));
            }
        },
    };
    let fits = |role: &&Role| name.is_none_or(|name| role.name.eq_ignore_ascii_case(name));
    let found: Vec<Value> = ROLES.iter().filter(fits).map(describe).collect();
    Ok(Reply::json(200, &json!({"value": found})))
}

fn describe(role: &Role, scope: &str) -> Value {
    let subscription = scope.split('/').nth(2).unwrap_or_default();
    json!({
        "id": format!("/subscriptions/{subscription}/providers/{KIND}/{}", role.id),
        "name": role.id,
        "type": KIND,
        "properties": {
            "roleName": role.name,
            "type": "BuiltInRole",
            "assignableScopes": ["/"],
            "permissions": [{
                "actions": role.actions,
                "notActions": role.not_actions,
                "dataActions": role.data_actions,
                "notDataActions": [],
            }],
        },
    })
}
