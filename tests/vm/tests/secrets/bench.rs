//! A machine with canaries for secrets, and everything that a run of the agent on it shows or leaves.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;

use flexnode_vm::azure::{Fault, Operation, When, contoso};
use flexnode_vm::join::Site;
use tempfile::TempDir;

use crate::canaries::Canaries;
use crate::processes::FOREVER;
use crate::trace::{Trace, destination, opened, traced};

pub(crate) struct Bench {
    here: TempDir,
    pub(crate) site: Site,
    /// The part of the operator's secret that no format escapes.
    pub(crate) core: String,
    /// The secret itself.
    pub(crate) secret: String,
    /// Files that may hold a secret.
    pub(crate) allowed: Vec<PathBuf>,
    /// Whether systemd runs the agent; otherwise somebody does by hand, with a umask that hides nothing.
    pub(crate) by_systemd: bool,
}

/// A run that may still be going on.
pub(crate) struct Run<'a> {
    bench: &'a Bench,
    pub(crate) process: Child,
    trace: TempDir,
    output: [PathBuf; 2],
    datagrams: [Datagrams; 2],
}

/// A run that has ended, searched.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// Both outputs.
    pub(crate) said: String,
    /// What the journal got.
    pub(crate) journal: String,
    /// What systemd was told.
    pub(crate) notified: String,
    pub(crate) trace: Trace,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let here = tempfile::tempdir().unwrap();
        let agent = std::env::current_exe().unwrap().with_file_name("../flexnode-firstboot").canonicalize().unwrap();
        let site = Site::open(here.path(), Path::new(env!("CARGO_BIN_EXE_flexnode-vm")), &agent).unwrap();
        // Every test has another, so that none finds what another left.
        let random = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().trim().replace('-', "");
        let core = format!("Canary{random}");
        // Of the kinds of characters that Entra ID puts into secrets.
        let secret = format!("{core}~8Q.x_-");
        site.game.emulator.change_secret(contoso::APP, &secret);
        let mut bench = Self { here, site, core, secret, allowed: Vec::new(), by_systemd: true };
        let kept = bench.write("client-secret", &bench.secret);
        // The Arc agent's own state is its own affair.
        bench.allowed.extend([kept, bench.site.game.state.clone()]);
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.here.path().canonicalize().unwrap().join(name)
    }

    /// Writes a file that only its owner can read.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.unwrap().write_all(text.as_bytes()).unwrap();
        path
    }

    /// Rewrites the config.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let config = fs::read_to_string(&self.site.game.config).unwrap();
        let changed = change(config.clone());
        assert_ne!(config, changed);
        fs::write(&self.site.game.config, changed).unwrap();
    }

    /// The config's line that names the secret's file.
    pub(crate) fn secret_line(&self) -> String {
        format!("clientSecretFile: {}", self.path("client-secret").display())
    }

    pub(crate) fn canaries(&self) -> Canaries {
        Canaries::new(&self.core, &self.site.game.emulator.tokens(), &self.site.game.himds.secrets())
    }

    /// From now on, `azcmagent connect` waits for Azure's answer. A message comes when it does.
    pub(crate) fn hold_connect(&self) -> Receiver<()> {
        let (sender, held) = mpsc::channel();
        self.site.game.emulator.inject(When::operation(Operation::MachineWrite), Fault::Hang);
        self.site.game.emulator.observe(move |request| {
            if request.operation == Operation::MachineWrite {
                // Nobody waits for a second one.
                let _ = sender.send(());
            }
        });
        held
    }

    /// Starts `command` with every log turned up, under `strace`.
    pub(crate) fn start(&self, mut command: Command) -> Run<'_> {
        let trace = tempfile::tempdir().unwrap();
        let output = ["stdout", "stderr"].map(|name| self.path(&format!("output/{name}")));
        fs::create_dir_all(self.path("output")).unwrap();
        fs::create_dir_all(self.path("temporary")).unwrap();
        let [stdout, stderr] = output.clone().map(|path| File::create(path).unwrap());
        let stream = stderr.metadata().unwrap();
        let journal = Datagrams::at(self.site.path("run/systemd/journal/socket"));
        let notify = Datagrams::at(self.path("notify"));
        for verbose in ["RUST_LOG", "AZURE_LOG", "AZURE_LOG_LEVEL", "AZURE_SDK_LOG", "HYPER_LOG"] {
            command.env(verbose, "trace");
        }
        command.env("RUST_BACKTRACE", "full").env("RUST_LIB_BACKTRACE", "full");
        command.env("TMPDIR", self.path("temporary"));
        if self.by_systemd {
            command.env("NOTIFY_SOCKET", &notify.path);
            command.env("JOURNAL_STREAM", format!("{}:{}", stream.dev(), stream.ino()));
        }
        let umask = if self.by_systemd { "0077" } else { "0" };
        let process = traced(&command, umask, trace.path()).stdout(stdout).stderr(stderr).spawn().unwrap();
        Run { bench: self, process, trace, output, datagrams: [journal, notify] }
    }

    /// A join to its end.
    pub(crate) fn join(&self) -> Ended {
        self.start(self.site.join()).end()
    }

    /// No file on the machine holds a secret but those that may.
    pub(crate) fn holds_no_secret(&self) {
        assert!(self.leaks().is_empty(), "files with a secret: {:?}", self.leaks());
    }

    /// The files on the machine that hold a secret and may not.
    pub(crate) fn leaks(&self) -> Vec<PathBuf> {
        let mut found = self.canaries().files_below(&self.path(""));
        found.retain(|file| !self.allowed.iter().any(|allowed| file.starts_with(allowed)));
        found
    }
}

