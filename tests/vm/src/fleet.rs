//! A fleet: many agents in one process, all as one operator, before an Azure that throttles them.
//!
//! Each agent is the product's own library on a machine with a root, an Arc agent and a HIMDS of its own. The Arc
//! agent's stand-in, `systemctl` and `kubelet --version` are processes, as on a node. Left out, for the sake of one
//! machine that plays a thousand: rendered configuration and `token.sh` (the kubelets of all machines live here and ask
//! HIMDS themselves), `state.json` and the journal.

mod kubelet;
mod machine;
mod report;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use flexnode_firstboot::retry::Pace;
use futures_util::future;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::kubelet::Kubelets;
use self::machine::{Machine, Programs};
use crate::azcmagent::Place;
use crate::azure::{Clock, Emulator, Recorded, Throttle, contoso};

pub use self::report::Report;

/// Agents that power on together.
#[derive(Debug, Clone, Copy)]
pub struct Fleet {
    /// How many.
    pub agents: usize,
    /// ARM's token buckets.
    pub throttle: Throttle,
    /// How much faster than real time passes, for the emulator and for the agents.
    pub speed: f64,
}

/// What became of them.
#[derive(Debug)]
pub struct Ended {
    /// Agents that joined.
    pub joined: usize,
    /// Why the others did not.
    pub failures: Vec<String>,
    /// From the first agent's start to the last one's end, by the emulator's clock.
    pub took: Duration,
    /// Every request.
    pub requests: Vec<Recorded>,
    /// Machines in ARM.
    pub machines: usize,
    /// Role assignments of their identities.
    pub assignments: usize,
    /// Nodes that are ready.
    pub ready: usize,
}

/// The unit's own delay (`--max-start-delay`).
const START_DELAY: Duration = Duration::from_secs(30);

/// Threads that the agents share. More than cores: an agent that writes a file holds up those beside it.
const THREADS: usize = 8;

impl Fleet {
    /// As fast as a machine with two cores can play a thousand agents in a debug build, and still wait for Azure
    /// rather than for itself.
    pub const SPEED: f64 = 4.0;

    /// Lets all agents join, after one alone has shown what a join needs; `program` is a flexnode-vm, and `tell` hears
    /// how many have joined.
    ///
    /// # Errors
    /// As for [`Fleet::join`].
    pub fn report(&self, program: &Path, tell: &(dyn Fn(usize) + Sync)) -> Result<Report> {
        let dir = tempfile::tempdir().context("create a temporary directory")?;
        let alone = Self { agents: 1, throttle: Throttle::none(), speed: 50.0 };
        let alone = alone.join(program, dir.path(), &|_| {})?;
        ensure!(alone.joined == 1, "one agent alone does not join: {}", alone.failures.join(""));
        let dir = tempfile::tempdir().context("create a temporary directory")?;
        Ok(Report::new(self, self.join(program, dir.path(), tell)?, &alone))
    }

    /// Lets all agents join, in `dir`; `program` is a flexnode-vm, and `tell` hears how many have.
    ///
    /// # Errors
    /// The machine has no room for so many. An agent that fails is no error: see [`Ended::failures`].
    pub fn join(&self, program: &Path, dir: &Path, tell: &(dyn Fn(usize) + Sync)) -> Result<Ended> {
        allow_files(self.agents)?;
        let dir = dir.canonicalize().with_context(|| format!("find `{}`", dir.display()))?;
        let world = contoso::world().throttle(self.throttle).clock(Clock::running(self.speed));
        let azure = Emulator::start(world)?;
        let ca = dir.join("ca.pem");
        fs::write(&ca, azure.ca_pem()).context("write the CA")?;
        Place::at(&dir).point_to(&azure)?;
        let pace = Pace::new(1.0 / self.speed).context("choose a positive speed, at least a thousandth")?;
        let programs = Programs::install(&dir, program)?;
        let machines: Vec<Machine> =
            (0..self.agents).map(|nth| Machine::prepare(&dir, nth, &azure, &programs, pace)).collect::<Result<_>>()?;
        let kubelets = Kubelets::start(&programs.started, &machines, &azure, pace)?;
        let now = || azure.with_clock(Clock::now);
        let start = now();
        let failures = join_all(&machines, tell)?;
        let took = now().saturating_sub(start);
        drop(kubelets);
        let registered = azure.machines();
        let assignments = registered.iter().map(|machine| azure.assignments(&machine.principal_id).len()).sum();
        let nodes = azure.nodes(&contoso::cluster_id());
        Ok(Ended {
            joined: self.agents - failures.len(),
            failures,
            took,
            requests: azure.requests(),
            machines: registered.len(),
            assignments,
            ready: nodes.iter().filter(|node| kubelet::is_ready(node)).count(),
        })
    }
}

/// The failures.
fn join_all(machines: &[Machine], tell: &(dyn Fn(usize) + Sync)) -> Result<Vec<String>> {
    let joined = AtomicUsize::new(0);
    let one = async |machine: &Machine| {
        let outcome = machine.join().await;
        if outcome.is_ok() {
            tell(joined.fetch_add(1, Ordering::Relaxed) + 1);
        }
        outcome.err().map(|error| format!("{}: {error:#}", machine.name))
    };
    let some = |machines: &[Machine]| -> Result<Vec<String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a thread")?;
        Ok(runtime.block_on(future::join_all(machines.iter().map(one))).into_iter().flatten().collect())
    };
    thread::scope(|scope| {
        let parts = machines.chunks(machines.len().div_ceil(THREADS).max(1));
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || some(part))).collect();
        let mut failures = Vec::new();
        for thread in threads {
            failures.extend(thread.join().map_err(|_| anyhow!("an agent panicked"))??);
        }
        Ok(failures)
    })
}

/// Both ends of every connection are in this process, and idle ones are kept.
fn allow_files(agents: usize) -> Result<()> {
    let needed = 200 + 16 * agents as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum });
    ensure!(raised.is_ok(), "{agents} agents need {needed} open files, and this user may not have them (ulimit -Hn)");
    Ok(())
}
