//! `azcmagent connect`, whose secret travels in a file that nobody else can read.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;
use zeroize::Zeroizing;

use super::refusal::{code, refused};
use super::shown::show;
use super::{CONNECT, QUICK, run};
use crate::arm::Cluster;
use crate::atomic;
use crate::config::{Operator, Secret};
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::http::HttpError;
use crate::join::Join;
use crate::paths;
use crate::state::Step;

/// One look, and one connection if the look says that there is none.
pub(super) async fn connect(join: &Join<'_>, cluster: &Cluster) -> Result<()> {
    let shown = show(join).await?;
    if shown.registered_as().is_some() {
        shown.check(join)?;
        if shown.is_connected() {
            return Ok(());
        }
        let message = format!("the Arc agent is registered and says {:?}, not yet Connected", shown.status);
        return Err(
            Failure::new(Exit::Transient, message, "`azcmagent check` tells which endpoint it cannot reach").into()
        );
    }
    if let Some(proxy) = join.settings.proxy.https.as_ref().or(join.settings.proxy.http.as_ref()) {
        // Persistent: himdsd needs it later too. It holds no password; the config refuses one.
        let said = run(join, &["config", "set", "proxy.url", &proxy.to_string()], QUICK).await?;
        if !said.success {
            let hint = format!("`azcmagent config set proxy.url {proxy}` shows why");
            return Err(
                Failure::new(Exit::Transient, format!("azcmagent takes no proxy: {}", said.summary()), hint).into()
            );
        }
    }
    let file = join.host.path(paths::CONNECT_CONFIG);
    let (config, secret) = connect_config(join, cluster).await?;
    atomic::directory(&join.host.path(paths::RUN_DIRECTORY), 0o700)?;
    // Also when this run ends here, by an error or by SIGTERM; after a crash the next run removes it.
    let removed = Removed(file.clone());
    atomic::write(&file, config.as_bytes(), 0o600)?;
    join.progress.note(Step::Arc, &format!("connecting as {}", join.machine));
    let said = run(join, &["connect", "--config", &file.display().to_string()], CONNECT).await;
    drop(removed);
    let said = said?;
    // Not its status: a connection that was made and then lost its answer is a connection.
    if said.success || code(&said) == Some(67) {
        return Ok(());
    }
    Err(refused(join, &said, &secret).into())
}

/// The file of `--config`: the option names as keys. The one place where azcmagent takes a secret unseen.
async fn connect_config(join: &Join<'_>, cluster: &Cluster) -> Result<(Zeroizing<String>, Secret)> {
    let location = join.settings.arc.location.as_ref().map_or_else(|| cluster.location.clone(), ToString::to_string);
    let mut config = json!({
        "subscription-id": join.machine.subscription.to_string(),
        "resource-group": join.machine.resource_group.to_string(),
        "resource-name": join.machine.name,
        "tenant-id": join.settings.tenant.to_string(),
        "location": location,
        "cloud": join.settings.cloud.facts().azcmagent,
    });
    let tags = join.settings.arc.tags.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
    if !tags.is_empty() {
        config["tags"] = json!(tags.join(","));
    }
    // The secret is not put into the tree, whose strings nothing wipes, but into the text alone.
    let (key, secret) = match join.operator.operator() {
        Operator::ServicePrincipal(principal) => {
            config["service-principal-id"] = json!(principal.client_id.to_string());
            let secret = join.operator.secret()?.context("reading the secret of the service principal")?;
            ("service-principal-secret", secret)
        }
        Operator::AzureCli => ("access-token", join.operator.token().await.map_err(HttpError::into_failure)?),
    };
    let open = serde_json::to_string(&config)?;
    let quoted = Zeroizing::new(serde_json::to_string(secret.expose())?);
    let mut text = Zeroizing::new(String::with_capacity(open.len() + quoted.len() + 64));
    text.push_str(open.trim_end_matches('}'));
    for part in [",\"", key, "\":", quoted.as_str(), "}\n"] {
        text.push_str(part);
    }
    Ok((text, secret))
}

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // The next run tries again, and says so if it fails.
        let _ = atomic::remove(&self.0);
    }
}

/// Removes what a killed run has left of that file.
///
/// # Errors
/// When it stays.
pub(crate) fn forget_connect_file(host: &Host) -> Result<()> {
    let file = host.path(paths::CONNECT_CONFIG);
    atomic::remove(&file).with_context(|| format!("removing {}, which holds a secret", file.display()))
}
