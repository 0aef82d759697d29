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
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use flexnode_firstboot::retry::Pace;
use futures_util::future;
use rustix::fs::statvfs;
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
    /// How much faster than real time passes, for the emulator and for the agents; as fast as this machine can play
    /// them, if it is not said.
    pub speed: Option<f64>,
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

/// A smaller fleet that nobody throttles, which tells what a join needs of Azure and of this machine.
const TRIAL: usize = 40;

/// The unit's own delay (`--max-start-delay`).
const START_DELAY: Duration = Duration::from_secs(30);

/// Threads that the agents share. More than cores: an agent that writes a file holds up those beside it.
const THREADS: usize = 8;

impl Fleet {
    /// Lets all agents join, after a trial; `program` is a flexnode-vm, and `tell` hears how many have joined.
    ///
    /// # Errors
    /// The machine has no room for so many. An agent that fails is no error: see [`Ended::failures`].
    pub fn report(&self, program: &Path, tell: &(dyn Fn(usize) + Sync)) -> Result<Report> {
        let begun = Instant::now();
        let trial = Self { agents: TRIAL, throttle: Throttle::none(), speed: None };
        let trial = trial.join(program, 20.0, Duration::ZERO, &|_| {})?;
        let played = begun.elapsed();
        ensure!(trial.joined == TRIAL, "agents do not join even unthrottled: {}", trial.failures.join("; "));
        let speed = self.speed.unwrap_or_else(|| self.playable(played / TRIAL as u32, &trial));
        let ended = self.join(program, speed, START_DELAY, tell)?;
        Ok(Report::new(self, speed, ended, &trial))
    }

    /// So fast that the buckets, not this machine, keep the agents waiting: it could play twice as many as are served.
    fn playable(&self, one: Duration, trial: &Ended) -> f64 {
        let slower = report::needs(self, trial).into_iter().map(|need| need.served()).fold(f64::INFINITY, f64::min);
        (1.0 / (2.0 * one.as_secs_f64() * slower)).clamp(1.0, 10.0)
    }

    fn join(&self, program: &Path, speed: f64, delay: Duration, tell: &(dyn Fn(usize) + Sync)) -> Result<Ended> {
        allow_files(self.agents)?;
        let programs = Programs::install(program)?;
        let room = tempfile::tempdir_in(room(self.agents)).context("create a temporary directory")?;
        let dir = room.path();
        let world = contoso::world().throttle(self.throttle).clock(Clock::running(speed));
        let azure = Emulator::start(world)?;
        let ca = dir.join("ca.pem");
        fs::write(&ca, azure.ca_pem()).context("write the CA")?;
        Place::at(dir).point_to(&azure)?;
        let pace = Pace::new(1.0 / speed).context("choose a positive speed, at least a thousandth")?;
        let prepare = |nth| Machine::prepare(dir, nth, &azure, &programs, (pace, delay));
        let machines: Vec<Machine> = (0..self.agents).map(prepare).collect::<Result<_>>()?;
        let kubelets = Kubelets::start(&programs.started(), &machines, &azure, pace)?;
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

/// Where the machines' files go: into memory if there is room, as a thousand machines do not share one disk.
fn room(agents: usize) -> PathBuf {
    const MEMORY: &str = "/dev/shm";
    let free = statvfs(MEMORY).map_or(0, |memory| memory.f_bavail.saturating_mul(memory.f_frsize));
    if free > 100_000 * agents as u64 { MEMORY.into() } else { std::env::temp_dir() }
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
