//! How a run is cut off: by the agent at a point of its own, or by the kernel before a system call.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus};
use std::sync::Once;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process_group, set_child_subreaper, waitpgid};

use super::machine::{Machine, under};
use super::record::Call;

/// Where a run is cut off.
#[derive(Debug, Clone)]
pub(crate) enum Cut {
    /// At the nth of the agent's own points (`--kill-at`).
    Point(u32),
    /// By the kernel, without any help of the agent, in place of this call.
    InPlaceOf(Call),
}

impl Cut {
    /// Runs the agent of `machine`, and tells whether it was killed before it had ended by itself.
    ///
    /// What it was running dies with it, as by a power cut or by systemd, which ends a whole control group.
    pub(crate) fn kills(&self, machine: &Machine) -> bool {
        let mut command = match self {
            Self::Point(nth) => {
                let mut command = machine.site.join();
                command.args(["--kill-at", &nth.to_string()]);
                command
            }
            Self::InPlaceOf(call) => traced(machine, call),
        };
        let said = machine.dir().join("said");
        command.stdout(File::create(&said).unwrap()).stderr(File::options().append(true).open(&said).unwrap());
        let status = ends_with_all_it_runs(&mut command);
        match (status.signal(), status.code()) {
            (Some(9), _) => true,
            (_, Some(0)) => false,
            _ => panic!("it ended by itself: {status}\n{}", fs::read_to_string(said).unwrap()),
        }
    }
}

/// The agent under strace, which watches the agent alone and not what it runs.
fn traced(machine: &Machine, call: &Call) -> Command {
    let agent = machine.site.join();
    let mut command = under("/usr/bin/strace", &agent);
    command.args(["-qq", "-o", "/dev/null", "-e", &format!("trace={}", call.name)]);
    command.args(["-e", &format!("inject={}:signal=KILL:when={}", call.name, call.nth)]);
    if let Some(path) = &call.path {
        // Compared as text, so the directory itself may not end in a dot.
        command.arg("-P").arg(if path == "." { machine.dir().to_owned() } else { machine.dir().join(path) });
    }
    command.arg(agent.get_program()).args(agent.get_args());
    command
}

/// Runs the command to its end, ends what it left running, and waits for the end of that.
fn ends_with_all_it_runs(command: &mut Command) -> ExitStatus {
    let mut child = command.process_group(0).spawn().unwrap();
    let group = Pid::from_child(&child);
    let status = child.wait().unwrap();
    // That nothing is left is the usual case.
    let _ = kill_process_group(group, Signal::KILL);
    while waitpgid(group, WaitOptions::empty()).is_ok() {}
    status
}

/// Orphans become this process's children, so that their end can be waited for.
pub(crate) fn adopt_orphans() {
    static ADOPTS: Once = Once::new();
    ADOPTS.call_once(|| set_child_subreaper(Some(getpid())).unwrap());
}
