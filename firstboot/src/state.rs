//! `state.json`: how far the join is, for people. Control flow never reads it.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};
use azure_core::time::{OffsetDateTime, to_rfc3339};
use serde::{Deserialize, Serialize};

use crate::atomic;

/// A step of the join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Registration with Azure Arc.
    Arc,
    /// Role assignments.
    Roles,
    /// Kubeconfig and access review.
    Kubeconfig,
    /// containerd, kubelet, the Node.
    Services,
}

impl Step {
    /// All steps, in their order.
    pub const ALL: [Self; 4] = [Self::Arc, Self::Roles, Self::Kubeconfig, Self::Services];

    /// One word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arc => "arc",
            Self::Roles => "roles",
            Self::Kubeconfig => "kubeconfig",
            Self::Services => "services",
        }
    }
}

/// As people read it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arc => "registering with Azure Arc",
            Self::Roles => "assigning roles",
            Self::Kubeconfig => "fetching the kubeconfig",
            Self::Services => "starting containerd and the kubelet",
        })
    }
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not yet begun in the last run.
    #[default]
    Pending,
    /// Under way, or interrupted there.
    Running,
    /// Done.
    Done,
    /// Ended the run.
    Failed,
}

/// One step.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Progressed {
    /// Which.
    pub step: Step,
    /// Where it is.
    pub phase: Phase,
    /// Since when it is there, RFC 3339 in UTC; empty while pending.
    pub since: String,
    /// Attempts that failed in this run.
    pub attempts: u32,
    /// Why the last one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The whole join.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// 1.
    pub version: u32,
    /// The steps, in their order.
    pub steps: Vec<Progressed>,
}

impl Default for State {
    fn default() -> Self {
        let pending = |step| Progressed {
            step,
            phase: Phase::Pending,
            since: String::new(),
            attempts: 0,
            error: None,
            hint: None,
        };
        Self { version: 1, steps: Step::ALL.map(pending).to_vec() }
    }
}

impl State {
    /// The state in `path`; `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let Some(bytes) = atomic::read(path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).with_context(|| format!("reading {}", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        atomic::write(path, serde_json::to_string_pretty(self)?.as_bytes(), 0o600)
    }

    pub(crate) fn enter(&mut self, step: Step, phase: Phase) {
        let entry = self.step(step);
        (entry.phase, entry.since, entry.hint) = (phase, now(), None);
        if phase == Phase::Done {
            entry.error = None;
        }
    }

    /// Whether every step is done.
    pub(crate) fn is_done(&self) -> bool {
        self.steps.iter().all(|entry| entry.phase == Phase::Done)
    }

    /// Every step is done, as far as anybody can tell now.
    pub(crate) fn finish(&mut self) {
        Step::ALL.into_iter().for_each(|step| self.enter(step, Phase::Done));
    }

    pub(crate) fn attempt(&mut self, step: Step, attempts: u32, error: &str) {
        let entry = self.step(step);
        (entry.attempts, entry.error) = (attempts, Some(error.to_owned()));
    }

    pub(crate) fn last_error(&self, step: Step) -> Option<&str> {
        self.steps[step as usize].error.as_deref()
    }

    /// The step under way fails, or the first that has not begun.
    pub(crate) fn fail(&mut self, error: &str, hint: &str) {
        let open = self.steps.iter_mut().find(|entry| entry.phase != Phase::Done);
        if let Some(entry) = open {
            (entry.phase, entry.since, entry.attempts) = (Phase::Failed, now(), entry.attempts + 1);
            (entry.error, entry.hint) = (Some(error.to_owned()), Some(hint.to_owned()));
        }
    }

    fn step(&mut self, step: Step) -> &mut Progressed {
        &mut self.steps[step as usize]
    }
}

fn now() -> String {
    let now = OffsetDateTime::now_utc();
    to_rfc3339(&now.replace_nanosecond(0).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_lands_in_the_step_under_way_and_success_clears_it() {
        let mut state = State::default();
        state.enter(Step::Arc, Phase::Done);
        state.enter(Step::Roles, Phase::Running);
        state.attempt(Step::Roles, 3, "busy");
        state.fail("denied", "grant");
        let roles = &state.steps[1];
        assert_eq!((roles.phase, roles.attempts, roles.hint.as_deref()), (Phase::Failed, 4, Some("grant")));
        state.enter(Step::Roles, Phase::Done);
        assert_eq!((state.steps[1].error.as_deref(), state.steps[1].hint.as_deref()), (None, None));
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        assert!(State::read(&path).unwrap().is_none());
        let mut state = State::default();
        state.enter(Step::Arc, Phase::Running);
        state.write(&path).unwrap();
        let read = State::read(&path).unwrap().unwrap();
        assert_eq!(read.steps[0].phase, Phase::Running);
        assert!(read.steps[0].since.ends_with('Z') && read.steps[0].since.len() == 20, "{}", read.steps[0].since);
    }
}
