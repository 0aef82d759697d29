//! What every request to the API server must pass: a token of this tenant for AKS, and the right to do it.

use serde_json::Value;

use super::access::{self, Attributes};
use super::status::status;
use crate::azure::call::{Call, Reply};
use crate::azure::state::{AKS_SERVER, State};
use crate::azure::token::Claims;

pub(super) fn authenticate(state: &State, call: &mut Call) -> Result<Claims, Reply> {
    // The server says no more than this, whatever is wrong with the token.
    let unauthorized = || status(401, "Unauthorized", "Unauthorized");
    let token = call.bearer().ok_or_else(unauthorized)?;
    let claims = state.signer.verify(token, call.now).map_err(|_| unauthorized())?;
    let audience = claims.aud.trim_start_matches("spn:");
    if audience != AKS_SERVER || !claims.tid.eq_ignore_ascii_case(&state.tenant.id) {
        return Err(unauthorized());
    }
    call.principal = Some(claims.oid.clone());
    Ok(claims)
}

pub(super) fn authorize(state: &mut State, cluster: &str, who: &Claims, what: &Attributes) -> Result<(), Reply> {
    if access::allows(state, cluster, who, what) {
        return Ok(());
    }
    let Attributes { verb, group, resource, subresource, namespace, name } = what;
    let subject = match subresource.as_str() {
        "" => resource.clone(),
        subresource => format!("{resource}/{subresource}"),
    };
    let place = match namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let prefix = if group.is_empty() { subject.clone() } else { format!("{subject}.{group}") };
    let prefix = if name.is_empty() { prefix } else { format!("{prefix} \"{name}\"") };
    let mut message = format!(
        "{prefix} is forbidden: User \"{}\" cannot {verb} resource \"{subject}\" in API group \"{group}\" {place}",
        who.oid
    );
    if state.cluster(cluster).is_some_and(|cluster| cluster.facts.azure_rbac) {
        message += ": User does not have access to the resource in Azure. Update role assignment to allow access.";
    }
    Err(status(403, "Forbidden", &message))
}

/// The body as an object of this kind.
pub(super) fn object(call: &Call, api_version: &str, kind: &str) -> Result<Value, Reply> {
    let body = json(call, &["application/json"])?;
    if body["kind"] != kind || body["apiVersion"] != api_version {
        let message = format!(
            "the object provided is unrecognized (must be of type {kind} in {api_version}): kind {}, apiVersion {}",
            body["kind"], body["apiVersion"]
        );
        return Err(status(400, "BadRequest", &message));
    }
    Ok(body)
}

/// The body as JSON of one of these media types.
pub(super) fn json(call: &Call, types: &[&str]) -> Result<Value, Reply> {
    let media = call.content_type().unwrap_or_default();
    if !types.contains(&media.as_str()) {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            types.join(", ")
        );
        return Err(status(415, "UnsupportedMediaType", &message));
    }
    serde_json::from_slice(&call.body)
        .map_err(|why| status(400, "BadRequest", &format!("couldn't read the body: {why}")))
}
