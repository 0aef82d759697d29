//! Where to sign in and for what: from the table of known clouds, or asked of another cloud's Resource Manager.

use reqwest::{Client, Method};
use serde::{Deserialize, Serialize};

use crate::config::Settings;
use crate::http::{Ask, HttpError};

/// An Entra ID authority and what its tokens are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// The authority, an origin.
    pub login: String,
    /// Audience of tokens for Azure Resource Manager.
    pub audience: String,
    /// The audience as a scope.
    pub scope: String,
    /// Tenant to sign in to with Azure CLI.
    pub tenant: Option<String>,
}

impl Authority {
    /// That of the settings' cloud; for another Resource Manager endpoint than the cloud's own, what that endpoint
    /// itself says, as `az cloud register` does.
    ///
    /// # Errors
    /// When that endpoint has to be asked and does not tell.
    pub async fn find(settings: &Settings, client: &Client) -> Result<Self, HttpError> {
        let facts = settings.cloud.facts();
        let resource_manager = settings.resource_manager.to_string();
        let tenant = Some(settings.tenant.to_string());
        if resource_manager == facts.resource_manager {
            let audience = facts.token_scope.trim_end_matches("/.default").to_owned();
            return Ok(Self {
                login: facts.authority.to_owned(),
                audience,
                scope: facts.token_scope.to_owned(),
                tenant,
            });
        }
        let url = format!("{resource_manager}/metadata/endpoints?api-version=2022-09-01");
        let ask = Ask { client, method: Method::GET, url, token: None, body: None };
        let garbled = || HttpError::Garbled { host: resource_manager.clone(), what: "the endpoints of a cloud" };
        let metadata: Metadata = ask.json("the endpoints of a cloud").await?;
        let Authentication { login_endpoint, audiences } = metadata.authentication;
        // The endpoint's own name, if it is one of its audiences; Azure CLI takes the first.
        let own = audiences.iter().find(|audience| audience.trim_end_matches('/') == resource_manager);
        let audience = own.or(audiences.first()).ok_or_else(garbled)?.clone();
        let login = login_endpoint.trim_end_matches('/').to_owned();
        if !login.starts_with("https://") {
            return Err(garbled());
        }
        let scope = format!("{audience}/.default");
        Ok(Self { login, audience, scope, tenant })
    }
}

#[derive(Deserialize)]
struct Metadata {
    authentication: Authentication,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authentication {
    login_endpoint: String,
    audiences: Vec<String>,
}
