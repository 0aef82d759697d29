//! The cluster's API server, asked as the machine: its version, what the machine may do, how its Node is.

use anyhow::Result;
use reqwest::{Client, Method};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::himds::{AKS_SERVER, Himds};
use crate::http::{Ask, HttpError};

/// An API server and the identity to ask it with.
#[derive(Debug)]
pub(crate) struct Api<'a> {
    pub(crate) client: Client,
    pub(crate) server: &'a str,
    pub(crate) himds: &'a Himds,
}

/// Something that an identity may or may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permission {
    pub(crate) group: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) subresource: &'static str,
    pub(crate) namespace: &'static str,
    pub(crate) verb: &'static str,
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slash = if self.subresource.is_empty() { "" } else { "/" };
        write!(f, "{} {}{slash}{}", self.verb, self.resource, self.subresource)
    }
}

/// A condition of a Node.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) r#type: String,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) message: String,
}

/// What the join wants to know of a Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) conditions: Vec<Condition>,
    /// The machine-id of the kubelet that reports; empty if it says none.
    pub(crate) machine_id: String,
}

impl Api<'_> {
    /// Its version, such as `v1.30.4`.
    pub(crate) async fn version(&self) -> Result<String, HttpError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            git_version: String,
        }
        let answer: Answer = self.ask(Method::GET, "/version", None, "a version").await?;
        Ok(answer.git_version)
    }

    /// Whether the machine's identity has the permission.
    pub(crate) async fn allows(&self, permission: Permission) -> Result<bool, HttpError> {
        #[derive(Deserialize)]
        struct Answer {
            status: Status,
        }
        #[derive(Deserialize)]
        struct Status {
            allowed: bool,
        }
        let Permission { group, resource, subresource, namespace, verb } = permission;
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "group": group, "resource": resource, "subresource": subresource, "namespace": namespace, "verb": verb,
            }},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer: Answer = self.ask(Method::POST, path, Some(&body), "an access review").await?;
        Ok(answer.status.allowed)
    }

    /// The Node of this name; `None` while there is none.
    pub(crate) async fn node(&self, name: &str) -> Result<Option<Node>, HttpError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            status: Value,
        }
        match self.ask::<Answer>(Method::GET, &format!("/api/v1/nodes/{name}"), None, "a Node").await {
            Ok(Answer { status }) => {
                let conditions = serde_json::from_value(status["conditions"].clone()).unwrap_or_default();
                let machine_id = status["nodeInfo"]["machineID"].as_str().unwrap_or_default().to_owned();
                Ok(Some(Node { conditions, machine_id }))
            }
            Err(error) if error.has_code("NotFound") => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        what: &'static str,
    ) -> Result<T, HttpError> {
        let token = self.himds.token(AKS_SERVER).await?;
        let url = format!("{}{path}", self.server);
        let answer = Ask { client: &self.client, method, url, token: Some(&token), body }.json(what).await;
        if answer.as_ref().is_err_and(|error: &HttpError| error.refusal().is_some_and(|refusal| refusal.status == 401))
        {
            self.himds.forget();
        }
        answer
    }
}
