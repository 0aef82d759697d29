//! `flexnode-build audit`: which known advisories concern what is in a bundle.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::{CONCERNED, Output};
use crate::audit::{self, Inventory};
use crate::sbom::{self, Format};

/// List known advisories that concern what is in a bundle
///
/// Compares the Go modules, crates and Debian packages of the bundle's SBOM
/// with an offline dump of the OSV database: a directory or a zip archive of
/// advisories in OSV's JSON, as its ecosystems Go, crates.io, Debian and
/// Ubuntu publish them. Withdrawn advisories do not count.
///
/// Exits with 9 when there are any. What no advisory can be compared with is
/// named on stderr.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct AuditArgs {
    /// The bundle
    bundle: PathBuf,
    /// The dump: a directory of .json and .zip files, or a .zip file
    #[arg(long, value_name = "DIR|ZIP")]
    osv: PathBuf,
}

pub(super) fn run(args: &AuditArgs, output: Output) -> Result<ExitCode> {
    let progress = output.progress();
    let inventory = Inventory::parse(&sbom::read(&args.bundle, Format::Cyclonedx)?, &args.bundle)?;
    let report = audit::audit(inventory, &args.osv)?;
    output.print(&report, || audit::describe(&report))?;
    if !report.unjudged.is_empty() {
        progress.warn(&format!("nothing is known of {}", report.unjudged.join(", ")));
    }
    let (packages, advisories) = (report.packages, report.advisories);
    let count = report.findings.len();
    progress.note(&format!("{packages} packages, {advisories} advisories: {count} concern this bundle"));
    Ok(if count == 0 { ExitCode::SUCCESS } else { ExitCode::from(CONCERNED) })
}
