//! The operator's credential: tokens of who registers the machine, through azure_identity.
//!
//! Its transport is our own HTTP client (trust, proxy, timeouts) and its retry is none: ours alone decides. Its error
//! for a certificate that is not trusted would otherwise come after 82 seconds of hidden retries.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind;
use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Request, RetryOptions, Transport};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions, Executor,
};
use reqwest::Client;
use zeroize::Zeroizing;

use crate::cloud::Authority;
use crate::command::Commands;
use crate::config::{Operator, Secret, SecretSource};
use crate::failure::{Exit, Failure, plain};
use crate::host::Host;
use crate::http::{HttpError, Refusal, unreachable_by};

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
        let shell = Arc::new(Shell { commands: host.commands.clone(), longest: host.pace.of(LONGEST).max(SHORTEST) });
        let credentials_directory = host.credentials_directory.clone();
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
                Operator::AzureCli => said_by_azure_cli(&error),
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

/// A secret from where the config says it is.
///
/// # Errors
/// When it is not there, is too large, is empty, or lies in a file that others can read.
pub fn secret(source: &SecretSource, credentials_directory: Option<&Path>) -> Result<Secret, Failure> {
    match source {
        SecretSource::Inline(secret) => Ok(secret.clone()),
        SecretSource::File { path, .. } => {
            let hint = format!("write the secret and nothing else to {}, then `chmod 600` it", path.display());
            read_secret(path, true).map_err(|why| {
                Failure::new(Exit::BadConfig, format!("clientSecretFile {}: {why}", path.display()), hint)
            })
        }
        SecretSource::Credential(name) => {
            let hint = format!(
                "`systemctl edit flexnode-firstboot` and add `[Service]` and `LoadCredential={name}:/path/of/the/secret`; \
                 credentials are there under systemd only"
            );
            let fail = |why: &str| Failure::new(Exit::BadConfig, format!("systemd credential {name}: {why}"), &hint);
            let directory = credentials_directory.ok_or_else(|| fail("$CREDENTIALS_DIRECTORY is not set"))?;
            read_secret(&directory.join(name), false).map_err(|why| fail(&why))
        }
    }
}

fn read_secret(path: &Path, must_be_private: bool) -> Result<Secret, String> {
    use std::os::unix::fs::PermissionsExt as _;
    const LARGEST: u64 = 4096;
    let read = || -> io::Result<(u32, Zeroizing<String>)> {
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() || metadata.len() > LARGEST {
            return Err(io::Error::other("not a file of at most 4096 bytes"));
        }
        let mut text = Zeroizing::new(String::with_capacity(2 * 4096));
        File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
        Ok((metadata.permissions().mode(), text))
    };
    let (mode, text) = read().map_err(|error| error.to_string())?;
    if must_be_private && mode & 0o077 != 0 {
        return Err("it may be read by others".to_owned());
    }
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        secret => Ok(Secret::from(secret.to_owned())),
    }
}

/// Runs Azure CLI as all programs are run: with a limit, killed with the join, without systemd's channels.
/// azure_identity's own way would wait for as long as it takes, in a thread that nothing ends.
#[derive(Debug)]
struct Shell {
    commands: Commands,
    longest: Duration,
}

/// Azure CLI takes seconds to start, and may have to renew its own token.
const LONGEST: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_secs(20);

#[async_trait::async_trait]
impl Executor for Shell {
    async fn run(&self, program: &OsStr, arguments: &[&OsStr]) -> io::Result<Output> {
        self.commands.output(program, arguments, self.longest).await
    }
}

/// azure_identity's transport. It reads JSON even from answers that have none, and then forgets their status, so
/// those that mean "busy" are told apart here.
#[derive(Debug)]
struct Plain(Client);

#[derive(Debug, thiserror::Error)]
#[error("busy")]
struct Busy {
    status: u16,
    retry_after: Option<Duration>,
}

#[async_trait::async_trait]
impl HttpClient for Plain {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let answer = self.0.execute_request(request).await?;
        let status = u16::from(answer.status());
        if matches!(status, 408 | 425 | 429 | 500..=599) {
            let header = azure_core::http::headers::HeaderName::from_static("retry-after");
            let retry_after =
                answer.headers().get_optional_str(&header).and_then(|seconds| seconds.trim().parse().ok());
            let busy = Busy { status, retry_after: retry_after.map(Duration::from_secs) };
            return Err(azure_core::Error::with_error(ErrorKind::Other, busy, "busy"));
        }
        Ok(answer)
    }
}

/// azure_identity's error as ours: what it holds lies somewhere along its causes.
fn typed(host: &str, error: &azure_core::Error) -> HttpError {
    let refusal = |status, code, message, retry_after| Refusal {
        host: host.to_owned(),
        status,
        code,
        message,
        request_id: None,
        retry_after,
    };
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(busy) = cause.downcast_ref::<Busy>() {
            let message = "it is busy".to_owned();
            return refusal(busy.status, String::new(), message, busy.retry_after).into();
        }
        if let Some(error) = cause.downcast_ref::<azure_core::Error>()
            && let ErrorKind::HttpResponse { status, error_code, .. } = error.kind()
        {
            let first = error_code.as_deref().and_then(|codes| codes.split(',').next());
            let code = first.map(|number| format!("AADSTS{number}")).unwrap_or_default();
            return refusal((*status).into(), code, plain(&error.to_string()), None).into();
        }
        if let Some(error) = cause.downcast_ref::<azure_core::Error>()
            && matches!(error.kind(), ErrorKind::DataConversion)
        {
            return HttpError::Garbled { host: host.to_owned(), what: "a token" };
        }
        if let Some(cause) = cause.downcast_ref::<reqwest::Error>() {
            return unreachable_by(host, cause);
        }
        next = cause.source();
    }
    Failure::new(Exit::Transient, words(error), "see whether DNS, the firewall and the proxy let this machine sign in")
        .into()
}

/// Azure CLI's own words, or a shell's. It asks Entra ID itself, so what a network does to it passes; who has to log in
/// is told so, and where there is no `az`, or an old one, none will come.
fn said_by_azure_cli(error: &azure_core::Error) -> HttpError {
    let first: &(dyn std::error::Error + 'static) = error;
    let mut causes = std::iter::successors(Some(first), |cause| cause.source());
    let timed_out = |cause: &io::Error| cause.kind() == io::ErrorKind::TimedOut;
    if causes.any(|cause| cause.downcast_ref().is_some_and(timed_out)) {
        let hint = "run `az account get-access-token` as root to see why";
        return Failure::new(Exit::Transient, "Azure CLI has not answered in time", hint).into();
    }
    const FINAL: [&str; 3] = ["az login", "not found on PATH", "Please use Azure CLI"];
    let words = words(error);
    let exit = if FINAL.iter().any(|part| words.contains(part)) { Exit::Denied } else { Exit::Transient };
    let hint = "`sudo az login`, then `az account get-access-token` as root to see that it works; or configure \
                azure.servicePrincipal";
    Failure::new(exit, words, hint).into()
}

fn words(error: &azure_core::Error) -> String {
    error.to_string().split("\nTo troubleshoot").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
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
