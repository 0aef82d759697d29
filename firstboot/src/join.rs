//! The join: config → Arc registration → roles → kubeconfig → services → Node ready → marker.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};

use crate::api_server::Api;
use crate::arm::{Arm, Caller, Cluster, MachineId};
use crate::cloud::Authority;
use crate::config::{Loaded, Operator, SecretSource, Settings};
use crate::credential::Credential;
use crate::failure::{Exit, Failure};
use crate::himds::Himds;
use crate::host::Host;
use crate::http::{HttpError, Network};
use crate::kubeconfig::ApiServer;
use crate::marker::{Marker, Past};
use crate::progress::Progress;
use crate::retry::{Pause, Schedule, Verdict, retry};
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

/// What all steps share.
pub(crate) struct Join<'a> {
    pub(crate) host: &'a Host,
    pub(crate) settings: &'a Settings,
    pub(crate) progress: &'a Progress,
    /// Name of the Node.
    pub(crate) node: String,
    /// The machine's resource in Azure Arc.
    pub(crate) machine: MachineId,
    pub(crate) network: Network,
    pub(crate) arm: Arm,
    pub(crate) operator: Credential,
    pub(crate) himds: Himds,
    /// Of tokens for Azure Resource Manager.
    pub(crate) audience: String,
    /// Whether this run has restarted himdsd.
    pub(crate) himdsd_restarted: AtomicBool,
    authority: Authority,
}

impl<'a> Join<'a> {
    async fn begin(
        host: &'a Host,
        settings: &'a Settings,
        progress: &'a Progress,
        known: Option<&Marker>,
    ) -> Result<Self> {
        let node = host.node_name(settings.node.name.as_ref())?;
        let name = settings.arc.name.clone().unwrap_or_else(|| node.clone());
        if name.len() > 54 {
            let message = format!("the node's name {name} is too long for Azure Arc, which takes 54 characters");
            return Err(Failure::new(Exit::BadConfig, message, "set azure.arc.machineName").into());
        }
        let machine = MachineId {
            subscription: settings.cluster.subscription.clone(),
            resource_group: settings.arc.resource_group.clone(),
            name,
        };
        let network = Network::new(settings.proxy.clone(), host.pace);
        let client = network.azure(settings.ca_cert_file.as_deref())?;
        let authority = match known {
            Some(marker) => marker.authority.clone(),
            None => {
                spread(host, progress).await;
                let find = async || Authority::find(settings, &client).await;
                let tell = |pause: Pause<'_, HttpError>| {
                    progress.retrying(Step::Arc, pause.attempt, &pause.error.to_string(), pause.length);
                };
                retry(Schedule::until(PATIENCE), host.pace, find, HttpError::verdict, tell)
                    .await
                    .map_err(HttpError::into_failure)?
            }
        };
        Ok(Self {
            host,
            settings,
            progress,
            node,
            machine,
            arm: Arm::new(client.clone(), settings.resource_manager.to_string()),
            operator: Credential::new(settings.operator.clone(), host, client, authority.clone()),
            himds: Himds::new(network.loopback()?, &host.himds, &host.himds_tokens),
            network,
            audience: authority.audience.clone(),
            himdsd_restarted: AtomicBool::new(false),
            authority,
        })
    }

    /// What Azure says of the cluster: asked as the operator, which proves the credential before anything is changed,
    /// or as the machine, whose role lets it, where the operator's secret may be gone.
    async fn cluster(&self, as_machine: bool) -> Result<Cluster> {
        let caller =
            if as_machine { Caller::Machine(&self.himds, &self.audience) } else { Caller::Operator(&self.operator) };
        let ask = async || self.arm.cluster(caller, &self.settings.cluster).await;
        let found = self.ask(Step::Arc, Schedule::until(PATIENCE), ask, HttpError::verdict).await;
        found.map_err(|error| {
            if error.has_code("AuthorizationFailed") {
                let line = format!(
                    "az role assignment create --assignee {} --role \"Role Based Access Control Administrator\" --scope \
                     \"{}\"",
                    self.operator_for_az(),
                    self.settings.cluster
                );
                return error.cured_by(line).into();
            }
            error.into_failure().into()
        })
    }

    fn api<'s>(&'s self, server: &'s ApiServer) -> Result<Api<'s>> {
        Ok(Api { client: self.network.cluster(&server.authority)?, server: &server.server, himds: &self.himds })
    }

    fn marker(&self, machine_id: String, config: String, principal: String) -> Marker {
        Marker {
            version: 1,
            machine_id,
            config,
            cluster: self.settings.cluster.to_string(),
            machine: self.machine.to_string(),
            principal,
            authority: self.authority.clone(),
        }
    }

    /// The operator as `az role assignment create --assignee` takes it.
    pub(crate) fn operator_for_az(&self) -> String {
        match self.operator.operator() {
            Operator::AzureCli => "$(az ad signed-in-user show --query id -o tsv)".to_owned(),
            Operator::ServicePrincipal(principal) => principal.client_id.to_string(),
        }
    }

    /// The one retry, for requests.
    pub(crate) async fn ask<T>(
        &self,
        step: Step,
        schedule: Schedule,
        attempt: impl AsyncFnMut() -> Result<T, HttpError>,
        judge: impl Fn(&HttpError) -> Verdict,
    ) -> Result<T, HttpError> {
        let tell = |pause: Pause<'_, HttpError>| {
            self.progress.retrying(step, pause.attempt, &pause.error.to_string(), pause.length);
        };
        retry(schedule, self.host.pace, attempt, judge, tell).await
    }

    /// The one retry, for what ends in a [`Failure`]: tries again what is transient.
    pub(crate) async fn retry<T>(
        &self,
        step: Step,
        schedule: Schedule,
        attempt: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        let verdict = |error: &anyhow::Error| match Failure::describe(error).0 {
            Exit::Transient => Verdict::Again(None),
            _ => Verdict::Final,
        };
        let tell = |pause: Pause<'_, anyhow::Error>| {
            self.progress.retrying(step, pause.attempt, &format!("{:#}", pause.error), pause.length);
        };
        retry(schedule, self.host.pace, attempt, verdict, tell).await
    }
}

