//! Findings about a catalog: what a slip of the pen or a careless script puts into one.

use std::collections::BTreeMap;

use super::{Catalog, Pair};
use crate::artifact::Arch;
use crate::digest::Digest;

/// Everything that is wrong with `catalog`; malformed digests, modes, paths and versions are refused when it is parsed.
#[must_use]
pub fn lint(catalog: &Catalog) -> Vec<String> {
    let mut findings = digests(catalog);
    findings.extend(urls(catalog));
    findings.extend(defaults(catalog));
    findings.extend(rules(catalog));
    findings
}

/// No digest twice, and none of a body that is no artifact.
fn digests(catalog: &Catalog) -> Vec<String> {
    let no_artifact = [
        (Digest::of(b""), "an empty file"),
        (Digest::of(b"Not Found"), "the body `Not Found`"),
        (Digest::of(b"404: Not Found"), "the body `404: Not Found`"),
        (Digest::of(b"Not Found\n"), "the body `Not Found`"),
    ];
    let mut findings = Vec::new();
    let mut owners: BTreeMap<Digest, String> = BTreeMap::new();
    for component in catalog.components.values() {
        for release in &component.releases {
            for (arch, pin) in release.pins() {
                let owner = format!("{} {} {arch}", component.name, release.version);
                if let Some((_, body)) = no_artifact.iter().find(|(digest, _)| *digest == pin.sha256) {
                    findings.push(format!("{owner}: the digest is that of {body}"));
                } else if let Some(other) = owners.insert(pin.sha256, owner.clone()) {
                    findings.push(format!("{owner}: the digest is also that of {other}"));
                }
                if pin.pinned_by.is_empty() {
                    findings.push(format!("{owner}: `pinnedBy` says nobody"));
                }
                if pin.size == Some(0) {
                    findings.push(format!("{owner}: the size is 0"));
                }
            }
            if release.pins().next().is_none() {
                findings.push(format!("{} {}: no architecture has a digest", component.name, release.version));
            }
        }
        if component.releases.is_empty() {
            findings.push(format!("{}: no releases", component.name));
        }
    }
    findings
}

/// Each release must have a place of its own, reached safely.
fn urls(catalog: &Catalog) -> Vec<String> {
    let mut findings = Vec::new();
    for component in catalog.components.values() {
        let Some(release) = component.releases.last() else { continue };
        let [one, other] = [Arch::Amd64, Arch::Arm64].map(|arch| component.url(&release.version, arch));
        if !one.starts_with("https://") {
            findings.push(format!("{}: the URL is not https", component.name));
        }
        if one == other {
            findings.push(format!("{}: the URL does not depend on {{arch}}", component.name));
        }
        if !one.contains(&release.version.to_string()) {
            findings.push(format!("{}: the URL does not depend on {{version}}", component.name));
        }
        if let Some(replaced) = component.replaces.as_ref().filter(|name| !catalog.components.contains_key(*name)) {
            findings.push(format!("{}: replaces `{replaced}`, which the catalog does not have", component.name));
        }
    }
    findings
}

/// Defaults exist for both architectures and satisfy every rule.
fn defaults(catalog: &Catalog) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, minor) in &catalog.compat.minors {
        let kubernetes = match semver::Version::parse(&format!("{name}.0")) {
            Ok(version) => version,
            Err(error) => {
                findings.push(format!("compat.yaml: minor `{name}`: {error}"));
                continue;
            }
        };
        let defaults = &minor.defaults;
        let companions = [
            ("containerd", &defaults.containerd),
            ("runc", &defaults.runc),
            ("cni-plugins", &defaults.cni_plugins),
            ("crictl", &defaults.crictl),
        ];
        for (component, version) in companions {
            let release =
                catalog.components.get(component).and_then(|c| c.releases.iter().find(|r| r.version == *version));
            if release.is_none() {
                findings.push(format!("compat.yaml: {name}: {component} {version} is not in the catalog"));
            }
            let pair = Pair { kubernetes: &kubernetes, pause_image: &defaults.pause_image, component, version };
            for rule in catalog.compat.broken_by(pair) {
                findings.push(format!("compat.yaml: {name}: {component} {version} breaks {}", rule.name));
            }
        }
        if !defaults.pause_image.contains("@sha256:") {
            findings.push(format!("compat.yaml: {name}: the pause image has no digest"));
        }
        if minor.end_of_life <= minor.released {
            findings.push(format!("compat.yaml: {name}: ends before it begins"));
        }
    }
    findings
}

/// A rule's name is its own, and it is about something.
fn rules(catalog: &Catalog) -> Vec<String> {
    let mut findings = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for rule in &catalog.compat.rules {
        if !names.insert(&rule.name) {
            findings.push(format!("compat.yaml: two rules are called {}", rule.name));
        }
        if !catalog.components.contains_key(&rule.component) {
            findings.push(format!("compat.yaml: {}: no component `{}`", rule.name, rule.component));
        }
    }
    findings
}
