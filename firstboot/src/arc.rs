//! Registration with Azure Arc: the package, the connection, the identity that Azure shows.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::arm::{Caller, Cluster};
use crate::atomic;
use crate::command::Said;
use crate::config::{Operator, Secret};
use crate::failure::{Exit, Failure, plain};
use crate::http::HttpError;
use crate::join::Join;
use crate::paths;
use crate::retry::Schedule;
use crate::state::Step;

const DEADLINE: Duration = Duration::from_secs(15 * 60);
/// `azcmagent connect` waits for Azure itself.
const CONNECT: Duration = Duration::from_secs(5 * 60);
const INSTALL: Duration = Duration::from_secs(5 * 60);
const QUICK: Duration = Duration::from_secs(60);

/// Installs and connects what is not yet; the object id of the machine's identity.
///
/// # Errors
/// When the machine is registered as something else, or cannot be registered.
pub(crate) async fn register(join: &Join<'_>, cluster: &Cluster) -> Result<String> {
    forget_connect_file(join)?;
    install(join).await?;
    join.retry(Step::Arc, DEADLINE, async || connect(join, cluster).await).await?;
    identity(join).await
}

/// Whether the agent says that it is connected to this machine's resource.
///
/// # Errors
/// When it is connected to another.
pub(crate) async fn is_connected(join: &Join<'_>) -> Result<bool> {
    if !join.host.commands.has("azcmagent") {
        return Ok(false);
    }
    let shown = show(join).await?;
    Ok(shown.registered_as().is_some() && shown.check(join).map(|()| shown.is_connected())?)
}

/// Undoes, on a clone, the registration of the machine it was cloned from: on this disk alone, Azure keeps its own.
///
/// # Errors
/// When the agent cannot be asked or does not let go.
pub(crate) async fn forget(join: &Join<'_>, parent: &str) -> Result<()> {
    if !join.host.commands.has("azcmagent") {
        return Ok(());
    }
    let shown = show(join).await?;
    if shown.registered_as().is_none_or(|resource| !resource.eq_ignore_ascii_case(parent)) {
        return Ok(());
    }
    let said = run(join, &["disconnect", "--force-local-only"], CONNECT).await?;
    if said.success {
        return Ok(());
    }
    let message = format!("azcmagent does not forget {parent}: {}", said.summary());
    Err(Failure::new(Exit::Local, message, "`azcmagent disconnect --force-local-only` by hand, then try again").into())
}

/// Installs the bundled package, offline. A note on disk tells a finished installation from one that was cut off,
/// which may have left the program without its services.
async fn install(join: &Join<'_>) -> Result<()> {
    let note = join.host.path(paths::INSTALL_NOTE);
    if join.host.commands.has("azcmagent") && !note.exists() {
        return Ok(());
    }
    let package = package(join)?;
    atomic::ensure(&note, b"", 0o600)?;
    join.progress.note(Step::Arc, &format!("installing {}", package.display()));
    let package = package.display().to_string();
    let dpkg = async || {
        let arguments = ["--install", "--force-confold", package.as_str()];
        let said = join.host.commands.run("dpkg", &arguments, join.host.pace.of(INSTALL)).await?;
        if said.success {
            return Ok(());
        }
        let summary = said.summary();
        // Its status for this is the same as for everything else.
        let exit = if summary.contains("lock") { Exit::Transient } else { Exit::Local };
        let hint = format!("`dpkg --configure --pending; dpkg --install {package}` shows why");
        Err(Failure::new(exit, format!("the Arc agent's package cannot be installed: {summary}"), hint).into())
    };
    join.retry(Step::Arc, DEADLINE, dpkg).await?;
    atomic::remove(&note)
}

