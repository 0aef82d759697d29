//! Which known advisories concern what is inside a bundle.
//!
//! Advisories are in the OSV format, from a dump on this machine: nothing is asked of the network.

mod advisory;
mod dump;
mod ecosystem;
mod inventory;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use self::advisory::Advisory;
pub use self::ecosystem::Ecosystem;
pub use self::inventory::{Inventory, Subject};
use crate::text::table;

/// The result.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How many packages were compared.
    pub packages: usize,
    /// How many advisories the dump has, withdrawn ones left out.
    pub advisories: u64,
    /// What concerns the bundle, sorted by package.
    pub findings: Vec<Finding>,
    /// What no advisory can be compared with, and why.
    pub unjudged: Vec<String>,
}

/// One flaw of one package; several advisories may be about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The package.
    #[serde(flatten)]
    pub subject: Subject,
    /// The advisories about it that the dump has.
    pub advisories: BTreeSet<String>,
    /// What else it is called.
    pub aliases: BTreeSet<String>,
    /// What it is.
    pub summary: String,
    /// The first version without it, if there is one.
    pub fixed: Option<String>,
}

/// Compares `inventory` with the dump at `osv`, a directory or a zip archive.
///
/// # Errors
/// When the dump cannot be read, holds something that is no advisory, or none at all.
pub fn audit(inventory: Inventory, osv: &Path) -> Result<Report> {
    let mut by_name: BTreeMap<String, Vec<&Subject>> = BTreeMap::new();
    for subject in &inventory.subjects {
        by_name.entry(subject.name.to_lowercase()).or_default().push(subject);
    }
    let mut found: BTreeMap<&Subject, Vec<Finding>> = BTreeMap::new();
    let advisories = dump::read(osv, &mut |advisory| {
        for subject in advisory.names().filter_map(|name| by_name.get(&name.to_lowercase())).flatten() {
            if let Some(verdict) = advisory.judge(subject) {
                merge(found.entry(subject).or_default(), finding(subject, &advisory, verdict.fixed));
            }
        }
    })?;
    let mut findings: Vec<Finding> = found.into_values().flatten().collect();
    findings.sort();
    Ok(Report { packages: inventory.subjects.len(), advisories, findings, unjudged: inventory.unjudged })
}

/// A table of findings.
#[must_use]
pub fn describe(report: &Report) -> String {
    if report.findings.is_empty() {
        return String::new();
    }
    let mut rows = vec![["PACKAGE", "VERSION", "FIXED IN", "ADVISORY", "FOUND IN", "SUMMARY"].map(str::to_owned)];
    for finding in &report.findings {
        let names: Vec<&str> = finding.advisories.iter().chain(&finding.aliases).map(String::as_str).collect();
        rows.push([
            finding.subject.name.clone(),
            finding.subject.version.clone(),
            finding.fixed.clone().unwrap_or_else(|| "-".to_owned()),
            names.join(" "),
            finding.subject.found_in.join(" "),
            finding.summary.clone(),
        ]);
    }
    table(&rows, &[])
}

fn finding(subject: &Subject, advisory: &Advisory, fixed: Option<String>) -> Finding {
    Finding {
        subject: subject.clone(),
        advisories: BTreeSet::from([advisory.id.clone()]),
        aliases: advisory.aliases.iter().cloned().collect(),
        summary: advisory.summary.lines().next().unwrap_or_default().to_owned(),
        fixed,
    }
}

/// Adds `new`, taking together what is about the same flaw: databases copy from each other.
fn merge(findings: &mut Vec<Finding>, mut new: Finding) {
    let names = |finding: &Finding| finding.advisories.union(&finding.aliases).cloned().collect::<BTreeSet<_>>();
    while let Some(at) = findings.iter().position(|known| !names(known).is_disjoint(&names(&new))) {
        let known = findings.remove(at);
        new.aliases.extend(known.aliases);
        // The one with the first name has the say, in whatever order the dump has them.
        if known.advisories.first() < new.advisories.first() {
            new.summary = known.summary;
            new.fixed = known.fixed.or(new.fixed);
        } else {
            new.fixed = new.fixed.or(known.fixed);
        }
        new.advisories.extend(known.advisories);
    }
    new.aliases.retain(|alias| !new.advisories.contains(alias));
    findings.push(new);
}
