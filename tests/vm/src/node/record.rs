//! What is kept of a run, in one folder: the console, the journal of every boot, and what Azure was asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::Node;

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
            eprintln!("node: console, journal and requests of this run are in {}", self.0.display());
        }
    }

    fn keep(&self, node: &Node) -> Result<()> {
        let requests: String = node.azure.requests().iter().map(|request| format!("{request}\n")).collect();
        fs::write(self.0.join("requests.txt"), requests).context("keep the requests")?;
        let console = node.console();
        if !console.exists() {
            return Ok(()); // It was never booted.
        }
        fs::copy(console, self.0.join("console.log")).context("keep the console's log")?;
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
