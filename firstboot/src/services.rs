//! containerd and the kubelet: this machine's values, enabled and running, the Node ready.
//!
//! Per-machine values are flags in `kubelet.env`, also those that the kubelet calls deprecated (`--cluster-dns`,
//! `--max-pods`, `--register-with-taints`; accepted by all minors that bundles are built for). The other ways are
//! worse: the drop-in directory of `--config-dir` is beta from 1.30 on and absent before, and rewriting the bundle's
//! `config.yaml` would make it differ from its digest in `bundle.json` and forget what it said before.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::api_server::{Api, Node};
use crate::arm::Cluster;
use crate::atomic;
use crate::command::Said;
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::http::HttpError;
use crate::join::Join;
use crate::paths;
use crate::retry::Schedule;
use crate::state::Step;

/// The network plugin's own pods have to be pulled and started meanwhile.
const DEADLINE: Duration = Duration::from_secs(10 * 60);
/// The kubelet's start waits for the bundle's images, whose unit gives itself 15 minutes.
const SYSTEMCTL: Duration = Duration::from_secs(16 * 60);

/// Files that the kubelet reads. A change is noted on disk before it is made, so that a run after a crash still knows
/// that a running kubelet has not seen it.
#[derive(Debug)]
pub(crate) struct KubeletFiles<'a>(&'a Host);

impl<'a> KubeletFiles<'a> {
    pub(crate) fn of(host: &'a Host) -> Self {
        Self(host)
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
        let path = self.0.path(path);
        if !atomic::holds(&path, bytes, mode)? {
            atomic::ensure(&self.0.path(paths::RESTART_NOTE), b"", 0o600)?;
            atomic::write(&path, bytes, mode)?;
        }
        Ok(())
    }
}

/// Writes the kubelet's values; enables and starts both units, and restarts the kubelet only if what it reads has
/// changed.
///
/// # Errors
/// When a unit does not start.
pub(crate) async fn start(join: &Join<'_>, cluster: &Cluster, machine_id: &str) -> Result<()> {
    KubeletFiles::of(join.host).put(paths::KUBELET_ENVIRONMENT, environment(join, cluster).as_bytes(), 0o600)?;
    atomic::ensure(&permit(join.host, machine_id), b"", 0o600)?;
    ensure(join, paths::CONTAINERD_UNIT).await?;
    let note = join.host.path(paths::RESTART_NOTE);
    if note.exists() && is(join, "is-active", paths::KUBELET_UNIT).await? {
        join.progress.note(Step::Services, "restarting the kubelet: what it reads has changed");
        act(join, "restart", paths::KUBELET_UNIT).await?;
    }
    ensure(join, paths::KUBELET_UNIT).await?;
    atomic::remove(&note)
}

