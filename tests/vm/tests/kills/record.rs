//! The system calls by which a run changes the machine, as strace saw them.

use std::collections::HashMap;
use std::fs;

use super::machine::{Machine, under};

/// Everything by which the agent changes files or starts programs.
const CHANGES: &str = "openat,creat,write,pwrite64,rename,renameat,renameat2,unlink,unlinkat,rmdir,fsync,fdatasync,\
                       syncfs,sync,fchmod,chmod,fchmodat,chown,fchown,ftruncate,mkdir,mkdirat,symlink,symlinkat,link,\
                       linkat,clone,clone3,vfork,fork";

/// One call of a run.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// What it is about, below the machine's directory (`.` is that); none for the start of a program.
    pub(crate) path: Option<String>,
    /// Which of the calls with the same name and path.
    pub(crate) nth: u32,
    /// Whether it did anything.
    pub(crate) worked: bool,
    /// Where a renamed file is then.
    pub(crate) to: Option<String>,
}

impl Call {
    /// Whether it starts a program.
    pub(crate) fn starts_a_program(&self) -> bool {
        self.path.is_none()
    }

    /// Whether it gives, takes or changes a name in the directory of its path.
    pub(crate) fn changes_a_directory(&self) -> bool {
        ["rename", "unlink", "mkdir", "rmdir", "symlink", "link"].iter().any(|verb| self.name.starts_with(verb))
    }
}

/// Runs the agent to its end, and lists its changes of the machine in their order.
pub(crate) fn record(machine: &Machine) -> Vec<Call> {
    let agent = machine.site.join();
    let log = machine.dir().join("strace");
    let mut command = under("/usr/bin/strace", &agent);
    command.args(["-qq", "-y", "-o"]).arg(&log).args(["-e", &format!("trace={CHANGES}"), "-e", "signal=none"]);
    let output = command.arg(agent.get_program()).args(agent.get_args()).output().unwrap();
    assert!(output.status.success(), "{}", super::machine::said(&output));
    machine.waits_for_the_kubelet();
    let mut seen = HashMap::new();
    let text = fs::read_to_string(&log).unwrap();
    fs::remove_file(log).unwrap();
    let calls = text.lines().filter_map(|line| parse(line, &machine.dir().display().to_string()));
    calls
        .map(|mut call| {
            let nth = seen.entry((call.name.clone(), call.path.clone())).or_insert(0);
            *nth += 1;
            call.nth = *nth;
            call
        })
        .collect()
}

/// A line of strace, if it is about the machine.
fn parse(line: &str, dir: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let name = name.to_owned();
    let worked = !result.starts_with('-') && !result.starts_with('?');
    let call = |path, to| Some(Call { name: name.clone(), path, nth: 0, worked, to });
    match name.as_str() {
        "clone" | "clone3" | "vfork" | "fork" => return call(None, None),
        "openat" if !arguments.contains("O_CREAT") => return None,
        _ => {}
    }
    let quoted: Vec<&str> = arguments.split('"').skip(1).step_by(2).collect();
    let (path, to) = match name.as_str() {
        "write" | "pwrite64" | "fsync" | "fdatasync" | "syncfs" | "fchmod" | "fchown" | "ftruncate" => {
            (arguments.split_once('<')?.1.split('>').next()?, None)
        }
        _ => (*quoted.first()?, quoted.get(1).copied()),
    };
    let below = |path: &str| match path.strip_prefix(dir) {
        Some("") => Some(".".to_owned()),
        Some(below) => below.strip_prefix('/').map(str::to_owned),
        None => None,
    };
    call(Some(below(path)?), to.filter(|_| name.starts_with("rename")).and_then(below))
}
