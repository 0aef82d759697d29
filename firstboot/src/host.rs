//! The machine as the join sees it: where its files are, how its programs are found, how fast time passes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::command::Commands;
use crate::config::kubernetes::NodeName;
use crate::failure::{Exit, Failure};
use crate::himds;
use crate::retry::Pace;

/// Everything of the machine that a join depends on. Nothing of it is global: a process may join many.
#[derive(Debug, Clone)]
pub struct Host {
    /// Below which all node paths lie; `/` on a node.
    pub root: PathBuf,
    /// Address of the Arc agent's identity endpoint.
    pub himds: String,
    /// The only directory that its challenges may name.
    pub himds_tokens: PathBuf,
    /// How programs are found.
    pub commands: Commands,
    /// Multiplies every pause and deadline.
    pub pace: Pace,
    /// The first request of a machine that has not joined is delayed by a random part of this.
    pub max_start_delay: Duration,
    /// systemd's `$CREDENTIALS_DIRECTORY`.
    pub credentials_directory: Option<PathBuf>,
    /// The host name that the kernel or the image says.
    pub host_name: String,
}

impl Host {
    /// The machine whose files lie below `root`, with a node's own addresses.
    ///
    /// # Errors
    /// When the host name of a lab's root cannot be read.
    pub fn new(root: &Path) -> Result<Self> {
        let is_node = root == Path::new("/");
        let host_name = if is_node {
            rustix::system::uname().nodename().to_string_lossy().into_owned()
        } else {
            let path = below(root, "/etc/hostname");
            std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?.trim().to_owned()
        };
        Ok(Self {
            root: root.to_owned(),
            himds: himds::ENDPOINT.to_owned(),
            himds_tokens: below(root, himds::TOKENS),
            commands: Commands::default(),
            pace: Pace::default(),
            max_start_delay: Duration::ZERO,
            credentials_directory: None,
            host_name,
        })
    }

    /// Where a path of the node is.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        below(&self.root, path)
    }

    /// `/etc/machine-id`, which tells a machine from its clone.
    ///
    /// # Errors
    /// When it is missing or not 32 hex digits.
    pub fn machine_id(&self) -> Result<String> {
        let path = self.path("/etc/machine-id");
        let id = std::fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
        if id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(id.to_ascii_lowercase());
        }
        let hint =
            "`systemd-machine-id-setup` writes one; a golden image carries an empty file, filled at the first boot";
        Err(Failure::new(Exit::Local, format!("{} holds no machine id", path.display()), hint).into())
    }

    /// Name of the Node: that of the config, else the host's in lower case.
    ///
    /// # Errors
    /// When the host has no name of its own or one that Kubernetes cannot take.
    pub fn node_name(&self, configured: Option<&NodeName>) -> Result<String> {
        if let Some(name) = configured {
            return Ok(name.to_string());
        }
        let name = self.host_name.to_ascii_lowercase();
        let own = !matches!(name.as_str(), "localhost" | "localhost.localdomain" | "ubuntu");
        if own && name.parse::<NodeName>().is_ok() {
            return Ok(name);
        }
        let message = format!("the host name {name:?} cannot be the name of a node");
        Err(Failure::new(Exit::BadConfig, message, "`hostnamectl set-hostname NAME`, or set node.name").into())
    }
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/hostname"), name).unwrap();
        let host = Host::new(root.path()).unwrap();
        (root, host)
    }

    #[test]
    fn a_name_that_every_image_has_is_no_name() {
        assert_eq!(host("Edge-7\n").1.node_name(None).unwrap(), "edge-7");
        for shared in ["localhost", "ubuntu", "", "edge_7"] {
            assert!(host(shared).1.node_name(None).is_err(), "{shared}");
        }
        let configured = "other".parse().unwrap();
        assert_eq!(host("localhost").1.node_name(Some(&configured)).unwrap(), "other");
    }

    #[test]
    fn an_uninitialized_machine_id_is_none() {
        let (root, host) = host("a");
        for (id, holds) in [("uninitialized\n", false), ("", false), ("0123456789abcdef0123456789ABCDEF\n", true)] {
            std::fs::write(root.path().join("etc/machine-id"), id).unwrap();
            assert_eq!(host.machine_id().is_ok(), holds, "{id}");
        }
    }
}
