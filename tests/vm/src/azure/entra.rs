//! Microsoft Entra ID: tokens for applications with a secret, and the metadata that clients ask for.

use std::collections::HashMap;

use axum::http::Method;
use serde_json::{Value, json};

use super::call::{Call, Outcome, Reply, settle};
use super::guid;
use super::state::{AKS_SERVER, State};
use super::token::Bearer;

pub(super) fn answer(state: &mut State, call: &mut Call) -> Reply {
    let segments = call.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        [tenant, "oauth2", "v2.0", "token"] => settle(token(state, call, tenant)),
        [tenant, "v2.0", ".well-known", "openid-configuration"] => settle(configuration(state, call, tenant)),
        [tenant, "discovery", "v2.0", "keys"] => {
            settle(known_tenant(state, call, tenant).map(|()| Reply::json(200, &state.signer.key_set())))
        }
        // Not Entra ID's: what the lab's himdsd asks, in place of the real one's service.
        [HIMDSD] if call.method == Method::POST => settle(super::himds::for_daemon(state, call)),
        ["common", "discovery", "instance"] => settle(instance(state, call)),
        _ => Reply::empty(404),
    }
}

/// Path at which the lab's himdsd gets a machine's tokens.
pub(super) const HIMDSD: &str = "flexnode-lab-himdsd";

/// `client_credentials` with a secret, the only grant here.
fn token(state: &mut State, call: &mut Call, tenant: &str) -> Outcome {
    if call.method != Method::POST {
        let message = format!("The endpoint only accepts POST requests. Received a {} request.", call.method);
        return Err(refusal(call, 400, "invalid_request", 900_561, &message));
    }
    let form = form(call);
    known_tenant(state, call, tenant)?;
    let field = |call: &Call, name: &str| match form.get(name) {
        Some(value) if !value.is_empty() => Ok(value.clone()),
        _ => {
            let message = format!("The request body must contain the following parameter: '{name}'.");
            Err(refusal(call, 400, "invalid_request", 900_144, &message))
        }
    };
    let grant = field(call, "grant_type")?;
    if grant != "client_credentials" {
        let message = format!("The app requested an unsupported grant type '{grant}'.");
        return Err(refusal(call, 400, "unsupported_grant_type", 70_003, &message));
    }
    let client = field(call, "client_id")?;
    let scope = field(call, "scope")?;
    let Some(app) = state.apps.iter().find(|app| app.client_id.eq_ignore_ascii_case(&client)).cloned() else {
        let message = format!("Application with identifier '{client}' was not found in the directory '{tenant}'.");
        return Err(refusal(call, 400, "unauthorized_client", 700_016, &message));
    };
    call.principal = Some(app.client_id.clone());
    let Some(secret) = form.get("client_secret").filter(|secret| !secret.is_empty()) else {
        let message = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
        return Err(refusal(call, 401, "invalid_client", 7_000_218, message));
    };
    if *secret != app.secret {
        let message = format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, \
             not the client secret ID, for a secret added to app '{client}'."
        );
        return Err(refusal(call, 401, "invalid_client", 7_000_215, &message));
    }
    if app.secret_expired {
        let message = format!("The provided client secret keys for app '{client}' are expired.");
        return Err(refusal(call, 401, "invalid_client", 7_000_222, &message));
    }
    let audience = audience(state, call, &scope)?;
    let object_id = app.object_id.as_deref().unwrap_or_default();
    let bearer = Bearer { client_id: &app.client_id, object_id, machine: None };
    let issued = state.issue(bearer, &audience, call.now).map_err(|_| unavailable(500))?;
    let lifetime = issued.claims.exp - issued.claims.iat;
    let body = json!({
        "token_type": "Bearer",
        "expires_in": lifetime,
        "ext_expires_in": lifetime,
        "access_token": issued.token,
    });
    Ok(Reply::json(200, &body).with("cache-control", "no-store, no-cache").with("pragma", "no-cache"))
}

fn form(call: &Call) -> HashMap<String, String> {
    if call.content_type().as_deref() != Some("application/x-www-form-urlencoded") {
        return HashMap::new();
    }
    form_urlencoded::parse(&call.body).into_owned().collect()
}

