//! What changed between two bundles: components, files, and rendered text line by line.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::manifest::{Kind, Manifest};
use super::read::Bundle;

/// A change from one bundle to another.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diff {
    /// Facts about the whole: Kubernetes version, architecture, pause image and so on.
    pub facts: Vec<Change>,
    /// Components, by name: version and digest.
    pub components: Vec<Change>,
    /// Files, by path: type, mode, size, digest.
    pub files: Vec<Change>,
    /// Unified diffs of changed configuration, by path.
    pub text: BTreeMap<String, String>,
}

/// One thing before and after; absent where it is new or gone.
#[derive(Debug, Serialize)]
pub struct Change {
    /// What it is about.
    pub name: String,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Diff {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.components.is_empty() && self.files.is_empty()
    }
}

/// Compares the bundles at two paths.
///
/// # Errors
/// When one of them cannot be read.
pub fn diff(before: &Path, after: &Path) -> Result<Diff> {
    let (old, new) = (Bundle::manifest(before)?, Bundle::manifest(after)?);
    let files = changes(&files(&old), &files(&new));
    let changed: BTreeSet<&str> = files.iter().map(|change| change.name.as_str()).collect();
    let (old_text, new_text) = (texts(before, &changed)?, texts(after, &changed)?);
    let mut text = BTreeMap::new();
    for path in &changed {
        let [a, b] = [&old_text, &new_text].map(|texts| texts.get(*path).map_or("", String::as_str));
        if a != b {
            let unified = similar::TextDiff::from_lines(a, b);
            let unified = unified.unified_diff().header(&format!("a/{path}"), &format!("b/{path}")).to_string();
            text.insert((*path).to_owned(), unified);
        }
    }
    Ok(Diff {
        facts: changes(&facts(&old), &facts(&new)),
        components: changes(&components(&old), &components(&new)),
        files,
        text,
    })
}

/// The diff for people.
#[must_use]
pub fn describe(diff: &Diff) -> String {
    let mut out = String::new();
    for (title, changes) in [("bundle", &diff.facts), ("components", &diff.components), ("files", &diff.files)] {
        if changes.is_empty() {
            continue;
        }
        out.push_str(title);
        out.push('\n');
        for Change { name, before, after } in changes {
            out.push_str(&match (before, after) {
                (Some(before), Some(after)) => format!("  ~ {name}: {before} -> {after}\n"),
                (None, Some(after)) => format!("  + {name}: {after}\n"),
                (Some(before), None) => format!("  - {name}: {before}\n"),
                (None, None) => String::new(),
            });
        }
    }
    for unified in diff.text.values() {
        out.push('\n');
        out.push_str(unified);
    }
    out
}

fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    changed
        .map(|name| Change { name: name.clone(), before: before.get(name).cloned(), after: after.get(name).cloned() })
        .collect()
}

fn facts(manifest: &Manifest) -> BTreeMap<String, String> {
    let allowed: Vec<&str> = manifest.allowed.iter().map(|allowed| allowed.rule.as_str()).collect();
    let facts = [
        ("kubernetes", manifest.kubernetes.to_string()),
        ("arch", manifest.arch.to_string()),
        ("target", manifest.target.to_string()),
        ("pause image", manifest.pause_image.clone()),
        ("builder", format!("{} {}", manifest.builder.name, manifest.builder.version)),
        ("epoch", manifest.epoch.to_string()),
        ("allowed rules", allowed.join(", ")),
    ];
    facts.map(|(name, value)| (name.to_owned(), value)).into()
}

fn components(manifest: &Manifest) -> BTreeMap<String, String> {
    let entry = |c: &super::Component| (c.name.clone(), format!("{} ({})", c.version, c.sha256.short()));
    manifest.components.iter().map(entry).collect()
}

fn files(manifest: &Manifest) -> BTreeMap<String, String> {
    let describe = |kind: &Kind| match kind {
        Kind::Directory { mode } => format!("directory {mode}"),
        Kind::Link { target } => format!("link to {target}"),
        Kind::File { mode, size, sha256, .. } => format!("{mode} {size} bytes {}", sha256.short()),
    };
    manifest.files.iter().map(|item| (item.path.to_string(), describe(&item.kind))).collect()
}

/// The texts of configuration files among `paths`.
fn texts(bundle: &Path, paths: &BTreeSet<&str>) -> Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    Bundle::walk(bundle, |manifest, mut member| {
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let item = manifest.files.iter().find(|item| item.path.as_str() == name);
        let is_text =
            item.is_some_and(|item| matches!(item.kind, Kind::File { component: None, size, .. } if size < 1 << 20));
        if is_text && paths.contains(name.as_str()) {
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes)?;
            texts.extend(String::from_utf8(bytes).ok().map(|text| (name, text)));
        }
        Ok(())
    })?;
    Ok(texts)
}
