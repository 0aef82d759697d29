//! Managed clusters, `Microsoft.ContainerService/managedClusters`, and their credentials.

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::error::{error, malformed};
use super::target::Place;
use super::{gate, kubeconfig};
use crate::azure::call::{Call, Outcome, Reply};
use crate::azure::state::State;
use crate::azure::things::ClusterState;
use crate::azure::token::Claims;

const KIND: &str = "Microsoft.ContainerService/managedClusters";

pub(super) fn answer(state: &mut State, call: &Call, who: &Claims, place: &Place, action: Option<&str>) -> Outcome {
    gate::supports(call, "managedClusters", &["2024-09-01"])?;
    let Place { subscription, group, name } = place;
    let id = format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/{KIND}/{name}");
    let permission = match action.map(str::to_ascii_lowercase).as_deref() {
        None => {
            gate::method_is(call, &[Method::GET])?;
            "read"
        }
        Some("listclusterusercredential") => "listClusterUserCredential/action",
        Some("listclusteradmincredential") => "listClusterAdminCredential/action",
        Some(other) => {
            let message = format!("The resource type 'managedClusters/{other}' could not be found.");
            return Err(error(404, "InvalidResourceType", &message));
        }
    };
    if action.is_some() {
        is_empty_post(call)?;
    }
    gate::authorize(state, who, &format!("{KIND}/{permission}"), &id)?;
    gate::group_exists(state, place)?;
    let tenant = state.tenant.id.clone();
    let cluster = state.cluster(&id).ok_or_else(|| gate::not_found(KIND, place))?;
    match permission {
        "read" => Ok(Reply::json(200, &describe(cluster, &tenant))),
        "listClusterUserCredential/action" => {
            let kubeconfig = BASE64.encode(kubeconfig::of_user(cluster, &tenant));
            Ok(Reply::json(200, &json!({"kubeconfigs": [{"name": "clusterUser", "value": kubeconfig}]})))
        }
        _ => {
            let message =
                "Getting static credential is not allowed because this cluster is set to disable local accounts.";
            Err(error(400, "BadRequest", message))
        }
    }
}

/// An action without parameters: a POST of nothing, which must say that it is nothing.
fn is_empty_post(call: &Call) -> Result<(), Reply> {
    gate::method_is(call, &[Method::POST])?;
    if call.header("content-length").is_none() && call.header("transfer-encoding").is_none() {
        return Err(error(411, "LengthRequired", "The request must have a Content-Length header."));
    }
    if !call.body.is_empty() {
        return Err(malformed("this action takes no content"));
    }
    Ok(())
}

fn describe(cluster: &ClusterState, tenant: &str) -> Value {
    let facts = &cluster.facts;
    let host = cluster.server.trim_start_matches("https://");
    json!({
        "id": cluster.id(),
        "name": facts.name,
        "type": KIND,
        "location": facts.location,
        "identity": {"type": "SystemAssigned", "tenantId": tenant},
        "properties": {
            "provisioningState": "Succeeded",
            "powerState": {"code": "Running"},
            "kubernetesVersion": facts.version,
            "currentKubernetesVersion": facts.version,
            "fqdn": host,
            "disableLocalAccounts": true,
            "aadProfile": {"managed": true, "enableAzureRBAC": facts.azure_rbac, "tenantID": tenant},
            "networkProfile": {
                "networkPlugin": "none",
                "serviceCidr": "10.0.0.0/16",
                "podCidr": "10.244.0.0/16",
                "dnsServiceIP": facts.dns_service_ip,
            },
        },
    })
}
