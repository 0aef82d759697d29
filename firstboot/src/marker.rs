//! The marker of a join: for which machine, with which config. Written last; only a matching one counts.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::cloud::Authority;
use crate::host::Host;
use crate::paths;

/// What a finished join leaves behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Marker {
    /// 1.
    pub version: u32,
    /// The machine that joined.
    pub machine_id: String,
    /// Digest of the config it joined with, [`crate::config::Loaded::digest`].
    pub config: String,
    /// Resource id of the cluster.
    pub cluster: String,
    /// Resource id of the machine.
    pub machine: String,
    /// Object id of the machine's identity.
    pub principal: String,
    /// Where the operator signed in.
    pub authority: Authority,
}

/// What earlier joins left on this disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Past {
    /// Nothing.
    None,
    /// A join of this machine.
    Own(Marker),
    /// Joins of other machines only: this disk is a clone of theirs.
    CloneOf(Vec<Marker>),
}

impl Past {
    /// What is on the disk of `host` for the machine `machine_id`.
    ///
    /// # Errors
    /// When a marker cannot be read. A torn or foreign one counts as none: the join looks at the world anyway.
    pub fn read(host: &Host, machine_id: &str) -> Result<Self> {
        // The farewell is renamed to the marker, so where both are there it is the newer one.
        for kind in [paths::FAREWELL, paths::MARKER] {
            if let Some(bytes) = atomic::read(&path(host, kind, machine_id))?
                && let Some(marker) = parse(&bytes).filter(|marker| marker.machine_id == machine_id)
            {
                return Ok(Self::Own(marker));
            }
        }
        let mut parents = Vec::new();
        for path in all(host, &MARKERS)? {
            parents.extend(atomic::read(&path)?.and_then(|bytes| parse(&bytes)));
        }
        parents.retain(|marker| marker.machine_id != machine_id);
        Ok(if parents.is_empty() { Self::None } else { Self::CloneOf(parents) })
    }

    /// The marker of this machine with this config.
    #[must_use]
    pub fn matching(&self, config: &str) -> Option<&Marker> {
        match self {
            Self::Own(marker) if marker.config == config => Some(marker),
            _ => None,
        }
    }

    /// Removes the markers of other machines, and their permits for the kubelet.
    ///
    /// # Errors
    /// When one stays.
    pub fn forget_parents(host: &Host, machine_id: &str) -> Result<()> {
        let own = format!(".{machine_id}");
        [all(host, &[paths::KUBELET_PERMIT])?, all(host, &MARKERS)?]
            .concat()
            .iter()
            .filter(|path| !path.to_string_lossy().ends_with(&own))
            .try_for_each(|path| atomic::remove(path))
    }
}

impl Marker {
    /// Notes that all is done but the removal of the secret.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_farewell(&self, host: &Host) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("writing the marker")?;
        atomic::ensure(&path(host, paths::FAREWELL, &self.machine_id), text.as_bytes(), 0o600).map(drop)
    }

    /// Notes that all is done: the farewell becomes the marker, so that no crash leaves both.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_joined(&self, host: &Host) -> Result<()> {
        self.write_farewell(host)?;
        let [farewell, marker] = [paths::FAREWELL, paths::MARKER].map(|kind| path(host, kind, &self.machine_id));
        atomic::rename(&farewell, &marker)
    }

    /// Notes that what it says is about to change, so that the unit continues at the next boot what is cut off now.
    ///
    /// # Errors
    /// When it cannot be renamed or removed.
    pub fn reopen(&self, host: &Host) -> Result<()> {
        let [farewell, marker] = [paths::FAREWELL, paths::MARKER].map(|kind| path(host, kind, &self.machine_id));
        match (marker.exists(), farewell.exists()) {
            (true, false) => atomic::rename(&marker, &farewell),
            (true, true) => atomic::remove(&marker),
            (false, _) => Ok(()),
        }
    }

    /// Whether it is on disk as that of a finished join, and no later one has begun to say farewell.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_joined(&self, host: &Host) -> Result<bool> {
        let bytes = atomic::read(&path(host, paths::MARKER, &self.machine_id))?;
        let later = path(host, paths::FAREWELL, &self.machine_id).exists();
        Ok(!later && bytes.and_then(|bytes| parse(&bytes)).as_ref() == Some(self))
    }
}

fn parse(bytes: &[u8]) -> Option<Marker> {
    serde_json::from_slice::<Marker>(bytes).ok().filter(|marker| marker.version == 1)
}

