//! What happened when, from power-on to a ready Node.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Guest, Lane};

/// Moments of one boot, in seconds after power-on, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline(Vec<(f64, String)>);

/// What systemd tells of units: which, and the name of the moment.
const UNITS: [(&str, &str); 5] = [
    ("network-online.target", "network online"),
    ("containerd.service", "containerd active"),
    ("himdsd.service", "HIMDS active"),
    ("flexnode-firstboot.service", "flexnode-firstboot done"),
    ("kubelet.service", "kubelet active"),
];

impl Timeline {
    /// Asks the guest for its moments; `ready` is when the API server saw its Node ready.
    ///
    /// # Errors
    /// When the guest does not answer.
    pub fn of(guest: &Guest, ready: Option<Instant>) -> Result<Self> {
        let offset = clocks_apart(guest)?;
        let mut moments = vec![(0.0, "power on".to_owned())];
        if guest.lane() == Lane::Vm {
            moments.push((offset, "kernel starts".to_owned()));
        }
        let since_boot = |text: &str| text.trim().parse::<f64>().ok().filter(|micros| *micros > 0.0);
        let manager = ["show", "--value", "--property=UserspaceTimestampMonotonic"];
        if let Some(micros) = since_boot(&guest.ask("systemctl", &manager)?) {
            moments.push((offset + micros / 1e6, "systemd starts".to_owned()));
        }
        for (unit, moment) in UNITS {
            let text =
                guest.ask("systemctl", &["show", "--value", "--property=ActiveEnterTimestampMonotonic", unit])?;
            if let Some(micros) = since_boot(&text) {
                moments.push((offset + micros / 1e6, moment.to_owned()));
            }
        }
        let fields = ["--no-pager", "--boot", "--output=json", "FLEXNODE_EVENT=done"];
        let steps = guest.run("journalctl", &fields)?;
        for line in String::from_utf8_lossy(&steps.stdout).lines() {
            let entry: Value = serde_json::from_str(line).context("read the journal's entry")?;
            let micros = entry["__MONOTONIC_TIMESTAMP"].as_str().and_then(since_boot);
            if let (Some(micros), Some(step)) = (micros, entry["FLEXNODE_STEP"].as_str()) {
                moments.push((offset + micros / 1e6, format!("  step {step} done")));
            }
        }
        if let Some(ready) = ready {
            moments.push(((ready - guest.powered_on()).as_secs_f64(), "Node Ready at the API server".to_owned()));
        }
        moments.sort_by(|one, other| one.0.total_cmp(&other.0));
        Ok(Self(moments))
    }

    /// When it was, after power-on.
    #[must_use]
    pub fn at(&self, moment: &str) -> Option<Duration> {
        let found = self.0.iter().find(|(_, name)| name.trim() == moment);
        found.and_then(|(at, _)| Duration::try_from_secs_f64(*at).ok())
    }
}

/// Seconds from power-on to the start of the clock that the guest counts by.
fn clocks_apart(guest: &Guest) -> Result<f64> {
    let text = guest.ask("cat", &["/proc/uptime"])?;
    let here = guest.powered_on().elapsed().as_secs_f64();
    let there: f64 = text.split_whitespace().next().unwrap_or_default().parse().context("read the guest's uptime")?;
    Ok(here - there)
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(at, moment)| writeln!(f, "{at:>8.1} s  {moment}"))
    }
}
