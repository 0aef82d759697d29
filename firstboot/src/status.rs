//! The `status` verb: how far the join is, as a table or as JSON.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use crate::host::Host;
use crate::marker::{Marker, Past};
use crate::paths;
use crate::state::{Phase, State};

/// What there is to tell of a machine.
#[derive(Debug)]
pub struct Status {
    state: State,
    marker: Option<Marker>,
}

impl Status {
    /// Reads state and marker; asks nobody.
    ///
    /// # Errors
    /// When they are there and cannot be read.
    pub fn read(host: &Host) -> Result<Self> {
        let state = State::read(&host.path(paths::STATE))?.unwrap_or_default();
        // A machine without an id has not joined; that is no reason to show nothing.
        let past = host.machine_id().map_or(Ok(Past::None), |id| Past::read(host, &id))?;
        let marker = match past {
            Past::Own(marker) if marker.is_joined(host)? => Some(marker),
            _ => None,
        };
        Ok(Self { state, marker })
    }

    /// As JSON; the shape is that of `state.json`, with what was joined beside it.
    #[must_use]
    pub fn json(&self) -> Value {
        let marker = self.marker.as_ref();
        json!({
            "version": 1,
            "joined": marker.is_some(),
            "cluster": marker.map(|marker| &marker.cluster),
            "machine": marker.map(|marker| &marker.machine),
            "principal": marker.map(|marker| &marker.principal),
            "steps": self.state.steps,
        })
    }

    /// As a table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = match &self.marker {
            Some(marker) => format!("joined: {}\nas:     {}\n\n", marker.cluster, marker.machine),
            None => "not joined\n\n".to_owned(),
        };
        let _ = writeln!(text, "{:<12}{:<10}{:<22}FAILED ATTEMPTS", "STEP", "PHASE", "SINCE (UTC)");
        for entry in &self.state.steps {
            let phase = match entry.phase {
                Phase::Pending => "pending",
                Phase::Running => "running",
                Phase::Done => "done",
                Phase::Failed => "failed",
            };
            let since = if entry.since.is_empty() { "-" } else { &entry.since };
            let _ = writeln!(text, "{:<12}{phase:<10}{since:<22}{}", entry.step.name(), entry.attempts);
        }
        for entry in &self.state.steps {
            for (label, value) in [("error", &entry.error), ("hint", &entry.hint)] {
                if let Some(value) = value {
                    let _ = writeln!(text, "\n{}: {label}: {value}", entry.step.name());
                }
            }
        }
        text.trim_end().to_owned()
    }
}
