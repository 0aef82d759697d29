//! `flexnode-build apply`: from a bundle to an installed node.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

use super::Output;
use crate::bundle::{Kind, Manifest, Source, Verified};
use crate::check_root::{Needs, check};
use crate::failure::{Class, Failure};
use crate::finding::Severity;
use crate::image_root::ImageRoot;
use crate::progress::Progress;
use crate::root::{self, Action, Applying, Step};
use crate::signing::{self, PublicKey};
use crate::text::printable;

/// Install a bundle in a node's root, or in an image's
///
/// Verifies the bundle to its last byte and installs it in a root: / on a
/// node, or the directory in which an image is mounted.
///
/// Every file is written beside its place, synced and checked again before the
/// first one appears. Killed at any moment and run again, it completes; run
/// once more, it changes nothing. Over an older bundle it removes what the new
/// one no longer has.
///
/// What was changed by hand in etc and var stays; the bundle's version goes
/// beside it as NAME.flexnode-new. Elsewhere, files of ours are put right, and
/// files of others are refused.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, verbatim_doc_comment)]
pub(super) struct ApplyArgs {
    /// The bundle: a file, a block device, or - for standard input
    bundle: PathBuf,
    /// The root to install it in
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Overwrite programs that something else has installed
    #[arg(long)]
    force: bool,
    /// Install on another release than the bundle was built for
    #[arg(long)]
    any_release: bool,
    /// Write into mounts below the root too (in / that needs no flag)
    #[arg(long)]
    cross_mounts: bool,
    /// Refuse a bundle that none of these keys signed (repeatable)
    /// [default: those in etc/flexnode/trusted-keys of the root]
    #[arg(long, value_name = "PUB", verbatim_doc_comment)]
    key: Vec<PathBuf>,
    /// The bundle's signature [default: the files beside it]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Go back to an older bundle, where the root trusts keys
    #[arg(long)]
    allow_rollback: bool,
}

const EXAMPLES: &str = "\
Examples:
  flexnode-build apply bundle.tar.zst --root / --dry-run
  flexnode-build apply bundle.tar.zst --root /
  flexnode-build apply /dev/vdb --root /mnt/image
  ssh build cat bundle.tar.zst | flexnode-build apply - --root /";

pub(super) fn run(args: &ApplyArgs, output: Output) -> Result<ExitCode> {
    let progress = output.progress();
    let source = if args.bundle == Path::new("-") {
        Source::spool("standard input", std::io::stdin().lock())?
    } else {
        Source::open(&args.bundle)?
    };
    let keys = args.keys()?;
    progress.stage(&format!("verifying {}", source.name()));
    let bundle = if keys.is_empty() {
        Verified::verify(source, &progress)?
    } else {
        let signed = signing::check(&source, args.signature.as_deref(), &keys)?;
        progress.note(&format!("{} is signed by {}", source.name(), signed.key()));
        Verified::verify_signed(source, signed, &progress)?
    };
    if !bundle.digest_file() {
        progress.note(&format!("there is no digest beside {}, so only its content was checked", bundle.name()));
    }
    let options = Applying {
        dry_run: args.dry_run,
        force: args.force,
        any_release: args.any_release,
        cross_mounts: args.cross_mounts,
        allow_rollback: args.allow_rollback,
    };
    let applied = root::apply(&bundle, &args.root, options, &progress)?;
    output.print(&applied, || listing(&applied.steps))?;
    for step in applied.steps.iter().filter(|step| step.action == Action::Beside) {
        let (path, beside) = (step.source(), &step.path);
        progress.warn(&format!("{path} is not the bundle's and stays: merge {beside} into it by hand"));
    }
    if !args.dry_run {
        warn_of_an_unfit_root(&args.root, bundle.manifest(), &progress);
    }
    progress.note(&format!("{}: {}", args.root.display(), summary(&applied.steps, args.dry_run)));
    if !applied.restart.is_empty() && !args.dry_run {
        let units = applied.restart.join(" ");
        progress.note(&format!("to run what is new: systemctl daemon-reload && systemctl try-restart {units}"));
    }
    Ok(ExitCode::SUCCESS)
}

impl ApplyArgs {
    /// The keys of which one must have signed the bundle.
    fn keys(&self) -> Result<Vec<PublicKey>> {
        let keys = if self.key.is_empty() {
            root::trusted_keys(&self.root, self.cross_mounts)?
        } else {
            self.key.iter().map(|path| PublicKey::read(path)).collect::<Result<_>>()?
        };
        if keys.is_empty() && self.signature.is_some() {
            bail!(
                Failure::new(Class::Usage, "there is no key to check the signature with")
                    .hint("name one with --key PUB")
            );
        }
        Ok(keys)
    }
}

/// The bundle is installed, and what only the distribution has may still be missing; `check-root` says the same.
fn warn_of_an_unfit_root(path: &Path, manifest: &Manifest, progress: &Progress) {
    let needs = Needs { bytes: 0, ..Needs::of(manifest) };
    let findings = ImageRoot::open(path).and_then(|root| check(&root, &needs)).unwrap_or_else(|error| {
        progress.warn(&printable(&format!("whether the root has what a node needs is not known: {error:#}")));
        Vec::new()
    });
    for finding in findings.iter().filter(|finding| finding.severity < Severity::Note) {
        progress.warn(&printable(&format!("{}; cure: {}", finding.message, finding.cure)));
    }
}

/// One line for each step.
pub(super) fn listing(steps: &[Step]) -> String {
    let line = |step: &Step| {
        let slash = if matches!(step.kind, Kind::Directory { .. }) { "/" } else { "" };
        let why = step.why.map(|why| format!(" ({why})")).unwrap_or_default();
        format!("{:<8} {}{slash}{why}\n", step.action, step.path)
    };
    steps.iter().map(line).collect()
}

/// How many of each: what was done, or would be.
pub(super) fn summary(steps: &[Step], dry_run: bool) -> String {
    if !steps.iter().any(Step::is_change) {
        return "nothing to do".to_owned();
    }
    let done = [
        (Action::Install, "installed"),
        (Action::Replace, "replaced"),
        (Action::Keep, "kept"),
        (Action::Beside, "put beside"),
        (Action::Remove, "removed"),
    ];
    let count = |action| steps.iter().filter(|step| step.action == action).count();
    let counts = done.map(|(action, done)| (count(action), done)).into_iter().filter(|(count, _)| *count > 0);
    let counts = counts.map(|(count, done)| format!("{count} {done}")).collect::<Vec<_>>().join(", ");
    if dry_run { format!("would be {counts}; nothing was changed") } else { counts }
}
