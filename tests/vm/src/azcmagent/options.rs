//! The options of `connect`, from the command line or a file whose keys are their names.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::trouble::{Code, Outcome, Trouble};

/// Options of `connect` and `disconnect`.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Options {
    /// JSON or YAML file with these options by name
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Resource group
    #[arg(short = 'g', long)]
    resource_group: Option<String>,
    /// Name of the machine [default: the host's]
    #[arg(short = 'n', long)]
    resource_name: Option<String>,
    /// Region
    #[arg(short, long)]
    location: Option<String>,
    /// Subscription
    #[arg(short, long)]
    subscription_id: Option<String>,
    /// Tenant
    #[arg(short, long)]
    tenant_id: Option<String>,
    /// AzureCloud, AzureUSGovernment or AzureChinaCloud
    #[arg(long)]
    cloud: Option<String>,
    /// `key=value,key=value`
    #[arg(long)]
    tags: Option<String>,
    /// Id for all requests
    #[arg(long)]
    correlation_id: Option<String>,
    /// Private link scope
    #[arg(long)]
    private_link_scope: Option<String>,
    /// Token for Azure Resource Manager
    #[arg(long)]
    access_token: Option<String>,
    /// Application
    #[arg(short = 'i', long)]
    service_principal_id: Option<String>,
    /// Its secret
    #[arg(short = 'p', long)]
    service_principal_secret: Option<String>,
}

/// How to come by a token.
#[derive(Debug)]
pub(super) enum Credential {
    Token(String),
    Secret { tenant: String, client_id: String, secret: String },
}

/// What `connect` needs, complete.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) subscription: String,
    pub(super) group: String,
    pub(super) name: String,
    pub(super) tenant: String,
    pub(super) location: String,
    pub(super) cloud: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) correlation_id: Option<String>,
    pub(super) credential: Credential,
}

impl Options {
    /// With what the file says filled in; the command line wins.
    fn complete(mut self) -> Outcome<Self> {
        let Some(path) = self.config.take() else { return Ok(self) };
        let wrong = |why: String| {
            Trouble::new(Code::InvalidOption, format!("the config file {} cannot be read: {why}", path.display()))
        };
        let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        // JSON is YAML too; a message of the reader could repeat the secret.
        let file: Self =
            serde_yaml::from_str(&text).map_err(|_| wrong("not JSON or YAML of known options".to_owned()))?;
        Ok(Self {
            config: None,
            resource_group: self.resource_group.or(file.resource_group),
            resource_name: self.resource_name.or(file.resource_name),
            location: self.location.or(file.location),
            subscription_id: self.subscription_id.or(file.subscription_id),
            tenant_id: self.tenant_id.or(file.tenant_id),
            cloud: self.cloud.or(file.cloud),
            tags: self.tags.or(file.tags),
            correlation_id: self.correlation_id.or(file.correlation_id),
            private_link_scope: self.private_link_scope.or(file.private_link_scope),
            access_token: self.access_token.or(file.access_token),
            service_principal_id: self.service_principal_id.or(file.service_principal_id),
            service_principal_secret: self.service_principal_secret.or(file.service_principal_secret),
        })
    }

    pub(super) fn request(self) -> Outcome<Request> {
        let options = self.complete()?;
        let cloud = options.cloud.clone().unwrap_or_else(|| CLOUDS[0].to_owned());
        if !CLOUDS.contains(&cloud.as_str()) {
            return Err(Trouble::new(
                Code::InvalidOption,
                format!("there is no cloud {cloud}; use {}", CLOUDS.join(", ")),
            ));
        }
        let tags = tags(options.tags.as_deref().unwrap_or_default())?;
        let name = options.resource_name.clone().map_or_else(host_name, Ok)?;
        Ok(Request {
            subscription: required(options.subscription_id.as_ref(), "subscription-id")?,
            group: required(options.resource_group.as_ref(), "resource-group")?,
            name,
            tenant: required(options.tenant_id.as_ref(), "tenant-id")?,
            location: required(options.location.as_ref(), "location")?,
            cloud,
            tags,
            correlation_id: options.correlation_id.clone(),
            credential: options.credential(None)?,
        })
    }

    /// The credential alone, for `disconnect`.
    pub(super) fn credential_in(self, tenant: &str) -> Outcome<Credential> {
        self.complete()?.credential(Some(tenant))
    }

    fn credential(self, tenant: Option<&str>) -> Outcome<Credential> {
        match (self.access_token, self.service_principal_id, self.service_principal_secret) {
            (Some(token), None, None) => Ok(Credential::Token(token)),
            (None, Some(client_id), Some(secret)) => {
                let tenant = match tenant {
                    Some(tenant) => tenant.to_owned(),
                    None => required(self.tenant_id.as_ref(), "tenant-id")?,
                };
                Ok(Credential::Secret { tenant, client_id, secret })
            }
            (None, None, None) => {
                // The real one would now ask a person to log in with a browser.
                Err(Trouble::new(Code::NoToken, "no access token or service principal, and nobody to log in"))
            }
            _ => Err(Trouble::new(
                Code::InvalidOption,
                "give either access-token, or service-principal-id and service-principal-secret",
            )),
        }
    }
}

const CLOUDS: [&str; 3] = ["AzureCloud", "AzureUSGovernment", "AzureChinaCloud"];

fn required(value: Option<&String>, name: &str) -> Outcome<String> {
    let value = value.filter(|value| !value.is_empty()).cloned();
    value.ok_or_else(|| Trouble::new(Code::InvalidOption, format!("the option {name} is missing")))
}

fn host_name() -> Outcome<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname");
    let name = name.map_err(|error| Trouble::new(Code::Internal, format!("read the host name: {error}")))?;
    Ok(name.trim().to_owned())
}

fn tags(text: &str) -> Outcome<BTreeMap<String, String>> {
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Trouble::new(Code::InvalidOption, format!("tags are key=value,key=value, and `{pair}` is none"))),
    };
    text.split(',').filter(|pair| !pair.is_empty()).map(pair).collect()
}
