//! What every request to ARM must pass: api-version, token, token bucket, subscription, role, group, body.

use axum::http::Method;
use serde::de::DeserializeOwned;

use super::error::{error, malformed};
use super::target::Place;
use crate::azure::call::{Call, Reply};
use crate::azure::clock::american;
use crate::azure::guid;
use crate::azure::state::State;
use crate::azure::throttle::Kind;
use crate::azure::token::{Claims, Flaw};

pub(super) fn has_api_version(call: &Call) -> Result<(), Reply> {
    match call.parameter("api-version") {
        None => {
            let message = "The api-version query parameter (?api-version=) is required for all requests.";
            Err(error(400, "MissingApiVersionParameter", message))
        }
        Some(version) if !is_date(&version) => {
            let message = format!("The api-version '{version}' is invalid.");
            Err(error(400, "InvalidApiVersionParameter", &message))
        }
        Some(_) => Ok(()),
    }
}

/// `2022-12-27`, also with a suffix such as `-preview`.
fn is_date(version: &str) -> bool {
    let lengths = version.split('-').take(3).map(|part| (part.len(), part.chars().all(|c| c.is_ascii_digit())));
    lengths.eq([(4, true), (2, true), (2, true)])
}

/// Refuses a version that the type does not have. Only those that the project uses are emulated.
pub(super) fn supports(call: &Call, kind: &str, versions: &[&str]) -> Result<(), Reply> {
    let version = call.parameter("api-version").unwrap_or_default();
    if versions.contains(&version.as_str()) {
        return Ok(());
    }
    let message = format!(
        "No registered resource provider found for location '' and API version '{version}' for type '{kind}'. \
         The supported api-versions are '{}'.",
        versions.join(", ")
    );
    Err(error(400, "NoRegisteredProviderFound", &message))
}

pub(super) fn method_is(call: &Call, methods: &[Method]) -> Result<(), Reply> {
    if methods.contains(&call.method) {
        return Ok(());
    }
    let message = format!("The requested resource does not support http method '{}'.", call.method);
    Err(error(405, "MethodNotAllowed", &message))
}

/// The claims of a token that ARM takes.
pub(super) fn authenticate(state: &State, call: &mut Call) -> Result<Claims, Reply> {
    let challenge = format!(
        "Bearer authorization_uri=\"{}/{}\", error=\"invalid_token\", error_description=\"The authentication failed \
         because of missing 'Authorization' header.\"",
        state.endpoints.entra, state.tenant.id
    );
    let refuse = |code: &str, message: &str| error(401, code, message).with("www-authenticate", challenge.clone());
    if call.header("authorization").is_none() {
        let message = "Authentication failed. The 'Authorization' header is missing.";
        return Err(refuse("AuthenticationFailed", message));
    }
    let Some(token) = call.bearer() else {
        let message = "Authentication failed. The 'Authorization' header is provided in an invalid format.";
        return Err(refuse("AuthenticationFailed", message));
    };
    let claims = state.signer.verify(token, call.now).map_err(|flaw| match flaw {
        Flaw::Invalid => refuse("InvalidAuthenticationToken", "The access token is invalid."),
        Flaw::Expired { at } => {
            let (at, now) = (american(at), american(call.now));
            let message = format!("The access token expiry UTC time '{at}' is earlier than current UTC time '{now}'.");
            refuse("ExpiredAuthenticationToken", &message)
        }
        Flaw::NotYet { from } => {
            let (from, now) = (american(from), american(call.now));
            let message = format!("The access token is not valid before '{from}'; the current UTC time is '{now}'.");
            refuse("InvalidAuthenticationToken", &message)
        }
    })?;
    let bare = |audience: &str| audience.trim_end_matches('/').to_owned();
    if !state.cloud.audiences().iter().any(|audience| bare(audience) == bare(&claims.aud)) {
        let message = format!(
            "The access token has been obtained for wrong audience or resource '{}'. It should exactly match with \
             one of the allowed audiences '{}'.",
            claims.aud,
            state.cloud.audiences().join("','")
        );
        return Err(refuse("InvalidAuthenticationTokenAudience", &message));
    }
    if !claims.tid.eq_ignore_ascii_case(&state.tenant.id) {
        let message = format!(
            "The access token is from the wrong issuer '{}'. It must match the tenant 'https://sts.windows.net/{}/' \
             associated with this subscription.",
            claims.iss, state.tenant.id
        );
        return Err(refuse("InvalidAuthenticationTokenTenant", &message));
    }
    call.principal = Some(claims.oid.clone());
    Ok(claims)
}

