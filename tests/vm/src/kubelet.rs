//! The kubelet's stand-in at work: what a kubelet does that a cluster can see. It reads its flags, its configuration and
//! its kubeconfig, signs in through the exec plugin, registers its Node, keeps its lease, and is ready when the container
//! runtime answers and a network is configured. It runs no pods.

mod client;
mod flags;
mod node;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};

use self::client::Client;
use self::flags::Flags;
use self::node::Facts;

/// Runs until it is killed. What is wrong with its flags or files ends it, as it ends the real one; what is wrong with
/// the cluster is tried again.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let started = Flags::read(arguments).and_then(|flags| {
        let facts = Facts::read(&flags)?;
        Ok((flags, facts))
    });
    let Err(error) = started.and_then(|(flags, facts)| serve(&flags, &facts)) else { return ExitCode::SUCCESS };
    eprintln!("E command failed: {error:#}");
    ExitCode::FAILURE
}

/// The real one says how it is every ten seconds, and sooner when that changes.
const PAUSE: Duration = Duration::from_millis(500);

fn serve(flags: &Flags, facts: &Facts) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    runtime.block_on(async {
        let client = Client::of_kubeconfig(&flags.kubeconfig)?;
        eprintln!("I this is a stand-in of the Flexnode lab, not the real kubelet");
        let mut told = String::new();
        loop {
            let state = match node::report(&client, facts).await {
                Ok(condition) => condition,
                Err(error) => format!("{error:#}"),
            };
            if state != told {
                eprintln!("I {}: {state}", facts.name);
                told = state;
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
}