/// The newest `azcmagent_*.deb` of the bundle.
fn package(join: &Join<'_>) -> Result<PathBuf> {
    let directory = join.host.path(paths::PACKAGES);
    let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("azcmagent_") && name.ends_with(".deb")
    };
    entries.filter(ours).max().ok_or_else(|| {
        let hint = "build the bundle with the azcmagent package in its `packages`, or install the agent into the image";
        Failure::new(Exit::Local, format!("no azcmagent on PATH and no package in {}", directory.display()), hint)
            .into()
    })
}

/// One look, and one connection if the look says that there is none.
async fn connect(join: &Join<'_>, cluster: &Cluster) -> Result<()> {
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
            return Err(Failure::new(Exit::Local, format!("azcmagent takes no proxy: {}", said.summary()), hint).into());
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

fn forget_connect_file(join: &Join<'_>) -> Result<()> {
    let file = join.host.path(paths::CONNECT_CONFIG);
    atomic::remove(&file).with_context(|| format!("removing {}, which holds a secret", file.display()))
}

/// What azcmagent's refusal means. Its codes: learn.microsoft.com, "azcmagent CLI reference", error codes.
fn refused(join: &Join<'_>, said: &Said, secret: &Secret) -> Failure {
    // It is not known to repeat the secret; should it, nobody sees it.
    let summary = plain(&said.summary().replace(secret.expose(), "(secret)"));
    let message = format!("azcmagent connect: {summary}");
    let group = format!("/subscriptions/{}/resourceGroups/{}", join.machine.subscription, join.machine.resource_group);
    let onboarding = format!(
        "az role assignment create --assignee {} --role \"Azure Connected Machine Onboarding\" --scope \"{group}\"",
        join.operator_for_az()
    );
    let has = |code: &str| summary.contains(code);
    match code(said) {
        _ if has("AuthorizationFailed") || has("LinkedAuthorizationFailed") => {
            Failure::new(Exit::Denied, message, onboarding)
        }
        Some(44) => Failure::new(
            Exit::BadConfig,
            message,
            format!(
                "another machine holds the name: set azure.arc.machineName, or, if that machine is gone, `az \
                 connectedmachine delete --ids {}`",
                join.machine
            ),
        ),
        Some(12 | 41) => Failure::new(
            Exit::Denied,
            message,
            "see that azure.servicePrincipal, its secret and azure.tenantId belong together, or `sudo az login` again",
        ),
        Some(18) => Failure::new(Exit::Local, message, "run as root"),
        Some(141) => Failure::new(
            Exit::Local,
            message,
            "this is an Azure VM, where the Arc agent refuses to work; for tests see \"Evaluate Azure Arc-enabled \
             servers on an Azure virtual machine\"",
        ),
        // Named by ARM in its body; what azcmagent passes on is text.
        _ if has("LocationNotAvailableForResourceType")
            || has("InvalidResourceLocation")
            || has("LocationRequired") =>
        {
            Failure::new(Exit::BadConfig, message, "set azure.arc.location to a region with Azure Arc-enabled servers")
        }
        _ if has("ResourceGroupNotFound") => {
            let hint = format!(
                "`az group create -n {} -l REGION`, or correct azure.arc.resourceGroup",
                join.machine.resource_group
            );
            Failure::new(Exit::BadConfig, message, hint)
        }
        _ => Failure::new(
            Exit::Transient,
            message,
            "`azcmagent check` tells which endpoint it cannot reach; /var/opt/azcmagent/log/azcmagent.log has more",
        ),
    }
}

/// The number of the first `AZCM<number>` that it said.
fn code(said: &Said) -> Option<u32> {
    let text = format!("{}\n{}", said.stderr, said.stdout);
    let (_, after) = text.split_once("AZCM")?;
    after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

/// What `azcmagent show -j` says, as far as it is of interest. Its further members vary with its version.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Shown {
    status: String,
    resource_name: String,
    #[serde(alias = "resourceGroupName")]
    resource_group: String,
    subscription_id: String,
    tenant_id: String,
}

impl Shown {
    fn is_connected(&self) -> bool {
        self.status.eq_ignore_ascii_case("Connected")
    }

    /// The resource it is registered as; Disconnected may also mean that it cannot reach Azure right now.
    fn registered_as(&self) -> Option<String> {
        let Self { resource_name, resource_group, subscription_id, .. } = self;
        (!resource_name.is_empty()).then(|| {
            format!(
                "/subscriptions/{subscription_id}/resourceGroups/{resource_group}/providers/Microsoft.HybridCompute/machines/{resource_name}"
            )
        })
    }

    /// Refuses a registration as another resource or in another tenant: what it belongs to is not ours to undo.
    fn check(&self, join: &Join<'_>) -> Result<()> {
        let found = self.registered_as().unwrap_or_default();
        let wanted = join.machine.to_string();
        let tenant = join.settings.tenant.to_string();
        // A tenant may be configured by its domain, which the agent does not show.
        let same_tenant =
            self.tenant_id.is_empty() || tenant.contains('.') || self.tenant_id.eq_ignore_ascii_case(&tenant);
        if found.eq_ignore_ascii_case(&wanted) && same_tenant {
            return Ok(());
        }
        let (is, should) = if same_tenant {
            (found, wanted)
        } else {
            (format!("{found} in tenant {}", self.tenant_id), format!("{wanted} in tenant {tenant}"))
        };
        let message = format!("this machine is registered with Azure Arc as {is}, and the config says {should}");
        let hint = "if the config is right, `azcmagent disconnect` and try again; otherwise correct azure.arc and azure.tenantId";
        Err(Failure::new(Exit::BadConfig, message, hint).into())
    }
}

async fn show(join: &Join<'_>) -> Result<Shown> {
    let said = run(join, &["show", "-j"], QUICK).await?;
    // Whatever its status: versions differ in what they return for a machine that is not connected.
    serde_json::from_str(said.stdout.trim()).map_err(|_| {
        let message = format!("`azcmagent show -j` answers no JSON: {}", said.summary());
        Failure::new(Exit::Transient, message, "`systemctl restart himdsd`, then `azcmagent show`").into()
    })
}

async fn run(join: &Join<'_>, arguments: &[&str], longest: Duration) -> Result<Said> {
    join.host.commands.run("azcmagent", arguments, join.host.pace.of(longest).max(Duration::from_secs(20))).await
}

/// Waits until Azure shows the identity, which lags behind the machine.
async fn identity(join: &Join<'_>) -> Result<String> {
    let ask = async || match join.arm.machine_identity(Caller::Operator(&join.operator), &join.machine).await {
        Ok(Some(principal)) => Ok(principal),
        Ok(None) => Err(HttpError::Pending(format!("Azure does not show the identity of {} yet", join.machine))),
        Err(error) if error.has_code("ResourceNotFound") => {
            Err(HttpError::Pending(format!("Azure does not know {} yet", join.machine)))
        }
        Err(error) => Err(error),
    };
    let found = join.ask(Step::Arc, Schedule::until(DEADLINE), ask, HttpError::verdict).await;
    found.map_err(HttpError::into_failure).context("waiting for the machine's identity")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Said {
        Said { success: false, status: Some(1), stdout: String::new(), stderr: text.to_owned() }
    }

    #[test]
    fn the_code_is_the_first_number_after_azcm() {
        assert_eq!(code(&said("level=fatal msg=\"AZCM0044: resource exists\"")), Some(44));
        assert_eq!(code(&said("AZCM: odd")), None);
        assert_eq!(code(&said("")), None);
    }

    #[test]
    fn an_agent_that_is_not_registered_shows_no_resource() {
        let shown: Shown =
            serde_json::from_str(r#"{"status":"Disconnected","resourceName":"","agentVersion":"1.40"}"#).unwrap();
        assert_eq!((shown.registered_as(), shown.is_connected()), (None, false));
    }
}