/// Takes from the bucket.
///
/// # Returns
/// The header that tells what is left, and its value.
pub(super) fn throttle(
    state: &mut State,
    call: &Call,
    who: &Claims,
    subscription: Option<&str>,
) -> Result<(String, u64), Reply> {
    let kind = Kind::of(&call.method);
    let subscription = subscription.unwrap_or_default().to_ascii_lowercase();
    let owner = format!("{subscription}/{}", who.oid);
    let header = format!("x-ms-ratelimit-remaining-subscription-{}", kind.name());
    match state.buckets.take(&owner, kind, state.clock.now()) {
        Ok(left) => Ok((header, left)),
        Err(seconds) => {
            let message = format!(
                "Number of {} for subscription '{subscription}' and client '{}' exceeded the limit. Please try again \
                 after '{seconds}' seconds.",
                kind.name(),
                who.appid
            );
            let refused = error(429, "SubscriptionRequestsThrottled", &message);
            Err(refused.with("retry-after", seconds.to_string()).with(&header, "0"))
        }
    }
}

pub(super) fn subscription_exists(state: &State, subscription: Option<&str>) -> Result<(), Reply> {
    let Some(subscription) = subscription else { return Ok(()) };
    if !guid::is_guid(subscription) {
        let message = format!("The provided subscription identifier '{subscription}' is malformed or invalid.");
        return Err(error(400, "InvalidSubscriptionId", &message));
    }
    if state.subscriptions.contains_key(&subscription.to_ascii_lowercase()) {
        return Ok(());
    }
    let message = format!("The subscription '{subscription}' could not be found.");
    Err(error(404, "SubscriptionNotFound", &message))
}

pub(super) fn authorize(state: &mut State, who: &Claims, action: &str, scope: &str) -> Result<(), Reply> {
    if state.allows(who, action, scope, false) {
        return Ok(());
    }
    let message = format!(
        "The client '{}' with object id '{}' does not have authorization to perform action '{action}' over scope \
         '{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials.",
        who.appid, who.oid
    );
    Err(error(403, "AuthorizationFailed", &message))
}

pub(super) fn group_exists<'a>(state: &'a State, place: &Place) -> Result<&'a str, Reply> {
    state.group(&place.subscription, &place.group).ok_or_else(|| {
        let message = format!("Resource group '{}' could not be found.", place.group);
        error(404, "ResourceGroupNotFound", &message)
    })
}

/// The body as JSON of this shape.
pub(super) fn body<T: DeserializeOwned>(call: &Call) -> Result<T, Reply> {
    let media = call.content_type().unwrap_or_default();
    if media != "application/json" {
        let message =
            format!("The content media type '{media}' is not supported. Only 'application/json' is supported.");
        return Err(error(415, "UnsupportedMediaType", &message));
    }
    serde_json::from_slice(&call.body).map_err(|why| malformed(&why.to_string()))
}

pub(super) fn not_found(kind: &str, place: &Place) -> Reply {
    let message = format!(
        "The Resource '{kind}/{}' under resource group '{}' was not found. For more details please go to \
         https://aka.ms/ARMResourceNotFoundFix",
        place.name, place.group
    );
    error(404, "ResourceNotFound", &message)
}