impl Run<'_> {
    /// Waits for its end and searches everything, but for what is left on the machine.
    pub(crate) fn end(mut self) -> Ended {
        let (sender, ended) = mpsc::channel();
        // strace ends after the last process that it follows.
        std::thread::spawn(move || sender.send(self.process.wait().unwrap().code()));
        let code = ended.recv_timeout(FOREVER).expect("what the agent has started ends with it");
        let said: String = self.output.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        let [journal, notified] = self.datagrams.map(Datagrams::collect);
        let ended = Ended { code, said, journal, notified, trace: Trace::read(self.trace.path()) };
        ended.search(self.bench);
        ended
    }
}

impl Ended {
    fn search(&self, bench: &Bench) {
        let canaries = bench.canaries();
        for (what, text) in [("output", &self.said), ("journal", &self.journal), ("notification", &self.notified)] {
            assert_eq!(canaries.found_in(text.as_bytes()), None, "{what}: {text}");
        }
        let programs: Vec<_> = self.trace.calls(&["execve", "execveat"]).collect();
        assert!(!programs.is_empty());
        for (nth, program) in programs.iter().enumerate() {
            assert_eq!(canaries.found_in(program.as_bytes()), None, "{program}");
            let is_agent = program.contains("flexnode-firstboot\"");
            let of_systemd = ["NOTIFY_SOCKET=", "CREDENTIALS_DIRECTORY="].iter().any(|name| program.contains(name));
            assert!(
                is_agent || !of_systemd,
                "systemd's own channels are the agent's alone, not of program {nth}: {program}"
            );
        }
        self.search_writes(bench, &canaries);
        self.search_dumps(bench);
    }

    /// A secret is written to the file for `azcmagent connect`, which nobody else can read from its first moment on, to
    /// HIMDS as its protocol wants, into pipes between programs, and nowhere else.
    fn search_writes(&self, bench: &Bench, canaries: &Canaries) {
        const WRITES: [&str; 8] =
            ["write", "pwrite64", "writev", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg"];
        let partial = bench.site.path("run/flexnode/.azcmagent-connect.json.partial");
        let state = &bench.site.game.state;
        let himds = format!("->{}]", bench.site.game.himds.url().trim_start_matches("http://"));
        for call in self.trace.calls(&WRITES).filter(|call| canaries.found_in(call.as_bytes()).is_some()) {
            let to = destination(call);
            let fits = Path::new(to) == partial
                || to.starts_with("pipe:[")
                || to.starts_with("TCP:[") && to.ends_with(&himds)
                || Path::new(to).starts_with(state);
            assert!(fits, "{} is written to {to}: {call}", canaries.found_in(call.as_bytes()).unwrap());
        }
        let ours = |call: &str, part: &str| opened(call).is_some_and(|(path, _)| path.ends_with(part));
        for call in self.trace.calls(&["open", "openat", "openat2", "creat"]) {
            if ours(call, "/.azcmagent-connect.json.partial") {
                assert!(call.contains("O_CREAT|O_EXCL") && call.contains(", 0600) ="), "{call}");
            }
            let makes = ours(call, "/azcmagent-connect.json") && call.contains("O_CREAT");
            assert!(!makes, "the file appears by a rename alone: {call}");
        }
        for call in self.trace.calls(&["chmod", "fchmod", "fchmodat"]).filter(|call| call.contains("azcmagent-connect"))
        {
            assert!(call.contains(", 0600)"), "{call}");
        }
        for call in self.trace.calls(&["mkdir", "mkdirat"]).filter(|call| ours(call, "/run/flexnode")) {
            assert!(call.contains(", 0700)"), "{call}");
        }
    }

    /// Before the config is opened, and with it what it names, dumps have been turned off.
    fn search_dumps(&self, bench: &Bench) {
        let agent = self.trace.agent();
        let limit = agent.position(|call| call.contains("RLIMIT_CORE, {rlim_cur=0, rlim_max=0}"));
        let dumpable = agent.position(|call| call == "prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE) = 0");
        let config = bench.site.game.config.to_str().unwrap();
        let config =
            agent.position(|call| call.starts_with("open") && opened(call).is_some_and(|(path, _)| path == config));
        assert!(
            limit.is_some() && dumpable.is_some() && config > limit.max(dumpable),
            "{limit:?} {dumpable:?} {config:?}"
        );
    }
}

/// What a socket gets.
struct Datagrams {
    path: PathBuf,
    reader: JoinHandle<String>,
}

impl Datagrams {
    fn at(path: PathBuf) -> Self {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if path.exists() {
            fs::remove_file(&path).unwrap();
        }
        let socket = UnixDatagram::bind(&path).unwrap();
        let reader = std::thread::spawn(move || {
            let (mut all, mut buffer) = (String::new(), vec![0; 1 << 16]);
            loop {
                match socket.recv(&mut buffer).unwrap() {
                    0 => return all,
                    length => all += &String::from_utf8_lossy(&buffer[..length]),
                }
            }
        });
        Self { path, reader }
    }

    /// An empty datagram ends them; those before it have been read by then.
    fn collect(self) -> String {
        UnixDatagram::unbound().unwrap().send_to(&[], &self.path).unwrap();
        self.reader.join().unwrap()
    }
}
