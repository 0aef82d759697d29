//! What is kept of a run, in one folder: the console, the journal of every boot, all that was sent, what Azure was asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{Node, NodeLane};

/// The folder, and whether it is complete.
#[derive(Debug)]
pub(super) struct Record(PathBuf);

impl Record {
    /// An empty folder for it.
    pub(super) fn begin(folder: &Path) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder).context("remove the record of an earlier run")?;
        }
        fs::create_dir_all(folder).with_context(|| format!("create `{}`", folder.display()))?;
        Ok(Self(folder.to_owned()))
    }

    /// Keeps what there is when a run is over, however it ended, and names the folder where the test has failed.
    pub(super) fn end(&self, node: &Node) {
        let kept = self.keep(node);
        if let Err(error) = &kept {
            eprintln!("node: the record of this run is not whole: {error:#}");
        }
        if std::thread::panicking() {
            eprintln!("node: console, journal, traffic and requests of this run are in {}", self.0.display());
        }
    }

    pub(super) fn note(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.0.join(name), text).with_context(|| format!("keep `{name}`"))
    }

    fn keep(&self, node: &Node) -> Result<()> {
        let requests: String = node.azure.requests().iter().map(|request| format!("{request}\n")).collect();
        self.note("requests.txt", &requests)?;
        let console = node.console();
        if !console.exists() {
            return Ok(()); // It was never booted.
        }
        fs::copy(console, self.0.join("console.log")).context("keep the console's log")?;
        // The line of a container is there without it; of a virtual machine that is off there are the packets alone.
        match node.lane {
            NodeLane::Container { .. } => node.traffic()?.keep(&self.0)?,
            NodeLane::Vm { .. } => drop(fs::copy(node.folder().join("traffic.pcap"), self.0.join("traffic.pcap"))),
        }
        // Read from the disk: after a power cut nobody is there to be asked.
        let output = Command::new("journalctl")
            .args(["--no-pager", "--quiet", "--output=short-precise", "--directory"])
            .arg(node.path("/var/log/journal"))
            .output()
            .context("run journalctl")?;
        fs::write(self.0.join("journal.txt"), &output.stdout).context("keep the journal")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "journalctl: {}", said.trim_end());
        Ok(())
    }
}
