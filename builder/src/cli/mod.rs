//! The command line: one file per verb, each a short read from flags to result.

mod apply;
mod args;
mod audit;
mod build;
mod catalog;
mod check_root;
mod fetch;
mod generate;
mod lock;
mod look;
mod remove;
mod schema;
mod seal;
mod sign;
mod verify;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::failure::{Class, Failure};
use crate::progress::Progress;
use crate::text::printable;

const EXAMPLES: &str = "\
Examples:
  flexnode-build --k8s 1.30 -o bundle.tar.zst
  flexnode-build lock --k8s 1.30 -o flexnode.lock
  flexnode-build --lock flexnode.lock -o bundle.tar.zst
  flexnode-build fetch --lock flexnode.lock --mirror-to /media/usb
  flexnode-build --lock flexnode.lock --mirror /media/usb --offline
  flexnode-build verify bundle.tar.zst
  flexnode-build verify bundle.tar.zst --key flexnode.pub
  flexnode-build apply bundle.tar.zst --root /mnt/image --dry-run
  flexnode-build verify --root /mnt/image

Exit codes:
  0  done                      4  nothing could be fetched
  1  this machine failed       5  refused: digest, signature, program
  2  wrong usage or spec       6  a bundle is damaged or no bundle
  3  versions do not resolve   7  bundles differ (diff --exit-code),
                                  or a root and its record (verify --root)
                               8  a root is not fit (check-root, seal)
                               9  advisories concern a bundle (audit)";

/// Exit code for advisories that concern what is in a bundle.
const CONCERNED: u8 = 9;

/// Exit code for what differs, where the caller wants to know that way.
const DIFFERENT: u8 = 7;

/// Builds a verified, reproducible offline bundle that turns stock Ubuntu into
/// an AKS worker node.
///
/// Resolves containerd, runc, kubelet, kubectl, kubeadm, crictl and the CNI
/// plugins to pinned digests, downloads and verifies them, renders the node's
/// configuration, and packs everything into one archive:
///
///   tar --zstd -xpf bundle.tar.zst -C /
///
/// is a complete installation. Nothing is downloaded at boot. `flexnode-build
/// apply` does the same, checks every byte first, and upgrades and removes.
#[derive(Debug, Parser)]
#[command(
    name = "flexnode-build",
    version,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    max_term_width = 80,
    disable_help_subcommand = true,
    verbatim_doc_comment
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    build: build::BuildArgs,
    #[command(flatten)]
    output: Output,
}

/// How to talk.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Output")]
struct Output {
    /// Only warnings and errors on stderr
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Results on stdout as JSON, for machines
    #[arg(long, global = true)]
    json: bool,
    /// Log what happens inside on stderr; twice for more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Resolve versions and pin them, without downloading
    Lock(lock::LockArgs),
    /// Download and verify into the cache, or as a mirror
    Fetch(fetch::FetchVerb),
    /// List what the catalog knows, or check a catalog
    Catalog(catalog::CatalogArgs),
    /// Show what is in a bundle
    Inspect(look::InspectArgs),
    Verify(verify::VerifyArgs),
    Audit(audit::AuditArgs),
    Keygen(sign::KeygenArgs),
    Sign(sign::SignArgs),
    /// Show what changed from one bundle to another
    Diff(look::DiffArgs),
    Apply(apply::ApplyArgs),
    Remove(remove::RemoveArgs),
    CheckRoot(check_root::CheckRootArgs),
    Seal(seal::SealArgs),
    /// Print the JSON Schema of the spec file
    Schema(schema::SchemaArgs),
    /// Print a completion script for a shell
    Completions(generate::CompletionsArgs),
    /// Write man pages
    Man(generate::ManArgs),
}

/// Runs the program and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refusal) => return refuse(&refusal),
    };
    start_log(cli.output.verbose);
    match run(cli) {
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

/// clap's refusals in our form; its help and version as they are.
fn refuse(refusal: &clap::Error) -> ExitCode {
    if !refusal.use_stderr() {
        refusal.exit();
    }
    let text = refusal.to_string();
    let mut parts = text.split("\n\n");
    let message = parts.next().unwrap_or_default().trim_start_matches("error: ");
    let tip = parts.find_map(|part| part.trim().strip_prefix("tip: "));
    let hint = tip.unwrap_or("`flexnode-build --help` lists verbs and flags, with examples");
    report(&Failure::new(Class::Usage, message).hint(hint).into())
}

fn run(cli: Cli) -> Result<ExitCode> {
    let output = cli.output;
    match cli.verb {
        None => build::run(&cli.build, output),
        Some(Verb::Lock(args)) => lock::run(&args, output),
        Some(Verb::Fetch(args)) => fetch::run(&args, output),
        Some(Verb::Catalog(args)) => catalog::run(&args, output),
        Some(Verb::Inspect(args)) => look::inspect(&args, output),
        Some(Verb::Verify(args)) => verify::run(&args, output),
        Some(Verb::Audit(args)) => audit::run(&args, output),
        Some(Verb::Keygen(args)) => sign::keygen(&args, output),
        Some(Verb::Sign(args)) => sign::sign(&args, output),
        Some(Verb::Diff(args)) => look::diff(&args, output),
        Some(Verb::Apply(args)) => apply::run(&args, output),
        Some(Verb::Remove(args)) => remove::run(&args, output),
        Some(Verb::CheckRoot(args)) => check_root::run(&args, output),
        Some(Verb::Seal(args)) => seal::run(&args, output),
        Some(Verb::Schema(args)) => schema::run(&args),
        Some(Verb::Completions(args)) => generate::completions(&args),
        Some(Verb::Man(args)) => generate::man(&args),
    }
}

impl Output {
    fn progress(self) -> Progress {
        Progress::detect(self.quiet)
    }

    /// Prints a result: `value` for machines, `text` for people. A bundle or catalog of a stranger may hold anything,
    /// so nothing in it gets to steer the terminal.
    fn print(self, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.json { print(&(serde_json::to_string_pretty(value)? + "\n")) } else { print(&printable(&text())) }
    }
}

/// Writes to standard output; a reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// `error: …` and `hint: …`, each in one line, and the class as exit code.
fn report(error: &anyhow::Error) -> ExitCode {
    let (class, hint) = Failure::describe(error);
    let hint = hint.map(str::to_owned).or_else(|| hint_for_io(error).map(str::to_owned));
    let message = one_line(&format!("{error:#}"));
    let mut stderr = std::io::stderr().lock();
    // Where even stderr is gone, the exit code has to do.
    let _unheard = writeln!(stderr, "error: {message}");
    if let Some(hint) = hint {
        let _unheard = writeln!(stderr, "hint: {}", one_line(&hint));
    }
    ExitCode::from(class as u8)
}

/// The cure for what this machine refuses.
fn hint_for_io(error: &anyhow::Error) -> Option<&'static str> {
    use std::io::ErrorKind;
    let kind = error.chain().find_map(|cause| {
        let from_rustix = || Some(cause.downcast_ref::<rustix::io::Errno>()?.kind());
        cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind).or_else(from_rustix)
    })?;
    Some(match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space, or put --output and --cache-dir on another disk"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "choose a place that you may write, or change its permissions"
        }
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => "check the path",
        _ => return None,
    })
}

fn one_line(text: &str) -> String {
    printable(text).lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// `FLEXNODE_LOG` takes the usual directives (`debug`, `flexnode_build=trace`).
fn start_log(verbose: u8) {
    let default = match verbose {
        0 => "off",
        1 => "flexnode_build=debug",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("FLEXNODE_LOG")
        .unwrap_or_else(|_unset| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
