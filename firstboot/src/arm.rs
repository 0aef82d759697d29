//! Azure Resource Manager: the five calls of a join, with the api-versions they were written for.

use reqwest::{Client, Method};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::Secret;
use crate::config::azure::Guid;
use crate::config::resource_id::{ClusterId, ResourceGroup};
use crate::credential::Credential;
use crate::himds::Himds;
use crate::http::{Ask, HttpError};

const MACHINES: &str = "2022-12-27";
const AUTHORIZATION: &str = "2022-04-01";
const CLUSTERS: &str = "2024-09-01";

/// In whose name a call is made.
#[derive(Debug, Clone, Copy)]
pub enum Caller<'a> {
    /// Who registers the machine.
    Operator(&'a Credential),
    /// The machine itself, with a token for this audience.
    Machine(&'a Himds, &'a str),
}

impl Caller<'_> {
    async fn token(&self) -> Result<Secret, HttpError> {
        match self {
            Self::Operator(credential) => credential.token().await,
            Self::Machine(himds, audience) => himds.token(audience).await,
        }
    }

    fn forget(&self) {
        match self {
            Self::Operator(credential) => credential.forget(),
            Self::Machine(himds, _) => himds.forget(),
        }
    }
}

/// Azure Resource Manager at an endpoint.
#[derive(Debug)]
pub struct Arm {
    client: Client,
    endpoint: String,
}

/// Resource id of an Arc machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineId {
    /// The subscription.
    pub subscription: Guid,
    /// The resource group.
    pub resource_group: ResourceGroup,
    /// The machine's name.
    pub name: String,
}

impl std::fmt::Display for MachineId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { subscription, resource_group, name } = self;
        write!(f, "/subscriptions/{subscription}/resourceGroups/{resource_group}")?;
        write!(f, "/providers/Microsoft.HybridCompute/machines/{name}")
    }
}

/// What the join wants to know of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its region.
    pub location: String,
    /// Address of its DNS service.
    pub dns_service_ip: Option<String>,
    /// Whether it authorises by Azure roles (Azure RBAC) rather than by Kubernetes bindings alone.
    pub azure_rbac: bool,
    /// Whether its API server takes tokens of Entra ID.
    pub entra: bool,
}

/// One role, for one principal, at one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Name of the assignment, a GUID.
    pub name: String,
    /// Resource id of the scope.
    pub scope: String,
    /// GUID of the role's definition.
    pub role: String,
    /// Object id of the principal, a service principal.
    pub principal: String,
}

impl Arm {
    /// Azure Resource Manager at `endpoint`, an origin.
    #[must_use]
    pub fn new(client: Client, endpoint: String) -> Self {
        Self { client, endpoint }
    }

