//! How QEMU is to run a kernel here: with KVM where that works, emulated otherwise.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Longer than a kernel of a working KVM takes to its first program.
const PATIENCE: Duration = Duration::from_secs(10);

const MARKER: &str = "FLEXNODE-KERNEL-IS-UP";

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accelerator {
    /// The processor's own virtualisation.
    Kvm,
    /// Emulation, a tenth as fast.
    Tcg,
}

impl Accelerator {
    /// What works on this machine; found out once a process.
    pub(super) fn here(kernel: &Path, initrd: &Path) -> Self {
        static FOUND: OnceLock<Accelerator> = OnceLock::new();
        *FOUND.get_or_init(|| {
            // A device is no promise: some machines have one under which no kernel comes up.
            let works = Path::new("/dev/kvm").exists() && Self::Kvm.boots(kernel, initrd).unwrap_or(false);
            let found = if works { Self::Kvm } else { Self::Tcg };
            eprintln!("node: virtual machines run under {found:?}");
            found
        })
    }

    pub(super) fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }

    /// Whether a kernel comes to its first program.
    fn boots(self, kernel: &Path, initrd: &Path) -> Result<bool> {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-m", "512"]);
        qemu.args(self.arguments()).args(["-serial", "stdio", "-append", "console=ttyS0 panic=-1 flexnode.probe"]);
        qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut qemu = qemu.spawn().context("run qemu-system-x86_64, of qemu-system-x86")?;
        let console = BufReader::new(qemu.stdout.take().context("read the console")?);
        let (tell, told) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let lines = console.split(b'\n').map_while(Result::ok);
            let mut lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
            // Who no longer waits needs no answer.
            let _ = tell.send(lines.any(|line| line.contains(MARKER)));
        });
        let works = told.recv_timeout(PATIENCE).unwrap_or(false);
        let _ = qemu.kill();
        qemu.wait().context("wait for QEMU")?;
        let _ = reader.join();
        Ok(works)
    }
}
