//! Registration with Azure Arc: the package, the connection, the identity that Azure shows.

mod connect;
mod package;
mod refusal;
mod shown;

use std::time::Duration;

use anyhow::{Context as _, Result};

pub(crate) use self::connect::forget_connect_file;
use self::shown::show;
use crate::arm::{Caller, Cluster};
use crate::command::Said;
use crate::failure::{Exit, Failure};
use crate::http::HttpError;
use crate::join::Join;
use crate::retry::Schedule;
use crate::state::Step;

const DEADLINE: Duration = Duration::from_secs(15 * 60);
/// `azcmagent connect` waits for Azure itself.
const CONNECT: Duration = Duration::from_secs(5 * 60);
const QUICK: Duration = Duration::from_secs(60);

/// Installs and connects what is not yet; the object id of the machine's identity.
///
/// # Errors
/// When the machine is registered as something else, or cannot be registered.
pub(crate) async fn register(join: &Join<'_>, cluster: &Cluster) -> Result<String> {
    package::install(join).await?;
    // azcmagent does not say when Azure wants it back, and each of its attempts is several requests.
    let schedule = Schedule { first: Duration::from_secs(10), ..Schedule::until(DEADLINE) };
    join.retry(Step::Arc, schedule, async || connect::connect(join, cluster).await).await?;
    identity(join).await
}

/// Whether the agent is registered as this machine's resource. That it says Disconnected undoes nothing: it does so
/// while it cannot reach Azure.
///
/// # Errors
/// When it is registered as another.
pub(crate) async fn is_registered(join: &Join<'_>) -> Result<bool> {
    if !join.host.commands.has("azcmagent") {
        return Ok(false);
    }
    let shown = show(join).await?;
    Ok(shown.registered_as().is_some() && shown.check(join).map(|()| true)?)
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
    let failure = |error: HttpError| match error {
        // Waiting longer is of no use if somebody has deleted it there; this machine cannot know.
        HttpError::Pending(message) => {
            let hint = format!(
                "see `az connectedmachine show --ids {}`; if it is gone, `azcmagent disconnect --force-local-only` here, \
                 and it registers anew",
                join.machine
            );
            Failure::new(Exit::Transient, message, hint)
        }
        error => error.into_failure(),
    };
    found.map_err(failure).context("waiting for the machine's identity")
}

async fn run(join: &Join<'_>, arguments: &[&str], longest: Duration) -> Result<Said> {
    join.host.commands.run("azcmagent", arguments, join.host.pace.of(longest).max(Duration::from_secs(20))).await
}
