//! A machine that really boots: systemd as its first process, in a container of systemd-nspawn.
//!
//! Its kernel is this machine's, so what kernels differ in is not seen here. cgroup controllers come as this machine has
//! them, read-only from nspawn; a first program before systemd makes them writable.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::Namespace;

/// A booted machine. Dropping it is a power cut.
#[derive(Debug)]
pub(super) struct Container {
    nspawn: Child,
    leader: i32,
    pub(super) powered_on: Instant,
}

/// Until systemd has started its first units, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// In the root, for messages from nspawn and from inside.
const SOCKET: &str = "flexnode-lab.socket";

const UP: &str = "[Unit]
Description=Tells the Flexnode lab that systemd is at work
DefaultDependencies=no
[Service]
Type=oneshot
Environment=NOTIFY_SOCKET=/flexnode-lab.socket
ExecStart=/bin/systemd-notify X_FLEXNODE_UP=1
";

impl Container {
    /// Boots `root` in `namespace`. What the console shows goes to the file `console`.
    ///
    /// # Errors
    /// When systemd-nspawn is missing or does not start it.
    pub(super) fn boot(root: &Path, namespace: &Namespace, console: &Path) -> Result<Self> {
        let init = root.join("usr/sbin/flexnode-lab-init");
        fs::write(&init, include_str!("init.sh")).context("write the first program")?;
        fs::set_permissions(&init, Permissions::from_mode(0o755)).context("make the first program executable")?;
        fs::write(root.join("etc/systemd/system/flexnode-lab-up.service"), UP).context("write a unit")?;
        let early = root.join("etc/systemd/system/sysinit.target.wants");
        fs::create_dir_all(&early).context("create a unit's folder")?;
        match symlink("../flexnode-lab-up.service", early.join("flexnode-lab-up.service")) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error).context("enable a unit"),
            _ => {}
        }
        let path = root.join(SOCKET);
        let _ = fs::remove_file(&path); // of the last boot, if there was one
        let socket = UnixDatagram::bind(&path).context("make a socket for messages")?;
        socket.set_read_timeout(Some(PATIENCE)).context("set a time limit")?;
        let log = File::options().create(true).append(true).open(console).context("open the console's file")?;
        let powered_on = Instant::now();
        let nspawn = Command::new("systemd-nspawn")
            .args(["--quiet", "--register=no", "--keep-unit", "--console=pipe", "--capability=all", "--directory"])
            .arg(root)
            // What containerd and runc call beyond nspawn's own list.
            .args(["--system-call-filter=@keyring bpf", "--kill-signal=SIGRTMIN+3"])
            .arg(format!("--network-namespace-path={}", namespace.path().display()))
            .arg("--resolv-conf=off")
            .arg("/usr/sbin/flexnode-lab-init")
            .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network")
            .env("NOTIFY_SOCKET", &path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the console's file")?)
            .stderr(log)
            .spawn()
            .context("run systemd-nspawn, of systemd-container")?;
        let mut guest = Self { nspawn, leader: 0, powered_on };
        guest.await_systemd(&socket).with_context(|| said(console))?;
        Ok(guest)
    }

    /// nspawn tells who the first process is (sd_notify: `X_NSPAWN_LEADER_PID=`); a unit tells that it is systemd.
    fn await_systemd(&mut self, socket: &UnixDatagram) -> Result<()> {
        let mut message = [0; 4096];
        loop {
            let length = socket.recv(&mut message).context("wait for the guest's systemd")?;
            for line in String::from_utf8_lossy(&message[..length]).lines() {
                match line.split_once('=') {
                    Some(("X_NSPAWN_LEADER_PID", id)) => {
                        self.leader = id.parse().context("read the first process's id")?;
                    }
                    Some(("X_FLEXNODE_UP", _)) => return Ok(()),
                    Some(("STOPPING", _)) => bail!("the guest has ended"),
                    _ => {}
                }
            }
        }
    }

    /// Runs a program inside.
    ///
    /// # Errors
    /// When it cannot be started; how it ends is in the answer.
    pub(super) fn run(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let target = self.leader.to_string();
        Command::new("nsenter")
            .args(["--target", &target, "--all", "--wd=/", "--", "/usr/bin/env", "-i"])
            .args(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", program])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("run {program} in the guest"))
    }

    /// Shuts it down in order.
    ///
    /// # Errors
    /// When it does not end well.
    pub(super) fn power_off(mut self) -> Result<()> {
        signal(&self.nspawn, Signal::TERM)?;
        let status = self.nspawn.wait().context("wait for nspawn")?;
        ensure!(status.success(), "nspawn ended with {status}");
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // After its end the first process's id may be somebody else's.
        if matches!(self.nspawn.try_wait(), Ok(Some(_))) {
            return;
        }
        // A kernel ends all with its first process. Where nspawn never told who that is, it goes with nspawn.
        let _ = match Pid::from_raw(self.leader) {
            Some(leader) => kill_process(leader, Signal::KILL).map_err(Into::into),
            None => self.nspawn.kill(),
        };
        let _ = self.nspawn.wait();
    }
}

fn signal(child: &Child, signal: Signal) -> Result<()> {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("nspawn has no process id")?;
    kill_process(id, signal).context("tell nspawn to end")
}

fn said(console: &Path) -> String {
    let text = fs::read_to_string(console).unwrap_or_default();
    format!("the console says: {}", text.lines().rev().take(5).collect::<Vec<_>>().join(" | "))
}