fn path(host: &Host, kind: &str, machine_id: &str) -> PathBuf {
    host.path(&format!("{kind}.{machine_id}"))
}

const MARKERS: [&str; 2] = [paths::MARKER, paths::FAREWELL];

/// The files of these kinds, of whatever machine.
fn all(host: &Host, kinds: &[&str]) -> Result<Vec<PathBuf>> {
    let directory = host.path(paths::STATE_DIRECTORY);
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", directory.display())),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("reading {}", directory.display()))?.path();
        if kinds.iter().any(|kind| path.with_extension("") == host.path(kind)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        for directory in ["etc", "var/lib/flexnode"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        fs::write(root.path().join("etc/hostname"), "a").unwrap();
        let host = Host::new(root.path()).unwrap();
        (root, host)
    }

    fn marker(machine_id: &str) -> Marker {
        let authority = Authority { login: "l".into(), audience: "a".into(), scope: "s".into(), tenant: None };
        Marker {
            version: 1,
            machine_id: machine_id.into(),
            config: "digest".into(),
            cluster: "c".into(),
            machine: "m".into(),
            principal: "p".into(),
            authority,
        }
    }

    #[test]
    fn only_the_same_machine_with_the_same_config_has_joined() {
        let (_root, host) = host();
        assert_eq!(Past::read(&host, "aa").unwrap(), Past::None);
        marker("aa").write_joined(&host).unwrap();
        let past = Past::read(&host, "aa").unwrap();
        assert!(past.matching("digest").is_some());
        assert!(past.matching("another").is_none(), "a changed config joins again");
    }

    #[test]
    fn a_clone_knows_its_parent_until_it_forgets_it() {
        let (_root, host) = host();
        marker("aa").write_joined(&host).unwrap();
        assert_eq!(Past::read(&host, "bb").unwrap(), Past::CloneOf(vec![marker("aa")]));
        assert!(Past::read(&host, "bb").unwrap().matching("digest").is_none());
        Past::forget_parents(&host, "bb").unwrap();
        assert_eq!(Past::read(&host, "bb").unwrap(), Past::None);
    }

    #[test]
    fn a_marker_that_was_copied_to_our_name_is_still_not_ours() {
        let (_root, host) = host();
        marker("aa").write_joined(&host).unwrap();
        let directory = host.path(paths::STATE_DIRECTORY);
        fs::copy(directory.join("joined.aa"), directory.join("joined.bb")).unwrap();
        assert!(matches!(Past::read(&host, "bb").unwrap(), Past::CloneOf(_)));
    }

    #[test]
    fn between_farewell_and_joined_nothing_is_forgotten() {
        let (_root, host) = host();
        let marker = marker("aa");
        marker.write_farewell(&host).unwrap();
        assert_eq!(Past::read(&host, "aa").unwrap(), Past::Own(marker.clone()));
        assert!(!marker.is_joined(&host).unwrap());
        marker.write_joined(&host).unwrap();
        assert!(marker.is_joined(&host).unwrap());
        assert_eq!(fs::read_dir(host.path(paths::STATE_DIRECTORY)).unwrap().count(), 1);
    }

    #[test]
    fn a_later_farewell_counts_more_than_an_older_marker() {
        let (_root, host) = host();
        let (old, new) = (marker("aa"), Marker { config: "changed".into(), ..marker("aa") });
        old.write_joined(&host).unwrap();
        new.write_farewell(&host).unwrap();
        assert_eq!(Past::read(&host, "aa").unwrap(), Past::Own(new.clone()), "its secret may be gone already");
        assert!(!old.is_joined(&host).unwrap());
        new.write_joined(&host).unwrap();
        assert_eq!(Past::read(&host, "aa").unwrap(), Past::Own(new));
    }

    #[test]
    fn a_reopened_marker_lets_the_unit_run_and_forgets_nothing() {
        let (_root, host) = host();
        let marker = marker("aa");
        marker.write_joined(&host).unwrap();
        for _ in 0..2 {
            marker.reopen(&host).unwrap();
            assert!(!host.path("/var/lib/flexnode/joined.aa").exists());
            assert_eq!(Past::read(&host, "aa").unwrap(), Past::Own(marker.clone()));
        }
        marker.write_joined(&host).unwrap();
        assert!(marker.is_joined(&host).unwrap());
    }

    #[test]
    fn a_torn_marker_is_none() {
        let (_root, host) = host();
        fs::write(host.path("/var/lib/flexnode/joined.aa"), "{\"version\":1").unwrap();
        assert_eq!(Past::read(&host, "aa").unwrap(), Past::None);
    }
}
