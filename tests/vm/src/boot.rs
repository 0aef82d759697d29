//! One boot for people to watch: a machine, its Azure, and the time from power-on to a ready Node.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::azure::contoso;
use crate::node::{Guest, Lane, NAME, Node, Timeline};

/// What to boot, and where to keep what it said.
#[derive(Debug, Clone)]
pub struct Boot {
    /// In a container or a virtual machine.
    pub lane: Lane,
    /// The bundle.
    pub bundle: PathBuf,
    /// The folder for console, journal, requests, traffic and timeline.
    pub keep: PathBuf,
}

/// For the join, and for the Node to be ready after it.
const PATIENCE: Duration = Duration::from_secs(600);

impl Boot {
    /// Boots until the Node is ready; the timeline, and what kubectl sees from the machine. `stand_in` is a flexnode-vm.
    ///
    /// # Errors
    /// When it does not come so far.
    pub fn run(&self, stand_in: &Path) -> Result<(Timeline, String)> {
        fs::create_dir_all(&self.keep).with_context(|| format!("create `{}`", self.keep.display()))?;
        eprintln!("boot: preparing a machine");
        let node = Node::prepare_on(self.lane, contoso::world(), &self.bundle, stand_in)?;
        eprintln!("boot: power on");
        let guest = match node.boot() {
            Ok(guest) => guest,
            Err(error) => {
                self.keep_console(&node)?;
                return Err(error);
            }
        };
        let joined = self.join(&node, &guest);
        // What there is of a record helps most where something went wrong.
        let kept = self.keep(&node, &guest);
        let (timeline, seen) = joined?;
        kept?;
        fs::write(self.keep.join("timeline.txt"), timeline.to_string()).context("keep the timeline")?;
        guest.power_off()?;
        Ok((timeline, seen))
    }

    fn join(&self, node: &Node, guest: &Guest) -> Result<(Timeline, String)> {
        eprintln!("boot: systemd is up; waiting for the Node to be ready");
        let unit = guest.run("systemctl", &["start", "flexnode-firstboot.service"])?;
        ensure!(unit.status.success(), "flexnode-firstboot failed: {}", status(guest)?);
        let ready = node.await_ready(guest, NAME, PATIENCE)?;
        let timeline = Timeline::of(guest, Some(ready))?;
        let seen = guest.ask("kubectl", &["--kubeconfig", "/var/lib/kubelet/kubeconfig", "get", "nodes"])?;
        Ok((timeline, seen))
    }

    fn keep(&self, node: &Node, guest: &Guest) -> Result<()> {
        let journal = guest.run("journalctl", &["--no-pager", "--output=short-monotonic"])?;
        let mut file = fs::File::create(self.keep.join("journal.txt")).context("keep the journal")?;
        file.write_all(&journal.stdout).context("keep the journal")?;
        let requests: String = node.azure.requests().iter().map(|request| format!("{request}\n")).collect();
        fs::write(self.keep.join("requests.txt"), requests).context("keep the requests")?;
        self.keep_console(node)?;
        node.traffic()?.keep(&self.keep)
    }

    fn keep_console(&self, node: &Node) -> Result<()> {
        fs::copy(node.console(), self.keep.join("console.log")).context("keep the console's log")?;
        Ok(())
    }
}

fn status(guest: &Guest) -> Result<String> {
    // It ends with another status than 0 where the join has failed.
    let output = guest.run("flexnode-firstboot", &["status"])?;
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
