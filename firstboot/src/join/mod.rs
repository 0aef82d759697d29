//! The join: config → Arc registration → roles → kubeconfig → services → Node ready → marker.

mod farewell;
mod past;
mod shared;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};

use self::farewell::say_farewell;
use self::past::forget_what_is_not_ours;
pub(crate) use self::shared::Join;
use crate::arm::Caller;
use crate::config::Loaded;
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::http::HttpError;
use crate::marker::Past;
use crate::progress::Progress;
use crate::retry::{Schedule, Verdict, retry};
use crate::state::Step;
use crate::{arc, atomic, kubeconfig, paths, review, roles, services};

/// How a join ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Something was done.
    Joined,
    /// The node had joined; nothing was changed.
    Settled,
}

/// Joins `host` to the cluster of `config`, or continues where an earlier run was cut off.
///
/// Each step looks at the world first. Dropping the future ends the join cleanly: programs it runs are killed, the
/// file with a secret is removed. On a node that has joined with this config it makes three read requests (two to the
/// Arc agent on this machine, one to Azure), changes nothing and restarts nothing.
///
/// # Errors
/// A [`Failure`] with exit code and cure.
pub async fn join(host: &Host, config: &Loaded, progress: &Progress) -> Result<Outcome> {
    let machine_id = host.machine_id()?;
    atomic::directory(&host.path(paths::STATE_DIRECTORY), 0o700)?;
    let _lock = lock(host)?;
    arc::forget_connect_file(host)?;
    let past = Past::read(host, &machine_id)?;
    let known = past.matching(&config.digest);
    let join = Join::begin(host, &config.settings, progress, known).await?;

    if let Some(marker) = known
        && is_settled(&join, &machine_id).await?
    {
        say_farewell(&join, marker)?;
        progress.settled(&join.node);
        return Ok(Outcome::Settled);
    }
    forget_what_is_not_ours(&join, &past, &machine_id).await?;
    if let Past::Own(marker) = &past {
        marker.reopen(host)?;
    }
    let granted = match known {
        Some(marker) if arc::is_registered(&join).await? => Some(marker.principal.clone()),
        _ => None,
    };

    progress.begin(Step::Arc);
    let cluster = join.cluster(granted.is_some()).await?;
    let principal = match &granted {
        Some(principal) => principal.clone(),
        None => arc::register(&join, &cluster).await?,
    };
    progress.done(Step::Arc);

    progress.begin(Step::Roles);
    if granted.is_none() {
        roles::assign(&join, &principal).await?;
    }
    progress.done(Step::Roles);

    progress.begin(Step::Kubeconfig);
    let server = kubeconfig::fetch(&join).await?;
    let api = join.api(&server)?;
    review::version(&join, &api, &cluster).await?;
    review::access(&join, &api, &cluster, &principal).await?;
    kubeconfig::install(&join, &server)?;
    progress.done(Step::Kubeconfig);

    progress.begin(Step::Services);
    services::start(&join, &cluster, &machine_id).await?;
    services::wait_until_ready(&join, &api, &machine_id).await?;
    progress.done(Step::Services);

    say_farewell(&join, &join.marker(machine_id, config.digest.clone(), principal))?;
    progress.joined(&join.node);
    Ok(Outcome::Joined)
}

/// One join at a time: the unit's and one by hand would undo each other's files. A killed process loses its lock.
fn lock(host: &Host) -> Result<File> {
    let path = host.path(paths::LOCK);
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = open.with_context(|| format!("opening {}", path.display()))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Failure::new(
            Exit::Transient,
            "another flexnode-firstboot is at work",
            "`flexnode-firstboot status` shows how far it is",
        )
    })?;
    Ok(file)
}

/// Whether a join that was finished still holds. A network that is down does not undo it.
async fn is_settled(join: &Join<'_>, machine_id: &str) -> Result<bool> {
    if !services::are_running(join, machine_id).await? || !arc::is_registered(join).await? {
        return Ok(false);
    }
    let machine = Caller::Machine(&join.himds, &join.audience);
    let ask = async || kubeconfig::ask(join, machine).await;
    let briefly = Schedule::until(Duration::from_secs(30));
    match retry(briefly, join.host.pace, ask, HttpError::verdict, |_| {}).await {
        Ok(server) => kubeconfig::is_installed(join, &server),
        Err(error) if error.verdict() != Verdict::Final => {
            join.progress.warn(&format!("the cluster's CA cannot be compared: {error}"));
            Ok(true)
        }
        // Denied: a role is gone. The steps put it back.
        Err(_) => Ok(false),
    }
}
