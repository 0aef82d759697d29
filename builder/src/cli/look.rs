//! `flexnode-build inspect` and `diff`: looking inside bundles.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::{DIFFERENT, Output, print};
use crate::bundle::{Bundle, diff as differences, inspect as table};
use crate::sbom::{self, Format};

/// Shows components, versions, sizes and proofs of origin, from the bundle's
/// own manifest; `verify` says whether that is true.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct InspectArgs {
    /// The bundle
    bundle: PathBuf,
    /// List every file too
    #[arg(long)]
    files: bool,
    /// Print the software bill of materials that the bundle carries
    #[arg(long, value_name = "FORMAT", conflicts_with = "files")]
    sbom: Option<Format>,
}

pub(super) fn inspect(args: &InspectArgs, output: Output) -> Result<ExitCode> {
    if let Some(format) = args.sbom {
        print(&String::from_utf8_lossy(&sbom::read(&args.bundle, format)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let manifest = Bundle::manifest(&args.bundle)?;
    output.print(&manifest, || table::describe(&manifest, args.files))?;
    Ok(ExitCode::SUCCESS)
}

/// Shows what changed: components, files, and configuration line by line.
#[derive(Debug, clap::Args)]
pub(super) struct DiffArgs {
    /// The older bundle
    before: PathBuf,
    /// The newer bundle
    after: PathBuf,
    /// Exit with 7 when the bundles differ
    #[arg(long)]
    exit_code: bool,
}

pub(super) fn diff(args: &DiffArgs, output: Output) -> Result<ExitCode> {
    let diff = differences::diff(&args.before, &args.after)?;
    output.print(&diff, || differences::describe(&diff))?;
    if diff.is_empty() {
        output.progress().note("no differences");
    }
    Ok(if args.exit_code && !diff.is_empty() { ExitCode::from(DIFFERENT) } else { ExitCode::SUCCESS })
}
