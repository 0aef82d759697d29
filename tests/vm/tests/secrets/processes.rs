//! Processes that run while a test looks at them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, Signal, kill_process};

/// A test that has waited so long waits in vain.
pub(crate) const FOREVER: Duration = Duration::from_secs(120);

/// A pipe at which a program waits.
pub(crate) struct Pause(PathBuf);

impl Pause {
    pub(crate) fn at(path: PathBuf) -> Self {
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns when a program waits, and lets it go on when what is returned is dropped.
    pub(crate) fn reached(&self) -> File {
        let (sender, reached) = mpsc::channel();
        let path = self.0.clone();
        // Opening waits for the other end.
        std::thread::spawn(move || sender.send(File::options().write(true).open(path).unwrap()));
        reached.recv_timeout(FOREVER).unwrap()
    }
}

/// The children of a process.
pub(crate) fn children(of: u32) -> Vec<u32> {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    processes.filter(|process| parent(*process) == Some(of)).collect()
}

/// None for a process that has ended meanwhile.
fn parent(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// The one child of a process.
pub(crate) fn child(of: u32) -> u32 {
    let children = children(of);
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}

pub(crate) fn send(signal: Signal, process: u32) {
    kill_process(Pid::from_raw(process.try_into().unwrap()).unwrap(), signal).unwrap();
}

/// Whether the process may leave no core dump, by its limits.
pub(crate) fn leaves_no_core(process: u32) -> bool {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    core.split_whitespace().take(2).all(|limit| limit == "0")
}
