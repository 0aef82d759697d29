//! One advisory in the OSV format (schema 1.7), and whether it concerns a package.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::Deserialize;

use super::ecosystem::Ecosystem;
use super::inventory::Subject;

/// What of an advisory matters here.
#[derive(Debug, Deserialize)]
pub(super) struct Advisory {
    pub(super) id: String,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    #[serde(default)]
    pub(super) summary: String,
    #[serde(default)]
    pub(super) withdrawn: Option<String>,
    #[serde(default)]
    affected: Vec<Affected>,
}

#[derive(Debug, Deserialize)]
struct Affected {
    #[serde(default)]
    package: Option<Package>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    ranges: Vec<Range>,
}

#[derive(Debug, Deserialize)]
struct Package {
    ecosystem: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Range {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    events: Vec<Event>,
}

/// One of them each.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
    limit: Option<String>,
}

/// A package is concerned.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Concerned {
    /// The first version that is not.
    pub(super) fixed: Option<String>,
}

impl Advisory {
    /// The packages that it is about, each once.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let mut seen = BTreeSet::new();
        let packages = self.affected.iter().filter_map(|affected| affected.package.as_ref());
        packages.map(|package| package.name.as_str()).filter(move |name| seen.insert(name.to_lowercase()))
    }

    /// Whether it concerns `subject`.
    ///
    /// A version that cannot be compared counts as affected: a reader can tell, and silence cannot be checked.
    pub(super) fn judge(&self, subject: &Subject) -> Option<Concerned> {
        let is_about = |package: &Package| {
            let same_name = match subject.ecosystem {
                Ecosystem::Go => package.name.eq_ignore_ascii_case(&subject.name),
                _ => package.name == subject.name,
            };
            same_name && subject.ecosystem.is_called(&package.ecosystem)
        };
        let mut verdicts = self.affected.iter().filter(|affected| affected.package.as_ref().is_some_and(is_about));
        verdicts.find_map(|affected| affected.judge(subject))
    }
}

impl Affected {
    fn judge(&self, subject: &Subject) -> Option<Concerned> {
        let ranges = || self.ranges.iter().filter(|range| matches!(&*range.kind, "SEMVER" | "ECOSYSTEM"));
        let is_listed = self.versions.iter().any(|version| {
            version == &subject.version || subject.ecosystem.compare(version, &subject.version) == Some(Ordering::Equal)
        });
        let within = ranges().find(|range| range.holds(subject));
        if !is_listed && within.is_none() {
            return None;
        }
        let fixed = within.map(|range| range.fixed(subject));
        Some(Concerned { fixed: fixed.unwrap_or_else(|| ranges().find_map(|range| range.fixed(subject))) })
    }
}

impl Range {
    /// OSV's algorithm: events in the order of their versions switch between affected and not.
    fn holds(&self, subject: &Subject) -> bool {
        let compare = |version: &str| match version {
            "0" => Some(Ordering::Greater),
            version => subject.ecosystem.compare(&subject.version, version),
        };
        let mut limits = self.events.iter().filter_map(|event| event.limit.as_deref()).peekable();
        let is_beyond = |limit: &str| matches!(compare(limit), Some(Ordering::Equal | Ordering::Greater));
        let is_limited = limits.peek().is_some() && limits.all(|limit| limit != "*" && is_beyond(limit));
        if is_limited {
            return false;
        }
        let mut events: Vec<_> = self.events.iter().filter_map(Event::switch).collect();
        // What cannot be compared cannot be sorted either.
        if events.iter().any(|event| compare(event.version).is_none()) {
            return true;
        }
        events.sort_by(|a, b| match (a.version, b.version) {
            ("0", "0") => Ordering::Equal,
            ("0", _) => Ordering::Less,
            (_, "0") => Ordering::Greater,
            (a, b) => subject.ecosystem.compare(a, b).unwrap_or(Ordering::Equal),
        });
        let mut affected = false;
        for event in events {
            match (event.kind, compare(event.version)) {
                (SwitchKind::Introduced, Some(Ordering::Equal | Ordering::Greater)) => affected = true,
                (SwitchKind::Fixed, Some(Ordering::Equal | Ordering::Greater)) => affected = false,
                (SwitchKind::LastAffected, Some(Ordering::Greater)) => affected = false,
                _ => {}
            }
        }
        affected
    }

    /// The first version after the subject's in which it is fixed.
    fn fixed(&self, subject: &Subject) -> Option<String> {
        let compare = |a: &str, b: &str| subject.ecosystem.compare(a, b);
        let later = |fixed: &&String| compare(fixed, &subject.version) == Some(Ordering::Greater);
        let fixes = self.events.iter().filter_map(|event| event.fixed.as_ref()).filter(later);
        fixes.min_by(|a, b| compare(a, b).unwrap_or(Ordering::Equal)).cloned()
    }
}

#[derive(Clone, Copy)]
struct Switch<'a> {
    kind: SwitchKind,
    version: &'a str,
}

#[derive(Clone, Copy)]
enum SwitchKind {
    Introduced,
    Fixed,
    LastAffected,
}

impl Event {
    fn switch(&self) -> Option<Switch<'_>> {
        let kinds = [
            (&self.introduced, SwitchKind::Introduced),
            (&self.fixed, SwitchKind::Fixed),
            (&self.last_affected, SwitchKind::LastAffected),
        ];
        kinds.into_iter().find_map(|(version, kind)| Some(Switch { kind, version: version.as_deref()? }))
    }
}
