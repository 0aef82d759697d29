//! The operator's credential: tokens of who registers the machine, through azure_identity.
//!
//! Its transport is our own HTTP client (trust, proxy, timeouts) and its retry is none: ours alone decides. Its error
//! for a certificate that is not trusted would otherwise come after 82 seconds of hidden retries.

mod azure_cli;
mod secret;
mod transport;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
};
use reqwest::Client;

use self::azure_cli::Shell;
use self::secret::secret;
use self::transport::{Plain, typed};
use crate::cloud::Authority;
use crate::config::{Operator, Secret};
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::http::HttpError;

/// The operator as the join uses it; keeps a token in memory until shortly before it expires.
#[derive(Debug)]
pub struct Credential {
    operator: Operator,
    credentials_directory: Option<PathBuf>,
    shell: Arc<Shell>,
    client: Client,
    authority: Authority,
    cache: Mutex<Option<(Secret, SystemTime)>>,
}

impl Credential {
    /// The operator on `host`, signing in at `authority`.
    #[must_use]
    pub fn new(operator: Operator, host: &Host, client: Client, authority: Authority) -> Self {
        let credentials_directory = host.credentials_directory.clone();
        let shell = Arc::new(Shell::of(host));
        Self { operator, credentials_directory, shell, client, authority, cache: Mutex::default() }
    }

    /// The secret of the service principal; `None` for Azure CLI.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn secret(&self) -> Result<Option<Secret>, Failure> {
        match &self.operator {
            Operator::AzureCli => Ok(None),
            Operator::ServicePrincipal(principal) => {
                secret(&principal.secret, self.credentials_directory.as_deref()).map(Some)
            }
        }
    }

    /// Who it is.
    #[must_use]
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// A token for Azure Resource Manager.
    ///
    /// # Errors
    /// When Entra ID or Azure CLI gives none.
    pub async fn token(&self) -> Result<Secret, HttpError> {
        if let Some(token) = self.cached() {
            return Ok(token);
        }
        let (host, credential) = self.azure_credential()?;
        crate::crash::point();
        let token =
            credential.get_token(&[&self.authority.scope], None).await.map_err(|error| match self.operator {
                Operator::AzureCli => azure_cli::refusal(&error),
                Operator::ServicePrincipal(_) => typed(&host, &error),
            })?;
        crate::crash::point();
        let value = Secret::from(token.token.secret().to_owned());
        // azure_identity takes any JSON object for a token, and its silence for an empty one.
        if value.expose().is_empty() {
            return Err(HttpError::Garbled { host, what: "a token" });
        }
        let expires = SystemTime::from(token.expires_on);
        *self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((value.clone(), expires));
        Ok(value)
    }

    /// Forgets the token, so that the next is asked for anew.
    pub fn forget(&self) {
        *self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }

    fn cached(&self) -> Option<Secret> {
        let soon = SystemTime::now() + Duration::from_secs(120);
        let cache = self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        cache.as_ref().filter(|(_, expires)| *expires > soon).map(|(token, _)| token.clone())
    }

    /// Made for each token: azure_identity keeps its own cache, and its copy of the secret goes with it.
    fn azure_credential(&self) -> Result<(String, Arc<dyn TokenCredential>), HttpError> {
        let unusable = |error: azure_core::Error| {
            let hint = "correct azure.tenantId and azure.servicePrincipal; `flexnode-firstboot check` shows them";
            HttpError::from(Failure::new(Exit::BadConfig, error.to_string(), hint))
        };
        match &self.operator {
            Operator::AzureCli => {
                let options = AzureCliCredentialOptions {
                    tenant_id: self.authority.tenant.clone(),
                    executor: Some(Arc::<Shell>::clone(&self.shell)),
                    ..Default::default()
                };
                let credential = AzureCliCredential::new(Some(options)).map_err(unusable)?;
                Ok(("Azure CLI".to_owned(), credential))
            }
            Operator::ServicePrincipal(principal) => {
                let secret = secret(&principal.secret, self.credentials_directory.as_deref())?;
                let mut cloud = CustomConfiguration::default();
                cloud.authority_host.clone_from(&self.authority.login);
                let options = ClientSecretCredentialOptions {
                    client_options: ClientOptions {
                        transport: Some(Transport::new(Arc::new(Plain(self.client.clone())))),
                        retry: RetryOptions::none(),
                        cloud: Some(Arc::new(CloudConfiguration::Custom(cloud))),
                        ..Default::default()
                    },
                };
                let (tenant, client_id) = (principal.tenant.to_string(), principal.client_id.to_string());
                let credential =
                    ClientSecretCredential::new(&tenant, client_id, secret.expose().to_owned().into(), Some(options));
                Ok((self.authority.login.clone(), credential.map_err(unusable)?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::command::Commands;
    use crate::config::Proxy;
    use crate::http::Network;
    use crate::retry::Pace;

    #[tokio::test]
    async fn azure_cli_that_hangs_is_given_up_and_worth_another_run() {
        let programs = tempfile::tempdir().unwrap();
        let az = programs.path().join("az");
        fs::write(&az, "#!/bin/sh\nsleep 60\n").unwrap();
        fs::set_permissions(&az, Permissions::from_mode(0o755)).unwrap();
        let path = Some(format!("{}:/usr/bin:/bin", programs.path().display()).into());
        let commands = Commands { path, ..Commands::default() };
        let nowhere = Proxy { http: None, https: None, bypass: Vec::new() };
        let authority = Authority {
            login: "https://login.example".to_owned(),
            audience: "https://arm.example".to_owned(),
            scope: "https://arm.example/.default".to_owned(),
            tenant: None,
        };
        let credential = Credential {
            operator: Operator::AzureCli,
            credentials_directory: None,
            shell: Arc::new(Shell { commands, longest: Duration::from_millis(50) }),
            client: Network::new(nowhere, Pace::default()).loopback().unwrap(),
            authority,
            cache: Mutex::default(),
        };
        let failure = credential.token().await.expect_err("it hangs").into_failure();
        assert_eq!(
            (failure.exit(), failure.to_string().as_str()),
            (Exit::Transient, "Azure CLI has not answered in time")
        );
    }
}