fn known_tenant(state: &State, call: &Call, tenant: &str) -> Result<(), Reply> {
    let known = [&state.tenant.id, &state.tenant.domain].into_iter().any(|name| name.eq_ignore_ascii_case(tenant));
    if known {
        return Ok(());
    }
    if !guid::is_guid(tenant) && !tenant.contains('.') {
        let message =
            format!("Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid external domain.");
        return Err(refusal(call, 400, "invalid_request", 900_023, &message));
    }
    let message = format!(
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the \
         correct cloud."
    );
    Err(refusal(call, 400, "invalid_request", 90_002, &message))
}

/// The resource that `<resource>/.default` names.
fn audience(state: &State, call: &Call, scope: &str) -> Result<String, Reply> {
    let Some(resource) = scope.strip_suffix("/.default").filter(|resource| !resource.contains(' ')) else {
        let message = format!(
            "The provided request must include a 'scope' input parameter. The provided value for the input parameter \
             'scope' is not valid. The scope {scope} is not valid."
        );
        return Err(refusal(call, 400, "invalid_scope", 70_011, &message));
    };
    if !state.knows_resource(resource) {
        let message = format!(
            "The resource principal named {resource} was not found in the tenant named {}.",
            state.tenant.domain
        );
        return Err(refusal(call, 400, "invalid_resource", 500_011, &message));
    }
    let is_aks = resource.trim_end_matches('/').ends_with(AKS_SERVER);
    Ok(if is_aks { AKS_SERVER.to_owned() } else { resource.to_owned() })
}

fn refusal(call: &Call, status: u16, error: &str, code: u64, message: &str) -> Reply {
    // Without randomness there would be no certificates, and no emulator.
    let [trace, correlation] = [(); 2].map(|()| guid::fresh().unwrap_or_default());
    let time = super::clock::rfc3339(call.now).replace('T', " ");
    let description =
        format!("AADSTS{code}: {message} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {time}");
    let body = json!({
        "error": error,
        "error_description": description,
        "error_codes": [code],
        "timestamp": time,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": Value::Null,
    });
    Reply::json(status, &body)
}

pub(super) fn unavailable(status: u16) -> Reply {
    let (error, code) = match status {
        429 => ("temporarily_unavailable", 90_055),
        _ => ("temporarily_unavailable", 90_033),
    };
    let description = format!("AADSTS{code}: A transient error has occurred. Please try again.");
    Reply::json(status, &json!({"error": error, "error_description": description, "error_codes": [code]}))
}

fn configuration(state: &State, call: &Call, tenant: &str) -> Outcome {
    known_tenant(state, call, tenant)?;
    let authority = &state.endpoints.entra;
    let id = &state.tenant.id;
    let body = json!({
        "issuer": format!("{authority}/{id}/v2.0"),
        "token_endpoint": format!("{authority}/{id}/oauth2/v2.0/token"),
        "authorization_endpoint": format!("{authority}/{id}/oauth2/v2.0/authorize"),
        "jwks_uri": format!("{authority}/{id}/discovery/v2.0/keys"),
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    Ok(Reply::json(200, &body))
}

/// What MSAL asks about an authority that it does not know.
fn instance(state: &State, call: &Call) -> Outcome {
    let missing = |name: &str| {
        let message = format!("The request must contain the following parameter: '{name}'.");
        refusal(call, 400, "invalid_request", 900_144, &message)
    };
    call.parameter("api-version").ok_or_else(|| missing("api-version"))?;
    let endpoint = call.parameter("authorization_endpoint").ok_or_else(|| missing("authorization_endpoint"))?;
    let authority = &state.endpoints.entra;
    if !endpoint.starts_with(&format!("{authority}/")) {
        let message = format!("The following authority is not valid: '{endpoint}'.");
        return Err(refusal(call, 400, "invalid_instance", 50_049, &message));
    }
    let host = authority.trim_start_matches("https://");
    let tenant = &state.tenant.id;
    let body = json!({
        "tenant_discovery_endpoint": format!("{authority}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    });
    Ok(Reply::json(200, &body))
}
