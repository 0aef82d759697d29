//! `flexnode-build seal`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::json;

use super::Output;
use crate::failure::{Class, Failure};
use crate::image_root::ImageRoot;
use crate::seal::{Cleared, clear, look};

/// Look whether a root is fit to become a golden image, or make it fit
///
/// Looks for what must not be cloned: machine-id, SSH host keys, Azure Arc
/// state, kubelet certificates, markers of a join, leftover secrets. Changes
/// nothing without --fix.
///
/// Exits with 8 when something was found, or is left after --fix.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SealArgs {
    /// Where the image is mounted or unpacked
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Clear what is found; never through links or mounts
    #[arg(long)]
    fix: bool,
    /// With --fix: clear the running system itself, whose root is /
    #[arg(long, requires = "fix")]
    live: bool,
    /// A file that is meant to be in the image, secret or not (repeatable)
    #[arg(long, value_name = "PATH")]
    allow_secret: Vec<PathBuf>,
}

pub(super) fn run(args: &SealArgs, output: Output) -> Result<ExitCode> {
    let root = ImageRoot::open(&args.root)?;
    let live = root.is_running_system()?;
    if args.fix && live && !args.live {
        bail!(Failure::new(Class::Usage, format!("{} is the system that runs here", args.root.display())).hint(
            "name the root of an image, or add --live if this machine becomes the image and is powered off next"
        ));
    }
    let Cleared { paths, left } = if args.fix {
        clear(&root, &args.allow_secret)?
    } else {
        Cleared { paths: Vec::new(), left: look(&root, &args.allow_secret)? }
    };
    let cleared: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    output.print(&json!({"ok": left.is_empty(), "findings": left, "cleared": cleared}), || {
        let cleared = cleared.iter().map(|path| format!("cleared {path}\n"));
        cleared.chain(left.iter().map(|trace| format!("{trace}\n"))).collect()
    })?;
    let root = args.root.display();
    if !left.is_empty() {
        let count = if left.len() == 1 { "1 finding".to_owned() } else { format!("{} findings", left.len()) };
        let hint = if args.fix {
            "run the commands of the hints"
        } else {
            "run it again with --fix, or name what is meant to be there with --allow-secret"
        };
        bail!(Failure::new(Class::UnfitRoot, format!("{root} is not fit to become an image: {count}")).hint(hint));
    }
    let next = if args.fix && live { "; power it off now, before it makes new ones" } else { "" };
    output.progress().note(&format!("{root} is fit to become an image{next}"));
    Ok(ExitCode::SUCCESS)
}
