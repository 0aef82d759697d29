//! The kubelet's stand-in at work: what a kubelet does that its cluster, its container runtime and systemd can see. It
//! reads its flags, its configuration and its kubeconfig as the real one of its minor does, looks at its machine, signs in
//! through the exec plugin, registers its Node, keeps its lease, runs static pods, and is ready when the container runtime
//! and its network are.

mod client;
mod config;
mod duration;
mod flags;
mod host;
mod label;
mod mirror;
mod node;
mod notify;
mod pods;
mod runtime;
mod taint;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use semver::Version;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use self::client::Client;
use self::config::Config;
use self::flags::Flags;
use self::node::Facts;
use self::pods::{PodState, Pods};
use self::runtime::Judged;
use crate::standin;

/// Runs until it is told to end; its containers go on without it. What is wrong with its flags, its files, its machine or
/// its runtime ends it with status 1, as it ends the real one; what is wrong with the cluster is tried again.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    eprintln!("I this is a stand-in of the Flexnode lab, not the real kubelet");
    match started(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("E \"command failed\" err={:?}", format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn started(arguments: &[String]) -> Result<()> {
    let version = standin::version();
    let minor = version.parse::<Version>().context("read this program's version")?.minor;
    let flags = Flags::read(arguments, minor)?;
    let config = Config::read(&flags, minor)?;
    let mut facts = Facts::read(&flags, &config, &version)?;
    host::check(Path::new("/"), &config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    runtime.block_on(async {
        let client = Client::of_kubeconfig(Path::new(flags.text("kubeconfig")))?;
        let judged = Judged::connect(&config.runtime).await?;
        let mut end = signal(SignalKind::terminate()).context("wait for signals")?;
        facts.runtime.clone_from(&judged.version);
        let driver = judged.cgroup_driver(&config.cgroup_driver, minor).await;
        let pods = Pods::new(judged.runtime.clone(), config, facts.name.clone(), driver);
        let (tell, told) = watch::channel(Vec::new());
        let node = facts.name.clone();
        notify::ready();
        // Pods take their time to start and must not hold up the lease.
        tokio::select! {
            () = post(&client, facts, judged) => {}
            () = keep(pods, &tell) => {}
            () = show(&client, &node, told) => {}
            () = notify::live(minor) => {}
            _ = end.recv() => eprintln!("I ends, as it was told to; containers go on"),
        }
        Ok(())
    })
}

/// How often runtime, manifests and pods are looked at.
const PAUSE: Duration = Duration::from_millis(500);

/// How often the Node's state is told while it stays the same; the default of `nodeStatusUpdateFrequency`.
const EVERY: Duration = Duration::from_secs(10);

async fn post(client: &Client, facts: Facts, mut judged: Judged) {
    let mut posted: Option<(Instant, Option<String>)> = None;
    let mut complained = String::new();
    loop {
        let trouble = judged.trouble().await;
        let is_news = posted.as_ref().is_none_or(|(when, said)| *said != trouble || when.elapsed() >= EVERY);
        if is_news {
            match node::report(client, &facts, trouble.as_deref()).await {
                Ok(()) => {
                    if posted.as_ref().is_none_or(|(_, said)| *said != trouble) {
                        eprintln!("I {}: {}", facts.name, trouble.as_deref().unwrap_or("ready"));
                    }
                    posted = Some((Instant::now(), trouble));
                    complained.clear();
                }
                Err(error) => complain(&mut complained, &format!("{error:#}")),
            }
        }
        sleep(PAUSE).await;
    }
}

async fn keep(mut pods: Pods, tell: &watch::Sender<Vec<PodState>>) {
    let mut complained = String::new();
    loop {
        match pods.sync().await {
            Ok(states) => {
                complained.clear();
                tell.send_if_modified(|before| std::mem::replace(before, states.clone()) != states);
            }
            Err(error) => complain(&mut complained, &format!("{error:#}")),
        }
        sleep(PAUSE).await;
    }
}

/// Shows the API server how the pods are, whenever that changes.
async fn show(client: &Client, node: &str, mut told: watch::Receiver<Vec<PodState>>) {
    let mut shown: Vec<PodState> = Vec::new();
    let mut complained = String::new();
    loop {
        let states = told.borrow_and_update().clone();
        match mirror::report(client, node, &shown, &states).await {
            Ok(()) => {
                shown = states;
                complained.clear();
                if told.changed().await.is_err() {
                    return;
                }
            }
            Err(error) => {
                complain(&mut complained, &format!("{error:#}"));
                sleep(PAUSE).await;
            }
        }
    }
}

/// Says what is wrong, once as long as it is the same.
fn complain(before: &mut String, wrong: &str) {
    if before != wrong {
        eprintln!("E {wrong}");
        wrong.clone_into(before);
    }
}