const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// A thousand machines powered on together do not ask in the same second.
async fn spread(host: &Host, progress: &Progress) {
    let delay = host.pace.of(host.max_start_delay.mul_f64(crate::retry::random()));
    if delay > Duration::from_millis(1) {
        progress.status(&format!("starts in {:.0} s", delay.as_secs_f64()));
        tokio::time::sleep(delay).await;
    }
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

/// On a clone, what belongs to the machine it was cloned from. A join of this machine with another cluster is refused:
/// leaving that one is not ours to decide.
async fn forget_what_is_not_ours(join: &Join<'_>, past: &Past, machine_id: &str) -> Result<()> {
    match past {
        Past::None => Ok(()),
        Past::Own(marker) => {
            let wanted = join.settings.cluster.to_string();
            if marker.cluster.eq_ignore_ascii_case(&wanted) {
                return Ok(());
            }
            let message = format!("this machine has joined {}, and the config says {wanted}", marker.cluster);
            let hint = format!(
                "to move it: `kubectl delete node {}` there, then here `azcmagent disconnect` and `rm {}.{machine_id}`",
                join.node,
                paths::MARKER
            );
            Err(Failure::new(Exit::BadConfig, message, hint).into())
        }
        Past::CloneOf(parents) => {
            join.progress.warn("this disk is a clone of a machine that has joined; it joins as a machine of its own");
            services::stop_kubelet(join).await?;
            for parent in parents {
                arc::forget(join, &parent.machine).await?;
            }
            atomic::remove(&join.host.path(paths::KUBECONFIG))?;
            remove_kubelet_certificates(join)?;
            // Last: until here a run after a crash still knows that it is on a clone.
            Past::forget_parents(join.host, machine_id)
        }
    }
}

fn remove_kubelet_certificates(join: &Join<'_>) -> Result<()> {
    let directory = join.host.path(paths::KUBELET_PKI);
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", directory.display())),
    };
    for entry in entries {
        let path = entry.with_context(|| format!("reading {}", directory.display()))?.path();
        std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    // Before the parent's marker goes: after a power cut nobody would look for them again.
    atomic::sync_directory(&directory)
}

/// The secret goes before the marker that lets the unit be skipped, and the farewell marker before the secret: at no
/// point does a crash leave a secret that nobody removes, or a node that needs one that is gone. Before either, what
/// other programs wrote (units enabled, the Arc agent's state) is put on the disk: the marker says that it is there.
fn say_farewell(join: &Join<'_>, marker: &Marker) -> Result<()> {
    let secret = match &join.settings.operator {
        Operator::ServicePrincipal(principal) => match &principal.secret {
            SecretSource::File { path, remove_after_join: true } => Some(path.as_path()),
            _ => None,
        },
        Operator::AzureCli => None,
    };
    let joined = marker.is_joined(join.host)?;
    if !joined {
        atomic::sync_file_systems_of(&["/etc", "/var/lib"].map(|directory| join.host.path(directory)))?;
        marker.write_farewell(join.host)?;
    }
    if let Some(secret) = secret.filter(|secret| secret.exists()) {
        atomic::remove(secret).context("removing the client secret (removeSecretAfterJoin)")?;
    }
    if joined { Ok(()) } else { marker.write_joined(join.host) }
}
