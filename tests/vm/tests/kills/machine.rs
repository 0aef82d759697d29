//! A machine of its own for each case, with an Azure of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flexnode_vm::azure::contoso;
use flexnode_vm::join::Site;
use rustix::process::{Pid, WaitOptions, waitpid};
use tempfile::TempDir;

use super::cut::adopt_orphans;

/// Files that the kubelet reads when it starts.
const KUBELET_READS: [&str; 3] =
    ["etc/flexnode/kubelet.env", "etc/kubernetes/pki/ca.crt", "var/lib/kubelet/kubeconfig"];
const RESTART_NOTE: &str = "var/lib/flexnode/kubelet-restart-due";

pub(crate) struct Machine {
    pub(crate) site: Site,
    dir: TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        adopt_orphans();
        // In memory where that can be had: what is synced is looked at, not waited for.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let agent = std::env::current_exe().unwrap().with_file_name("../flexnode-firstboot").canonicalize().unwrap();
        let site = Site::open(dir.path(), Path::new(env!("CARGO_BIN_EXE_flexnode-vm")), &agent).unwrap();
        // So that every run of a story asks the same questions, which are counted.
        fs::write(dir.path().join("kubelet.env"), "PROMPT=1\n").unwrap();
        Self { site, dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir().join("root").join(path)
    }

    /// The agent runs, and the node has joined when it ends.
    pub(crate) fn joins(&self) {
        let output = self.site.join().output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        self.waits_for_the_kubelet();
    }

    /// Until a kubelet that was started has done what it does first.
    pub(crate) fn waits_for_the_kubelet(&self) {
        let pid = self.dir().join("units/kubelet.pid");
        if let Ok(number) = fs::read_to_string(&pid) {
            // An orphan, and so this process's: the number is no other's until it has been waited for.
            waitpid(Pid::from_raw(number.trim().parse().unwrap()), WaitOptions::empty()).unwrap();
            fs::remove_file(pid).unwrap();
        }
    }

    /// A run after another was cut off: it joins, and restarts the kubelet if that has not read what is on disk, or if
    /// nobody can know.
    pub(crate) fn joins_and_restarts_the_kubelet_only_when_due(&self) {
        let runs = self.dir().join("units/kubelet.service.active").exists();
        let noted = self.path(RESTART_NOTE).exists();
        let (read, asked) = (self.kubelet_reads(), self.site.systemctl_log().len());
        self.joins();
        let log = self.site.systemctl_log()[asked..].to_owned();
        let count = |verb: &str| log.lines().filter(|line| *line == format!("{verb} kubelet.service")).count();
        let runs_on = runs && count("stop") == 0;
        let due = runs_on && (noted || self.kubelet_reads() != read);
        assert_eq!(count("restart"), usize::from(due), "restarts of the kubelet in\n{log}");
        assert_eq!(count("start"), usize::from(!runs_on), "starts of the kubelet in\n{log}");
    }

    /// Off and on again: what is in memory is lost, and systemd starts what is enabled.
    pub(crate) fn reboots(&self) {
        for unit in ["kubelet.service", "containerd.service"] {
            self.site.systemctl().args(["stop", unit]).output().unwrap();
        }
        if self.path("run").exists() {
            fs::remove_dir_all(self.path("run")).unwrap();
        }
        self.site.game.himds.restart();
        for unit in ["containerd.service", "kubelet.service"] {
            if self.dir().join("units").join(format!("{unit}.enabled")).exists() {
                self.site.systemctl().args(["start", unit]).output().unwrap();
            }
        }
    }

    /// One more file of the node's config.
    pub(crate) fn is_configured(&self, name: &str, text: &str) {
        let directory = self.dir().join("config.d");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), text).unwrap();
    }

    /// The file of the operator's secret.
    pub(crate) fn secret(&self) -> PathBuf {
        self.dir().join("client-secret")
    }

    /// Its owner puts the secret back.
    pub(crate) fn gets_the_secret(&self) {
        fs::write(self.secret(), contoso::SECRET).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(self.secret(), private).unwrap();
    }

    fn kubelet_reads(&self) -> Vec<Option<Vec<u8>>> {
        KUBELET_READS.iter().map(|path| fs::read(self.path(path)).ok()).collect()
    }
}

pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The command under another program, with the same environment.
pub(crate) fn under(program: &str, command: &Command) -> Command {
    let mut outer = Command::new(program);
    outer.env_clear();
    for (name, value) in command.get_envs() {
        outer.env(name, value.unwrap_or_default());
    }
    outer
}
