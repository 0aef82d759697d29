//! `flexnode-build inspect`, `verify` and `diff`: looking inside bundles.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use indicatif::HumanBytes;

use super::Output;
use crate::bundle::{Bundle, diff as differences, inspect as table, verify as verification};
use crate::failure::{Class, Failure};

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
}

pub(super) fn inspect(args: &InspectArgs, output: Output) -> Result<ExitCode> {
    let manifest = Bundle::manifest(&args.bundle)?;
    output.print(&manifest, || table::describe(&manifest, args.files))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the whole bundle and compares every member with the manifest, and
/// the archive with the .sha256 beside it. Lists everything that is wrong.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct VerifyArgs {
    /// The bundle
    bundle: PathBuf,
}

pub(super) fn verify(args: &VerifyArgs, output: Output) -> Result<ExitCode> {
    let progress = output.progress();
    let report = verification::verify(&args.bundle)?;
    output.print(&report, || report.problems.iter().map(|problem| format!("{problem}\n")).collect())?;
    if !report.ok {
        let (count, bundle) = (report.problems.len(), args.bundle.display());
        let problems = if count == 1 { "problem" } else { "problems" };
        bail!(
            Failure::new(Class::BadBundle, format!("{bundle} has {count} {problems}"))
                .hint("copy it again from where it was built, or build it again")
        );
    }
    if !report.digest_file {
        progress.warn(&format!("there is no {}.sha256, so only the content was checked", args.bundle.display()));
    }
    let (files, bytes) = (report.files, HumanBytes(report.bytes));
    progress.note(&format!("{} is whole: {files} files, {bytes} unpacked", args.bundle.display()));
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

/// Exit code for bundles that differ, where the caller wants to know that way.
const DIFFERENT: u8 = 7;

pub(super) fn diff(args: &DiffArgs, output: Output) -> Result<ExitCode> {
    let diff = differences::diff(&args.before, &args.after)?;
    output.print(&diff, || differences::describe(&diff))?;
    if diff.is_empty() {
        output.progress().note("no differences");
    }
    Ok(if args.exit_code && !diff.is_empty() { ExitCode::from(DIFFERENT) } else { ExitCode::SUCCESS })
}
