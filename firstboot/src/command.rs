//! Other programs of the machine: found on PATH, given no secret, never left waiting, killed with the join.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

use crate::crash;
use crate::failure::{Exit, Failure, plain};

/// How programs are found and run.
#[derive(Debug, Clone, Default)]
pub struct Commands {
    /// The PATH to search instead of the environment's.
    pub path: Option<OsString>,
    /// Further variables for every program. No secret has a place here.
    pub environment: Vec<(OsString, OsString)>,
}

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Whether it ended with status 0.
    pub success: bool,
    /// Its exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// Both outputs as one line that may be shown.
    #[must_use]
    pub fn summary(&self) -> String {
        let said = plain(&format!("{} {}", self.stderr, self.stdout));
        match (said.is_empty(), self.status) {
            (false, _) => said,
            (true, Some(status)) => format!("it ended with status {status} and said nothing"),
            (true, None) => "a signal ended it".to_owned(),
        }
    }
}

impl Commands {
    /// Whether there is such a program on PATH.
    #[must_use]
    pub fn has(&self, program: &str) -> bool {
        self.find(OsStr::new(program)).is_some()
    }

    fn find(&self, program: &OsStr) -> Option<PathBuf> {
        let path = self.path.clone().or_else(|| std::env::var_os("PATH")).unwrap_or_default();
        std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| {
            file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
        })
    }

    /// Runs `program` to its end. Its arguments are there for every process to read: no secret goes there.
    ///
    /// # Errors
    /// When it cannot be started, or has not ended after `longest`.
    pub async fn run(&self, program: &str, arguments: &[&str], longest: Duration) -> Result<Said> {
        let words: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        match self.output(OsStr::new(program), &words, longest).await {
            Ok(output) => Ok(Said {
                success: output.status.success(),
                status: output.status.code(),
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let line = format!("{program} {}", arguments.join(" "));
                let message = format!("`{line}` has not ended after {} s", longest.as_secs());
                Err(Failure::new(Exit::Transient, message, format!("run `{line}` by hand to see why")).into())
            }
            Err(error) => {
                let hint = format!("see whether {program} is installed and executable: `command -v {program}`");
                Err(Failure::new(Exit::Local, format!("cannot run {program}: {error}"), hint).into())
            }
        }
    }

    /// The same, for whoever reads the output's bytes.
    ///
    /// # Errors
    /// When it cannot be started; `TimedOut` when it has not ended after `longest`.
    pub(crate) async fn output(&self, program: &OsStr, arguments: &[&OsStr], longest: Duration) -> io::Result<Output> {
        // By its path, not by its name: with a PATH of its own the standard library would look for a name after a
        // fork, whose child holds a copy of our memory until it is found. What is not found fails below.
        let mut command = Command::new(self.find(program).unwrap_or_else(|| program.into()));
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            // systemd's own channels are ours, not a child's; and messages are parsed, so they stay in one language.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("CREDENTIALS_DIRECTORY")
            .env("LC_ALL", "C.UTF-8")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        crash::point();
        let child = command.spawn()?;
        let group = Group(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)));
        let output = tokio::time::timeout(longest, child.wait_with_output()).await;
        let output = output.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        group.has_ended();
        crash::point();
        Ok(output)
    }
}

/// A program and all that it has started: killed together unless it has ended. Azure CLI, for one, is a script that
/// waits for Python.
struct Group(Option<Pid>);

impl Group {
    fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It fails for a group that is gone, which is as good.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_and_one_that_is_missing_is_named() {
        let commands = Commands::default();
        let hangs = commands.run("sleep", &["60"], Duration::from_millis(50)).await.expect_err("it hangs");
        assert_eq!(Failure::describe(&hangs).0, Exit::Transient);
        let missing = commands.run("flexnode-no-such-program", &[], Duration::from_secs(1)).await;
        assert_eq!(Failure::describe(&missing.expect_err("it is missing")).0, Exit::Local);
        assert!(commands.has("sh") && !commands.has("flexnode-no-such-program"));
    }

    #[tokio::test]
    async fn outputs_and_status_come_back() {
        let said =
            Commands::default().run("sh", &["-c", "echo out; echo err >&2; exit 3"], Duration::from_secs(10)).await;
        let said = said.unwrap();
        assert_eq!((said.success, said.status, said.summary().as_str()), (false, Some(3), "err out"));
    }
}
