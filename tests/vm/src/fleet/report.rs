//! What a fleet cost Azure, and how close it came to what the token buckets allow.

use std::fmt;

use super::{Ended, Fleet};
use crate::azure::{Bucket, Operation, Recorded, Service, contoso};

/// The figures of a fleet.
#[derive(Debug)]
pub struct Report {
    fleet: Fleet,
    speed: f64,
    ended: Ended,
    reads: Need,
    writes: Need,
}

/// What one of the operator's buckets has to serve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    bucket: Bucket,
    per_agent: usize,
    agents: usize,
}

/// Reads and writes, as the agents of a `trial` made them that nobody throttled.
pub(super) fn needs(fleet: &Fleet, trial: &Ended) -> [Need; 2] {
    [(fleet.throttle.reads, true), (fleet.throttle.writes, false)].map(|(bucket, reads)| Need {
        bucket,
        per_agent: trial.requests.iter().filter(|request| takes(request) == Some(reads)).count() / trial.joined,
        agents: fleet.agents,
    })
}

impl Report {
    pub(super) fn new(fleet: &Fleet, speed: f64, ended: Ended, trial: &Ended) -> Self {
        let [reads, writes] = needs(fleet, trial);
        Self { fleet: *fleet, speed, ended, reads, writes }
    }

    /// How the fleet ended.
    #[must_use]
    pub fn ended(&self) -> &Ended {
        &self.ended
    }

    /// Requests to all services per agent, those of its Arc agent and its kubelet included.
    #[must_use]
    pub fn requests_per_agent(&self) -> f64 {
        self.per_agent(|_| true)
    }

    /// The time that the fleet took, over the least that the token buckets allow. Infinite for a fleet so small that
    /// full buckets hold enough for all of it.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.ended.took.as_secs_f64() / self.best()
    }

    /// Seconds in which the slower bucket can serve what the fleet needs.
    fn best(&self) -> f64 {
        self.reads.seconds().max(self.writes.seconds())
    }

    fn per_agent(&self, counts: impl Fn(&Recorded) -> bool) -> f64 {
        let counted = self.ended.requests.iter().filter(|request| counts(request)).count();
        number(counted) / number(self.fleet.agents)
    }
}

impl Need {
    /// Agents that the bucket serves each second, once it is no longer full.
    pub(super) fn served(self) -> f64 {
        self.bucket.per_second / number(self.per_agent)
    }

    /// A full bucket serves its capacity at once, and the rest as it refills.
    fn seconds(self) -> f64 {
        let Self { bucket, per_agent, agents } = self;
        (number(agents * per_agent) - bucket.capacity).max(0.0) / bucket.per_second
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket: Bucket { capacity, per_second }, per_agent, agents } = self;
        write!(f, "({agents} x {per_agent} - {capacity}) / {per_second} = {:.0} s", self.seconds())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ended { joined, failures, took, machines, assignments, ready, .. } = &self.ended;
        writeln!(f, "joined    {joined} of {} agents", self.fleet.agents)?;
        writeln!(f, "Azure     {machines} machines, {assignments} role assignments, {ready} Nodes ready")?;
        writeln!(f, "time      {:.0} s by a clock that is {:.1} times as fast", took.as_secs_f64(), self.speed)?;
        writeln!(f, "at best   {:.0} s, the longer of", self.best())?;
        writeln!(f, "          reads   {}", self.reads)?;
        writeln!(f, "          writes  {}", self.writes)?;
        match self.ratio() {
            ratio if ratio.is_finite() => writeln!(f, "ratio     {ratio:.2}")?,
            _ => writeln!(f, "ratio     none, full buckets hold enough")?,
        }
        writeln!(f, "\n{:<26}PER AGENT  OF THESE 429", "OPERATION")?;
        let mut line = |name: &str, counts: &dyn Fn(&Recorded) -> bool| {
            let throttled = self.per_agent(|request| counts(request) && request.status == Some(429));
            writeln!(f, "{name:<26}{:>9.2}  {throttled:>12.2}", self.per_agent(counts))
        };
        for operation in Operation::JOIN {
            line(&format!("{operation:?}"), &|request| request.operation == operation)?;
        }
        line("other", &|request| !Operation::JOIN.contains(&request.operation))?;
        line("all", &|_| true)?;
        failures.iter().take(10).try_for_each(|failure| writeln!(f, "\n{failure}"))
    }
}

/// Whether a request takes from the operator's bucket for reads (true), the one for writes, or none.
fn takes(request: &Recorded) -> Option<bool> {
    let by_operator = request.principal.as_deref() == Some(contoso::APP_OBJECT);
    (request.service == Service::Arm && by_operator).then(|| request.method == "GET")
}

#[expect(clippy::cast_precision_loss, reason = "requests are counted in millions at most")]
fn number(count: usize) -> f64 {
    count as f64
}
