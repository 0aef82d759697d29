//! `flexnode-build remove`: takes an installed bundle out of a root again.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::Output;
use super::apply::{listing, summary};
use crate::root::{self, Removing};

/// Take an installed bundle out of a root again
///
/// Removes what `apply` installed in a root and what is as it was installed,
/// the directories that it made and that are empty then, and the record.
///
/// Files that were changed by hand stay, in etc and elsewhere. Nothing is
/// removed through a link, or from a mount that apply did not write to. Killed
/// at any moment and run again, it completes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, verbatim_doc_comment)]
pub(super) struct RemoveArgs {
    /// The root to remove it from
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove files that were changed by hand too
    #[arg(long)]
    changed_too: bool,
    /// Remove from every mount below the root too
    #[arg(long)]
    cross_mounts: bool,
}

const EXAMPLES: &str = "\
Examples:
  flexnode-build remove --root / --dry-run
  flexnode-build remove --root /mnt/image";

pub(super) fn run(args: &RemoveArgs, output: Output) -> Result<ExitCode> {
    let (progress, root) = (output.progress(), args.root.display());
    let options = Removing { dry_run: args.dry_run, changed_too: args.changed_too, cross_mounts: args.cross_mounts };
    let removed = root::remove(&args.root, options, &progress)?;
    output.print(&removed, || listing(&removed.steps))?;
    if removed.recorded {
        progress.note(&format!("{root}: {}", summary(&removed.steps, args.dry_run)));
    } else {
        progress.note(&format!("{root}: nothing to do, no bundle is recorded there"));
    }
    Ok(ExitCode::SUCCESS)
}
