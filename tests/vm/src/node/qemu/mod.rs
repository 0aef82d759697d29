//! A machine that really boots, with a kernel of its own: a virtual machine of QEMU.
//!
//! cgroups are of version 2, with all controllers. A power cut loses what the guest had not yet flushed to its disk, as
//! a real one does; what it had flushed is in this machine's page cache and stays.

mod accelerator;
mod disk;
mod initrd;
mod line;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use self::accelerator::Accelerator;
use self::line::Line;
use super::rootfs::run;
use super::{GATEWAY, GUEST, LINE, Namespace};
use crate::azcmagent::{HIMDSD_DAEMON, HIMDSD_PATH};
use crate::lab::Kernel;

pub(super) use self::disk::Disk;

/// A running virtual machine. Dropping it is a power cut.
#[derive(Debug)]
pub(super) struct Machine {
    qemu: Child,
    line: Option<Line<ChildStdin>>,
    disk: Arc<Disk>,
    pub(super) powered_on: Instant,
}

/// Until systemd has started its first units, emulated on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

const AGENT: &str = "[Unit]
Description=Runs what the Flexnode lab asks for
DefaultDependencies=no
[Service]
ExecStart=/usr/lib/flexnode-lab/agent
Environment=PATH=/usr/sbin:/usr/bin
";

/// Puts what the lab needs into a root before its first boot: the kernel's modules, the agent, the
/// network's addresses, a HIMDS.
pub(super) fn equip(root: &Path) -> Result<()> {
    let kernel = Kernel::shared()?;
    let modules = root.join("usr/lib/modules");
    fs::create_dir_all(&modules).context("create the modules' folder")?;
    run(Command::new("cp").arg("--archive").arg(kernel.modules()).arg(&modules))?;
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap_or(root)).context("create a folder of the guest")?;
        fs::write(&path, text).with_context(|| format!("write `{}`", path.display()))
    };
    write("usr/lib/flexnode-lab/agent", include_str!("agent.sh"))?;
    run(Command::new("chmod").arg("755").arg(root.join("usr/lib/flexnode-lab/agent")))?;
    write("etc/systemd/system/flexnode-lab-agent.service", AGENT)?;
    let network = format!(
        "[Match]\nName=e*\n[Network]\nAddress={GUEST}/24\nGateway={GATEWAY}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    );
    write("etc/systemd/network/10-lab.network", &network)?;
    write("etc/systemd/system/himdsd.service", HIMDSD_DAEMON)?;
    write("etc/systemd/system/himdsd.path", HIMDSD_PATH)?;
    enable(root, "paths.target", "/etc/systemd/system/himdsd.path")?;
    enable(root, "sysinit.target", "/etc/systemd/system/flexnode-lab-agent.service")?;
    enable(root, "multi-user.target", "/lib/systemd/system/systemd-networkd.service")?;
    enable(root, "network-online.target", "/lib/systemd/system/systemd-networkd-wait-online.service")
}

/// As `systemctl enable` does.
fn enable(root: &Path, target: &str, unit: &str) -> Result<()> {
    let wants = root.join(format!("etc/systemd/system/{target}.wants"));
    fs::create_dir_all(&wants).context("create a folder for units")?;
    let name = Path::new(unit).file_name().context("name a unit")?;
    symlink(unit, wants.join(name)).with_context(|| format!("enable `{unit}`"))
}

impl Machine {
    /// Boots from `disk`, with the line that ends in `site` for its network. What the console shows goes to the file `console`.
    pub(super) fn boot(disk: &Arc<Disk>, site: &Namespace, console: &Path) -> Result<Self> {
        let kernel = Kernel::shared()?;
        let initrd = console.with_file_name("initrd");
        initrd::write(&kernel, &initrd)?;
        let accelerator = Accelerator::here(&kernel.image(), &initrd);
        disk.hand_over()?;
        let mut command = command(accelerator, disk.image(), console);
        command.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(&initrd);
        // The agent's line; what QEMU itself has to say goes to this program's standard error.
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let powered_on = Instant::now();
        let started = site.inside(|| command.spawn().context("run qemu-system-x86_64, of qemu-system-x86"));
        let mut machine = Self { qemu: started?, line: None, disk: Arc::clone(disk), powered_on };
        let requests = machine.qemu.stdin.take().context("talk to QEMU")?;
        let answers = machine.qemu.stdout.take().context("talk to QEMU")?;
        machine.line = Some(Line::open(requests, answers, PATIENCE)?);
        Ok(machine)
    }

    pub(super) fn run(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let line = self.line.as_ref().context("find the line to the guest")?;
        line.run(program, arguments).with_context(|| format!("run {program} in the guest"))
    }

    pub(super) fn power_off(mut self) -> Result<()> {
        // It may be off before its agent has told so.
        let _ = self.run("systemctl", &["poweroff", "--no-block"]);
        let status = self.qemu.wait().context("wait for QEMU")?;
        ensure!(status.success(), "QEMU ended with {status}");
        self.disk.take_back()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        if let Err(error) = self.disk.take_back() {
            eprintln!("node: the disk cannot be read: {error:#}");
        }
    }
}

fn command(accelerator: Accelerator, disk: &Path, console: &Path) -> Command {
    let file = |path: &Path| PathBuf::from(path).display().to_string().replace(',', ",,");
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", "q35"])
        .args(["-smp", "2", "-m", "2048"])
        .args(accelerator.arguments())
        .args(["-append", "console=ttyS0 panic=-1 net.ifnames=0"])
        .args(["-chardev", &format!("file,id=console,append=on,path={}", file(console)), "-serial", "chardev:console"])
        // A flush need not wait for this machine's disk: what was written survives the guest, if not this machine.
        .args(["-drive", &format!("if=virtio,format=raw,cache=unsafe,file={}", file(disk))])
        .args(["-netdev", &format!("tap,id=wire,ifname={LINE},script=no,downscript=no")])
        .args(["-device", "virtio-net-pci,netdev=wire", "-device", "virtio-rng-pci"])
        .args(["-chardev", "stdio,id=agent,signal=off", "-device", "virtio-serial-pci"])
        .args(["-device", "virtserialport,chardev=agent,name=flexnode"]);
    command
}
