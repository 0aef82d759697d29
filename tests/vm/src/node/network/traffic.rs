//! The list of what a machine has sent, and what of it is meant for the emulated Azure.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::GATEWAY;
use super::packet::Sent;
use super::recorder::Seen;
use crate::azure::Endpoint;

/// All that was tried, in the order of the first times.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Traffic {
    /// Each thing once.
    pub entries: Vec<Entry>,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When first, in seconds after the list's first packet, which came when the line to the machine was switched on.
    pub seconds: u64,
    /// How often, tries again of a kernel included.
    pub count: u32,
    /// Whether it may be.
    pub verdict: Verdict,
    /// What.
    #[serde(flatten)]
    pub sent: Sent,
}

/// What to think of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It goes to the emulated Azure, or asks the site's DNS server for one of its names.
    Azure,
    /// It stays on the line between the machine and its router: the kernel's own.
    Line,
    /// Anything else.
    Elsewhere,
}

impl Traffic {
    pub(super) fn judge(mut record: Vec<Seen>, azure: &[Endpoint]) -> Self {
        record.sort_by_key(|seen| seen.first);
        let start = record.first().map(|seen| seen.first).unwrap_or_default();
        let entry = |seen: Seen| Entry {
            seconds: seen.first.saturating_sub(start).as_secs(),
            count: seen.count,
            verdict: verdict(&seen.sent, azure),
            sent: seen.sent,
        };
        Self { entries: record.into_iter().map(entry).collect() }
    }

    /// What goes neither to the emulated Azure nor stays on the line.
    #[must_use]
    pub fn elsewhere(&self) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| entry.verdict == Verdict::Elsewhere).collect()
    }

    /// The names that were asked for.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        for entry in &self.entries {
            if let Sent::Question { name, .. } = &entry.sent {
                names.insert(name.as_str());
            }
        }
        names
    }

    /// Who was called over TCP.
    #[must_use]
    pub fn connections(&self) -> BTreeSet<SocketAddr> {
        let mut connections = BTreeSet::new();
        for entry in &self.entries {
            if let Sent::Connection { to } = entry.sent {
                connections.insert(to);
            }
        }
        connections
    }

    /// Writes `traffic.txt` and `traffic.json` into `dir`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep(&self, dir: &Path) -> Result<()> {
        fs::write(dir.join("traffic.txt"), self.to_string()).context("write the list of traffic")?;
        let json = serde_json::to_string_pretty(self).context("write the list of traffic")?;
        fs::write(dir.join("traffic.json"), json + "\n").context("write the list of traffic")
    }
}

fn verdict(sent: &Sent, azure: &[Endpoint]) -> Verdict {
    let allowed = match sent {
        Sent::Neighbours { .. } => return Verdict::Line,
        Sent::Question { name, server, .. } => {
            *server == IpAddr::V4(GATEWAY) && azure.iter().any(|endpoint| endpoint.name.as_ref() == Some(name))
        }
        Sent::Connection { to } => {
            let dns = SocketAddr::new(GATEWAY.into(), 53);
            // What is asked there is in the list too.
            *to == dns || azure.iter().any(|endpoint| *to == SocketAddr::new(endpoint.address, endpoint.port))
        }
        Sent::Datagram { .. } | Sent::Other { .. } | Sent::Unreadable => false,
    };
    if allowed { Verdict::Azure } else { Verdict::Elsewhere }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seconds  times  to         what")?;
        self.entries.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = match self.verdict {
            Verdict::Azure => "Azure",
            Verdict::Line => "the line",
            Verdict::Elsewhere => "ELSEWHERE",
        };
        write!(f, "{:>7}  {:>5}  {to:<9}  {}", self.seconds, self.count, self.sent)
    }
}
