//! Azure Resource Manager: who asks is told from the token, what from the path, and each answer says what is left.

mod assignment;
mod cluster;
mod definition;
mod error;
mod gate;
mod kubeconfig;
mod machine;
mod target;

use axum::http::Method;
use serde_json::json;

use super::call::{Call, Outcome, Reply, settle};
use super::guid;
use super::state::State;

use self::error::error;
pub(super) use self::error::unavailable;
pub(super) use self::target::Target;

pub(super) fn answer(state: &mut State, call: &mut Call) -> Reply {
    let request_id = guid::fresh().unwrap_or_default();
    let correlation = call.header("x-ms-correlation-request-id").unwrap_or(&request_id).to_owned();
    settle(route(state, call))
        .with("x-ms-request-id", request_id)
        .with("x-ms-correlation-request-id", correlation)
        .with("cache-control", "no-cache")
}

fn route(state: &mut State, call: &mut Call) -> Outcome {
    let target = Target::of(call);
    gate::has_api_version(call)?;
    if target == Target::Metadata {
        return metadata(state, call);
    }
    let who = gate::authenticate(state, call)?;
    let left = gate::throttle(state, call, &who, target.subscription())?;
    gate::subscription_exists(state, target.subscription())?;
    let outcome = match target {
        Target::Machine(place) => machine::answer(state, call, &who, &place),
        Target::Assignment { scope, name } => assignment::answer(state, call, &who, &scope, name.as_deref()),
        Target::Definition { scope, id } => definition::answer(state, call, &who, &scope, id.as_deref()),
        Target::Cluster { place, action } => cluster::answer(state, call, &who, &place, action.as_deref()),
        Target::Metadata | Target::Unknown => Err(error(
            404,
            "InvalidResourceType",
            &format!("The resource type of '{}' could not be found in any registered provider.", call.path),
        )),
    };
    let (header, left) = left;
    Ok(settle(outcome).with(&header, left.to_string()))
}

/// What `az cloud register --endpoint-resource-manager` reads.
fn metadata(state: &State, call: &Call) -> Outcome {
    gate::supports(call, "metadata/endpoints", &["2022-09-01"])?;
    gate::method_is(call, &[Method::GET])?;
    let body = json!({
        "name": "FlexnodeLab",
        "portal": "https://portal.flexnode-lab.test",
        "authentication": {
            "loginEndpoint": state.endpoints.entra,
            "audiences": state.cloud.audiences(),
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "resourceManager": state.endpoints.arm,
        "suffixes": {},
    });
    Ok(Reply::json(200, &body))
}
