//! What `strace` wrote down of a join.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The system calls that run programs, make files, send bytes somewhere, or decide about core dumps.
const CALLS: &str = "execve,execveat,open,openat,openat2,creat,mkdir,mkdirat,chmod,fchmod,fchmodat,rename,renameat,\
                     renameat2,write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,sendmmsg,prctl,prlimit64,setrlimit";

/// All threads of all processes, in the order in which they began.
pub(crate) struct Trace(Vec<Thread>);

/// The system calls of one thread, in their order.
pub(crate) struct Thread(Vec<String>);

/// `command` with a umask and under `strace`, which writes one file per thread into `folder`.
pub(crate) fn traced(command: &Command, umask: &str, folder: &Path) -> Command {
    let mut traced = Command::new("strace");
    // Whole strings, whole environments, and of each descriptor what it leads to.
    traced.args(["--seccomp-bpf", "-ff", "-qq", "-yy", "-v", "-s", "65536", "-e"]);
    traced.arg(format!("trace={CALLS}")).arg("-o").arg(folder.join("trace")).arg("--");
    traced.args(["sh", "-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]);
    traced.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            traced.env(name, value);
        }
    }
    traced
}

impl Trace {
    pub(crate) fn read(folder: &Path) -> Self {
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort_by_key(|file| file.extension().unwrap().to_str().unwrap().parse::<u32>().unwrap());
        let lines = |text: Vec<u8>| String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
        Self(files.into_iter().map(|file| Thread(lines(fs::read(file).unwrap()))).collect())
    }

    /// The agent's own thread.
    pub(crate) fn agent(&self) -> &Thread {
        let is_agent = |thread: &&Thread| thread.calls(&["execve"]).any(|call| call.contains("flexnode-firstboot\""));
        self.0.iter().find(is_agent).unwrap()
    }

    /// Every call by its name.
    pub(crate) fn calls<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = &'a str> {
        self.0.iter().flat_map(|thread| thread.calls(names))
    }
}

impl Thread {
    pub(crate) fn calls<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = &'a str> {
        let is_named = |call: &&String| names.iter().any(|name| call.starts_with(&format!("{name}(")));
        self.0.iter().filter(is_named).map(String::as_str)
    }

    /// Where the first such call stands.
    pub(crate) fn position(&self, is_it: impl Fn(&str) -> bool) -> Option<usize> {
        self.0.iter().position(|call| is_it(call))
    }
}

/// What the first descriptor of a call leads to: a path, `pipe:[…]`, `TCP:[…]`, `UNIX:[…]`.
pub(crate) fn destination(call: &str) -> &str {
    let after = call.split_once('<').map_or(call, |(_, after)| after);
    // A path may hold no `>`, and a connection's arrow is `->`.
    let end = after.match_indices('>').find(|(at, _)| !after[..*at].ends_with('-')).map_or(after.len(), |(at, _)| at);
    &after[..end]
}

/// The file that a call opens for writing or makes, and the rest of its arguments.
pub(crate) fn opened(call: &str) -> Option<(&str, &str)> {
    let (_, after) = call.split_once('"')?;
    after.split_once('"')
}

#[test]
fn a_call_is_read_as_strace_writes_it() {
    let write = r#"write(9</run/x/.a.json.partial>, "{\"a\":1}\n", 8) = 8"#;
    assert_eq!(destination(write), "/run/x/.a.json.partial");
    let send = r#"sendto(12<TCP:[127.0.0.1:1->127.0.0.1:2]>, "GET", 3, MSG_NOSIGNAL, NULL, 0) = 3"#;
    assert_eq!(destination(send), "TCP:[127.0.0.1:1->127.0.0.1:2]");
    let open = r#"openat(AT_FDCWD</tmp>, "/run/x", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 9</run/x>"#;
    assert_eq!(opened(open), Some(("/run/x", ", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 9</run/x>")));
}
