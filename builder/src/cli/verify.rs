//! `flexnode-build verify`: a bundle against its own manifest, or a root against what was applied in it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use indicatif::HumanBytes;

use super::{DIFFERENT, Output};
use crate::bundle::{Source, sigstore_file_of, verify as bundle};
use crate::failure::{Class, Failure};
use crate::root;
use crate::signing::{self, PublicKey};
use crate::text::table;

/// Compare a bundle with its manifest, or a root with what was applied
///
/// Reads the whole bundle and compares every member with the manifest, and
/// the archive with the .sha256 beside it. Lists everything that is wrong.
///
/// With --key, first checks every signature beside the bundle, before a byte
/// of it is unpacked, and then the provenance where there is one.
///
/// With --root, compares the files on a node or in an image with the record
/// of what was applied there, changes nothing, and exits with 7 where they
/// differ: missing, changed, mode, owner, kind, extra. Configuration that the
/// operator had changed before the last apply is noted and no difference.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    override_usage = "flexnode-build verify [OPTIONS] <BUNDLE>\n       \
                flexnode-build verify [OPTIONS] --root <DIR>"
)]
pub(super) struct VerifyArgs {
    /// The bundle
    #[arg(required_unless_present = "root", conflicts_with = "root")]
    bundle: Option<PathBuf>,
    /// Refuse a bundle that none of these keys signed (repeatable)
    #[arg(long, value_name = "PUB", conflicts_with = "root")]
    key: Vec<PathBuf>,
    /// The bundle's signature [default: the files beside it]
    #[arg(long, value_name = "FILE", requires = "key")]
    signature: Option<PathBuf>,
    /// Compare the root in this directory with its record
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Look into every mount below the root (in / into those of the record)
    #[arg(long, requires = "root")]
    cross_mounts: bool,
}

pub(super) fn run(args: &VerifyArgs, output: Output) -> Result<ExitCode> {
    match (&args.bundle, &args.root) {
        (Some(path), _) => verify_bundle(path, args, output),
        (None, Some(path)) => verify_root(path, args.cross_mounts, output),
        (None, None) => bail!(Failure::new(Class::Usage, "there is nothing to verify").hint("name a bundle")),
    }
}

fn verify_bundle(path: &Path, args: &VerifyArgs, output: Output) -> Result<ExitCode> {
    let progress = output.progress();
    let keys = args.key.iter().map(|path| PublicKey::read(path)).collect::<Result<Vec<_>>>()?;
    let source = Source::open(path)?;
    let signed = match keys.is_empty() {
        true => None,
        false => Some(signing::check(&source, args.signature.as_deref(), &keys)?),
    };
    let report = bundle::verify_source(&source, signed.as_ref())?;
    output.print(&report, || report.problems.iter().map(|problem| format!("{problem}\n")).collect())?;
    if !report.ok {
        let (count, bundle) = (report.problems.len(), path.display());
        let problems = if count == 1 { "problem" } else { "problems" };
        bail!(
            Failure::new(Class::BadBundle, format!("{bundle} has {count} {problems}"))
                .hint("copy it again from where it was built, or build it again")
        );
    }
    if !report.digest_file {
        progress.warn(&format!("there is no {}.sha256, so only the content was checked", path.display()));
    }
    if let Some(signed) = signed {
        let too =
            if signing::check_provenance(path, signed.sha256(), &keys)? { ", and so is its provenance" } else { "" };
        progress.note(&format!("{} is signed by {}{too}", path.display(), signed.key()));
    } else if sigstore_file_of(path).exists() {
        progress.note("its signature was not checked: --key PUB does");
    }
    let (files, bytes) = (report.files, HumanBytes(report.bytes));
    progress.note(&format!("{} is whole: {files} files, {bytes} unpacked", path.display()));
    Ok(ExitCode::SUCCESS)
}

fn verify_root(path: &Path, cross_mounts: bool, output: Output) -> Result<ExitCode> {
    let (progress, root) = (output.progress(), path.display());
    let report = root::verify(path, cross_mounts)?;
    output.print(&report, || {
        let rows = report.findings.iter().chain(&report.notes);
        let rows = rows.map(|found| [found.problem.to_string(), found.path.clone(), found.detail.clone()]);
        table(&rows.collect::<Vec<_>>(), &[])
    })?;
    if report.ok {
        progress.note(&format!("{root} is as it was installed: {} files", report.files));
        return Ok(ExitCode::SUCCESS);
    }
    let count = report.findings.len();
    let differences = if count == 1 { "difference" } else { "differences" };
    progress.warn(&format!(
        "{root} has {count} {differences}; `apply` of the same bundle mends what is not the operator's"
    ));
    Ok(ExitCode::from(DIFFERENT))
}
