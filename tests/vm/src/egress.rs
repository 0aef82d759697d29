//! The proof that a bundle's first boot talks to Azure and to nobody else, for anybody's bundle: `flexnode-vm egress`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use flexnode_build::failure::{Class, Failure};
use serde_json::{Value, json};

use crate::azure::{Cloud, contoso};
use crate::node::{Guest, Node, Traffic};

/// What to prove it of.
#[derive(Debug)]
pub struct Egress {
    /// The bundle.
    pub bundle: PathBuf,
    /// How long its first boot may take.
    pub patience: Duration,
    /// Where to keep the record.
    pub keep: Option<PathBuf>,
}

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    /// Whether the agent's unit has ended well, which it does when the Node is ready.
    pub joined: bool,
    /// All that the machine has sent until then.
    pub traffic: Traffic,
    status: String,
}

impl Egress {
    /// Boots the bundle and waits for the agent's end. `program` is a flexnode-vm.
    ///
    /// # Errors
    /// When it cannot be booted, or its traffic was not recorded as a whole.
    pub fn watch(&self, program: &Path) -> Result<Seen> {
        if !rustix::process::geteuid().is_root() {
            let failure = Failure::new(Class::Local, "a machine can be booted by root only");
            return Err(failure.hint("run it with sudo").into());
        }
        if let Some(dir) = &self.keep {
            fs::create_dir_all(dir).with_context(|| format!("create `{}`", dir.display()))?;
        }
        let node = Node::prepare(contoso::world().cloud(Cloud::Public), &self.bundle, program)?;
        node.replace_agent(program)?;
        eprintln!("egress: booting {}", self.bundle.display());
        let guest = node.boot()?;
        let seen = self.until_joined(&node, &guest);
        if let Some(dir) = &self.keep {
            keep(dir, &node, &guest)?;
            seen.as_ref().map_or(Ok(()), |seen| seen.traffic.keep(dir))?;
        }
        seen
    }

    fn until_joined(&self, node: &Node, guest: &Guest) -> Result<Seen> {
        let seconds = self.patience.as_secs().to_string();
        // The boot has begun this job: it is waited for.
        let ended = guest.run("timeout", &[&seconds, "systemctl", "start", "flexnode-firstboot.service"])?;
        let joined = ended.status.success();
        let traffic = node.traffic()?;
        let said = guest.run("flexnode-firstboot", &["status"])?;
        let status = String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or("nothing is known").to_owned();
        Ok(Seen { joined, traffic, status })
    }
}

fn keep(dir: &Path, node: &Node, guest: &Guest) -> Result<()> {
    let journal = guest.ask("journalctl", &["--no-pager", "--boot", "--output=short-precise"])?;
    fs::write(dir.join("journal.txt"), journal).context("keep the journal")?;
    let requests: String = node.azure.requests().iter().map(|request| format!("{request}\n")).collect();
    fs::write(dir.join("requests.txt"), requests).context("keep the requests")?;
    for name in ["console.log", "traffic.pcap"] {
        fs::copy(node.folder().join(name), dir.join(name)).with_context(|| format!("keep `{name}`"))?;
    }
    Ok(())
}

impl Seen {
    /// The list for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let elsewhere = self.traffic.elsewhere().len();
        json!({"version": 1, "joined": self.joined, "elsewhere": elsewhere, "traffic": self.traffic})
    }

    /// Whether it is a proof.
    ///
    /// # Errors
    /// When something went elsewhere, or the machine has not joined.
    pub fn conclude(&self) -> Result<()> {
        let elsewhere = self.traffic.elsewhere();
        if let Some(first) = elsewhere.first() {
            let first = first.sent.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
            let message = match elsewhere.len() {
                1 => format!("this went elsewhere than to Azure: {first}"),
                count => format!("{count} things went elsewhere than to Azure, first {first}"),
            };
            let failure = Failure::new(Class::Verification, message);
            return Err(failure.hint("the list shows all; --keep DIR keeps the packets and the journal").into());
        }
        if !self.joined {
            let message = format!("it went nowhere but to Azure, and has not joined: {}", self.status);
            let failure = Failure::new(Class::Local, message);
            return Err(failure
                .hint("--keep DIR keeps the journal, which shows why; --timeout gives it longer")
                .into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::node::{Entry, Sent, Verdict};

    fn concluded(joined: bool, verdicts: &[Verdict]) -> (Option<Class>, String) {
        let entry = |&verdict: &Verdict| Entry {
            seconds: 0,
            count: 1,
            verdict,
            sent: Sent::Connection { to: SocketAddr::from(([203, 0, 113, 9], 443)) },
        };
        let traffic = Traffic { entries: verdicts.iter().map(entry).collect() };
        let result = Seen { joined, traffic, status: "not joined: at arc".to_owned() }.conclude();
        let Err(error) = result else { return (None, String::new()) };
        (Some(Failure::describe(&error).0), error.to_string())
    }

    #[test]
    fn it_is_a_proof_only_if_the_node_has_joined_and_nothing_went_elsewhere() {
        use Verdict::{Azure, Elsewhere, Line};
        assert_eq!(concluded(true, &[Line, Azure]), (None, String::new()));
        let told = "this went elsewhere than to Azure: TCP 203.0.113.9:443".to_owned();
        assert_eq!(concluded(true, &[Azure, Elsewhere]), (Some(Class::Verification), told));
        let told = "2 things went elsewhere than to Azure, first TCP 203.0.113.9:443".to_owned();
        assert_eq!(concluded(false, &[Elsewhere, Elsewhere]), (Some(Class::Verification), told));
        let told = "it went nowhere but to Azure, and has not joined: not joined: at arc".to_owned();
        assert_eq!(concluded(false, &[Azure]), (Some(Class::Local), told));
    }
}