/// Whether both units are enabled and run with what is on disk.
///
/// # Errors
/// When systemd cannot be asked.
pub(crate) async fn are_running(join: &Join<'_>, machine_id: &str) -> Result<bool> {
    let written = join.host.path(paths::KUBELET_ENVIRONMENT).exists()
        && permit(join.host, machine_id).exists()
        && !join.host.path(paths::RESTART_NOTE).exists();
    for unit in [paths::CONTAINERD_UNIT, paths::KUBELET_UNIT] {
        if !written || !is(join, "is-enabled", unit).await? || !is(join, "is-active", unit).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn permit(host: &Host, machine_id: &str) -> PathBuf {
    host.path(&format!("{}.{machine_id}", paths::KUBELET_PERMIT))
}

/// Stops the kubelet, if it runs.
///
/// # Errors
/// When it does not stop.
pub(crate) async fn stop_kubelet(join: &Join<'_>) -> Result<()> {
    if is(join, "is-active", paths::KUBELET_UNIT).await? {
        act(join, "stop", paths::KUBELET_UNIT).await?;
    }
    Ok(())
}

async fn ensure(join: &Join<'_>, unit: &str) -> Result<()> {
    if !is(join, "is-enabled", unit).await? {
        act(join, "enable", unit).await?;
    }
    if !is(join, "is-active", unit).await? {
        act(join, "start", unit).await?;
    }
    Ok(())
}

async fn is(join: &Join<'_>, question: &str, unit: &str) -> Result<bool> {
    systemctl(join, &[question, "--quiet", unit]).await.map(|said| said.success)
}

async fn act(join: &Join<'_>, verb: &str, unit: &str) -> Result<()> {
    let said = systemctl(join, &[verb, unit]).await?;
    if said.success {
        return Ok(());
    }
    show_last_lines(join, unit).await;
    let message = format!("`systemctl {verb} {unit}`: {}", said.summary());
    let hint = format!("`systemctl status {unit}` and `journalctl -u {unit}` tell why");
    Err(Failure::new(Exit::Transient, message, hint).into())
}

async fn systemctl(join: &Join<'_>, arguments: &[&str]) -> Result<Said> {
    join.host.commands.run("systemctl", arguments, join.host.pace.of(SYSTEMCTL).max(Duration::from_secs(20))).await
}

/// `kubelet.env`: see [`paths::KUBELET_ENVIRONMENT`]. No value can hold a blank, a quote or a dollar: the config's own
/// types refuse them.
fn environment(join: &Join<'_>, cluster: &Cluster) -> String {
    let settings = join.settings;
    let labels = settings.node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
    let mut flags = vec![format!("--hostname-override={}", join.node)];
    flags.extend(settings.node.ip.as_ref().map(|ip| format!("--node-ip={ip}")));
    let taints = settings.node.taints.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    if !taints.is_empty() {
        flags.push(format!("--register-with-taints={taints}"));
    }
    let azure_says = || cluster.dns_service_ip.as_ref().and_then(|ip| ip.parse().ok());
    flags.extend(settings.dns_service_ip.or_else(azure_says).map(|ip| format!("--cluster-dns={ip}")));
    flags.extend(settings.node.max_pods.map(|pods| format!("--max-pods={pods}")));
    let mut lines = vec![
        "# Written by flexnode-firstboot; change /etc/flexnode/config.yaml and run it again.".to_owned(),
        format!("{}={labels}", paths::KUBELET_LABELS_VARIABLE),
        format!("{}={}", paths::KUBELET_ARGS_VARIABLE, flags.join(" ")),
    ];
    let proxy = &settings.proxy;
    lines.extend(proxy.http.as_ref().map(|proxy| format!("HTTP_PROXY={proxy}")));
    lines.extend(proxy.https.as_ref().map(|proxy| format!("HTTPS_PROXY={proxy}")));
    if proxy.http.is_some() || proxy.https.is_some() {
        let mut direct = vec!["localhost".to_owned(), "127.0.0.0/8".to_owned(), "::1".to_owned()];
        direct.extend(proxy.bypass.iter().cloned());
        lines.push(format!("NO_PROXY={}", direct.join(",")));
    }
    lines.join("\n") + "\n"
}

/// Waits until the Node is ready.
///
/// # Errors
/// At the deadline, with the condition that is false and the kubelet's last lines in the journal.
pub(crate) async fn wait_until_ready(join: &Join<'_>, api: &Api<'_>, machine_id: &str) -> Result<()> {
    let ask = async || {
        let node = api.node(&join.node).await?;
        match obstacle(&join.node, node.as_ref(), machine_id) {
            None => Ok(()),
            Some(obstacle) => Err(HttpError::Pending(obstacle)),
        }
    };
    let schedule = Schedule { longest: Duration::from_secs(10), ..Schedule::until(DEADLINE) };
    let Err(error) = join.ask(Step::Services, schedule, ask, HttpError::verdict).await else { return Ok(()) };
    show_last_lines(join, paths::KUBELET_UNIT).await;
    let HttpError::Pending(obstacle) = error else { return Err(error.into_failure().into()) };
    let hint = if obstacle.contains("cni") || obstacle.contains("NetworkPluginNotReady") {
        "the cluster's network plugin is not on this node: see `kubectl get pods -A -o wide` for its DaemonSet and its \
         tolerations, and `ls /etc/cni/net.d`"
            .to_owned()
    } else {
        format!("`journalctl -u kubelet -n 100` and `kubectl describe node {}` tell more", join.node)
    };
    Err(Failure::new(Exit::Transient, obstacle, hint).into())
}

/// What keeps the Node from being ready; `None` if nothing does.
fn obstacle(name: &str, node: Option<&Node>, machine_id: &str) -> Option<String> {
    let Some(node) = node else { return Some(format!("the kubelet has not registered the Node {name} yet")) };
    if !node.machine_id.is_empty() && node.machine_id.replace('-', "") != machine_id {
        return Some(format!("the Node {name} is another machine's (machine-id {})", node.machine_id));
    }
    let ready = node.conditions.iter().find(|condition| condition.r#type == "Ready");
    match ready {
        Some(condition) if condition.status == "True" => None,
        Some(condition) => {
            let (status, reason, message) = (&condition.status, &condition.reason, &condition.message);
            Some(format!("the Node {name} is not ready: Ready is {status} ({reason}): {message}"))
        }
        None => Some(format!("the Node {name} reports no condition Ready yet")),
    }
}

async fn show_last_lines(join: &Join<'_>, unit: &str) {
    let arguments = ["--unit", unit, "--lines", "15", "--output", "cat", "--no-pager"];
    let said = join.host.commands.run("journalctl", &arguments, Duration::from_secs(20)).await;
    match said.context("reading the journal") {
        Ok(said) => said.stdout.lines().for_each(|line| join.progress.warn(&format!("{unit}: {line}"))),
        Err(error) => join.progress.warn(&format!("{unit}: {error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_server::Condition;

    fn node(status: &str, machine_id: &str) -> Node {
        let condition = Condition {
            r#type: "Ready".into(),
            status: status.into(),
            reason: "KubeletNotReady".into(),
            message: "cni plugin not initialized".into(),
        };
        Node { conditions: vec![condition], machine_id: machine_id.into() }
    }

    #[test]
    fn a_node_that_is_not_ready_says_why() {
        let why = |node: Option<Node>| obstacle("n", node.as_ref(), "aa");
        assert_eq!(why(Some(node("True", "aa"))), None);
        assert_eq!(why(Some(node("True", ""))), None);
        assert!(why(Some(node("False", "aa"))).unwrap().contains("cni plugin not initialized"));
        assert!(why(Some(node("Unknown", "aa"))).is_some());
        assert!(why(None).unwrap().contains("not registered"));
        assert!(why(Some(Node { conditions: vec![], machine_id: String::new() })).is_some());
    }

    #[test]
    fn the_node_of_another_machine_is_not_taken_for_ours() {
        assert!(obstacle("n", Some(&node("True", "bb")), "aa").unwrap().contains("another machine"));
    }
}
