//! Packages that the bundle brings along: the Arc agent's, and others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::DEADLINE;
use crate::atomic;
use crate::failure::{Exit, Failure};
use crate::join::Join;
use crate::paths;
use crate::retry::Schedule;
use crate::state::Step;

const INSTALL: Duration = Duration::from_secs(5 * 60);

/// Installs the bundled packages, offline: the Arc agent's, and others that came with it. A note on disk tells a finished
/// installation from one that was cut off, which may have left a program without its services.
pub(super) async fn install(join: &Join<'_>) -> Result<()> {
    let note = join.host.path(paths::INSTALL_NOTE);
    let was_cut_off = note.exists();
    let bundled = bundled(join);
    let has_agent = join.host.commands.has(AGENT);
    if !has_agent && !bundled.contains_key(AGENT) {
        let directory = join.host.path(paths::PACKAGES);
        let hint = "build the bundle with the azcmagent package in its `packages`, or install the agent into the image";
        let message = format!("no azcmagent on PATH and no package in {}", directory.display());
        return Err(Failure::new(Exit::Local, message, hint).into());
    }
    let mut missing = Vec::new();
    for (name, package) in &bundled {
        // An agent that did not come with dpkg is an agent, too.
        let is_there = if name == AGENT { has_agent } else { is_installed(join, name).await? };
        if was_cut_off || !is_there {
            missing.push(package.display().to_string());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    atomic::ensure(&note, b"", 0o600)?;
    let packages = missing.join(" ");
    join.progress.note(Step::Arc, &format!("installing {packages}"));
    let dpkg = async || {
        let arguments: Vec<&str> =
            ["--install", "--force-confold"].into_iter().chain(missing.iter().map(String::as_str)).collect();
        let said = join.host.commands.run("dpkg", &arguments, join.host.pace.of(INSTALL)).await?;
        if said.success {
            return Ok(());
        }
        let summary = said.summary();
        // Its status for this is the same as for everything else.
        let exit = if summary.contains("lock") { Exit::Transient } else { Exit::Local };
        let hint = format!("`dpkg --configure --pending; dpkg --install {packages}` shows why");
        Err(Failure::new(exit, format!("the bundle's packages cannot be installed: {summary}"), hint).into())
    };
    join.retry(Step::Arc, Schedule::until(DEADLINE), dpkg).await?;
    atomic::remove(&note)
}

/// What dpkg says; it fails for a package that it has never heard of.
async fn is_installed(join: &Join<'_>, name: &str) -> Result<bool> {
    let arguments = ["--show", "--showformat=${db:Status-Status}", name];
    let said = join.host.commands.run("dpkg-query", &arguments, join.host.pace.of(INSTALL)).await?;
    Ok(said.success && said.stdout == "installed")
}

const AGENT: &str = "azcmagent";

/// The newest package of each name in the bundle: an older bundle's may still lie beside it.
fn bundled(join: &Join<'_>) -> BTreeMap<String, PathBuf> {
    let entries = std::fs::read_dir(join.host.path(paths::PACKAGES)).into_iter().flatten().flatten();
    let mut newest: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in entries.map(|entry| entry.path()) {
        let Some((name, version)) = named(&path) else { continue };
        let name = name.to_owned();
        match newest.get(&name).and_then(|other| named(other)) {
            Some((_, other)) if other >= version => {}
            _ => drop(newest.insert(name, path)),
        }
    }
    newest
}

/// The package's name and the numbers of its version, of a `name_version.deb` or `name_version_arch.deb`. 1.100 is newer
/// than 1.99.
fn named(path: &Path) -> Option<(&str, Vec<u64>)> {
    let (name, version) = path.file_name()?.to_str()?.strip_suffix(".deb")?.split_once('_')?;
    let version = version.split_once('_').map_or(version, |(version, _)| version);
    Some((name, version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_package_is_told_by_its_numbers() {
        let version = |name: &str| named(Path::new(name)).map(|(_, version)| version);
        assert!(version("/d/azcmagent_1.100.02900-1_amd64.deb") > version("/d/azcmagent_1.99.03000-1_amd64.deb"));
        assert!(version("azcmagent_1.61_amd64.deb") == version("azcmagent_1.61.deb"));
        assert_eq!(named(Path::new("/d/conntrack_1.4.7-1+b2_amd64.deb")), Some(("conntrack", vec![1, 4, 7, 1, 2])));
        assert_eq!((version("azcmagent_1.61_amd64.deb.partial"), version("azcmagent.deb")), (None, None));
    }
}