    /// The cluster.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn cluster(&self, caller: Caller<'_>, id: &ClusterId) -> Result<Cluster, HttpError> {
        #[derive(Deserialize)]
        struct Answer {
            location: String,
            #[serde(default)]
            properties: Value,
        }
        let answer: Answer =
            self.ask(caller, Method::GET, &format!("{id}?api-version={CLUSTERS}"), None, "the cluster").await?;
        let text = |pointer: &str| answer.properties.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Ok(Cluster {
            location: answer.location,
            dns_service_ip: text("/networkProfile/dnsServiceIP"),
            azure_rbac: answer.properties.pointer("/aadProfile/enableAzureRBAC") == Some(&Value::Bool(true)),
            entra: answer.properties["aadProfile"].is_object(),
        })
    }

    /// Object id of the machine's identity; `None` while Azure does not show it yet.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn machine_identity(&self, caller: Caller<'_>, id: &MachineId) -> Result<Option<String>, HttpError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Identity {
            principal_id: Option<String>,
        }
        #[derive(Deserialize)]
        struct Answer {
            identity: Option<Identity>,
        }
        let path = format!("{id}?api-version={MACHINES}");
        let answer: Answer = self.ask(caller, Method::GET, &path, None, "the machine").await?;
        // It becomes part of paths and of commands that people paste.
        let principal = answer.identity.and_then(|identity| identity.principal_id).filter(|id| !id.is_empty());
        match principal.map(|id| id.parse::<Guid>()) {
            None => Ok(None),
            Some(Ok(id)) => Ok(Some(id.to_string())),
            Some(Err(_)) => Err(HttpError::Garbled { host: self.endpoint.clone(), what: "an object id" }),
        }
    }

    /// Creates a role assignment; that it exists under this name is a success.
    ///
    /// # Errors
    /// See [`HttpError`]; among the refusals `RoleAssignmentExists` and `PrincipalNotFound`.
    pub async fn assign(&self, caller: Caller<'_>, assignment: &Assignment) -> Result<(), HttpError> {
        let Assignment { name, scope, role, principal } = assignment;
        let path =
            format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{name}?api-version={AUTHORIZATION}");
        let body = json!({ "properties": {
            "roleDefinitionId": role_definition(scope, role),
            "principalId": principal,
            "principalType": "ServicePrincipal",
        }});
        let what = "the role assignment";
        let answer: Value = self.ask(caller, Method::PUT, &path, Some(&body), what).await?;
        // Some proxies' pages are JSON too. A role taken for assigned would be waited for in vain.
        let told = answer["properties"]["principalId"].as_str().unwrap_or_default();
        if told.eq_ignore_ascii_case(principal) {
            Ok(())
        } else {
            Err(HttpError::Garbled { host: self.endpoint.clone(), what })
        }
    }

    /// Whether the principal has the role at the scope, under whatever name.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn is_assigned(&self, caller: Caller<'_>, assignment: &Assignment) -> Result<bool, HttpError> {
        #[derive(Deserialize)]
        struct Answer {
            value: Vec<Value>,
        }
        let Assignment { scope, role, principal, .. } = assignment;
        let filter = format!("principalId%20eq%20'{principal}'");
        let path = format!(
            "{scope}/providers/Microsoft.Authorization/roleAssignments?api-version={AUTHORIZATION}&$filter={filter}"
        );
        let answer: Answer = self.ask(caller, Method::GET, &path, None, "role assignments").await?;
        Ok(answer.value.iter().any(|found| {
            let text = |name: &str| found["properties"][name].as_str().unwrap_or_default().to_ascii_lowercase();
            // An assignment further up applies here too.
            let applies = format!("{}/", scope.to_ascii_lowercase()).starts_with(&format!("{}/", text("scope")));
            applies && text("roleDefinitionId").ends_with(&format!("/{role}")) && text("principalId") == *principal
        }))
    }

    /// GUID of the role of this name; `None` if there is none.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn role(&self, caller: Caller<'_>, scope: &str, name: &str) -> Result<Option<String>, HttpError> {
        #[derive(Deserialize)]
        struct Answer {
            value: Vec<Definition>,
        }
        #[derive(Deserialize)]
        struct Definition {
            name: String,
        }
        let filter = percent_encoded(&format!("roleName eq '{name}'"));
        let path = format!(
            "{scope}/providers/Microsoft.Authorization/roleDefinitions?api-version={AUTHORIZATION}&$filter={filter}"
        );
        let answer: Answer = self.ask(caller, Method::GET, &path, None, "role definitions").await?;
        match answer.value.first().map(|definition| definition.name.parse::<Guid>()) {
            None => Ok(None),
            Some(Ok(id)) => Ok(Some(id.to_string())),
            Some(Err(_)) => Err(HttpError::Garbled { host: self.endpoint.clone(), what: "the id of a role" }),
        }
    }

    /// The kubeconfig that the caller may see, as YAML.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn user_kubeconfig(&self, caller: Caller<'_>, id: &ClusterId) -> Result<Secret, HttpError> {
        #[derive(Deserialize)]
        struct Answer {
            kubeconfigs: Vec<Kubeconfig>,
        }
        #[derive(Deserialize)]
        struct Kubeconfig {
            value: Secret,
        }
        let path = format!("{id}/listClusterUserCredential?api-version={CLUSTERS}");
        let answer: Answer = self.ask(caller, Method::POST, &path, None, "a kubeconfig").await?;
        let garbled = || HttpError::Garbled { host: self.endpoint.clone(), what: "a kubeconfig" };
        let encoded = &answer.kubeconfigs.first().ok_or_else(garbled)?.value;
        // Its user may be a client certificate with its key: a secret, whether wanted or not.
        let decoded = azure_core::base64::decode(encoded.expose()).map_err(|_| garbled())?;
        String::from_utf8(decoded).map(Secret::from).map_err(|_| garbled())
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        caller: Caller<'_>,
        method: Method,
        path: &str,
        body: Option<&Value>,
        what: &'static str,
    ) -> Result<T, HttpError> {
        let token = caller.token().await?;
        let url = format!("{}{path}", self.endpoint);
        let answer = Ask { client: &self.client, method, url, token: Some(&token), body }.json(what).await;
        if let Err(HttpError::Refused(refusal)) = &answer
            && refusal.status == 401
        {
            caller.forget();
        }
        answer
    }
}

/// Resource id of a role's definition, in the subscription of the scope.
fn role_definition(scope: &str, role: &str) -> String {
    let subscription = scope.split('/').nth(2).unwrap_or_default();
    format!("/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{role}")
}

/// All but RFC 3986's unreserved characters as `%XX`.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_lies_in_the_subscription_of_its_scope() {
        assert_eq!(
            role_definition("/subscriptions/s/resourceGroups/g", "r"),
            "/subscriptions/s/providers/Microsoft.Authorization/roleDefinitions/r"
        );
        assert_eq!(percent_encoded("roleName eq 'Ä'"), "roleName%20eq%20%27%C3%84%27");
    }
}
