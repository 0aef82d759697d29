//! `flexnode-build check-root`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::json;

use super::Output;
use crate::bundle::Bundle;
use crate::check_root::{Needs, check};
use crate::failure::{Class, Failure};
use crate::finding::{Finding, Severity};
use crate::image_root::ImageRoot;

/// Look whether a root has what a node needs
///
/// Looks for systemd, programs, kernel modules, swap, packages that would
/// fight with the bundle, and more. Each finding comes with its cure. Nothing
/// in the root is run or changed.
///
/// Exits with 8 when the node could not work ("error:"); warnings and notes
/// are no failure.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CheckRootArgs {
    /// Where the image is mounted or unpacked; / for this machine
    #[arg(value_name = "DIR")]
    root: PathBuf,
    /// Check for this bundle [default: the one that is installed, or any]
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
}

pub(super) fn run(args: &CheckRootArgs, output: Output) -> Result<ExitCode> {
    let root = ImageRoot::open(&args.root)?;
    let needs = match &args.bundle {
        Some(bundle) => Needs::of(&Bundle::manifest(bundle)?),
        None => Needs::of_installed(&root),
    };
    let findings = check(&root, &needs)?;
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    output.print(&json!({"ok": errors == 0, "findings": findings}), || as_text(&findings))?;
    let root = args.root.display();
    if errors > 0 {
        let count = if errors == 1 { "1 error".to_owned() } else { format!("{errors} errors") };
        bail!(
            Failure::new(Class::UnfitRoot, format!("{root} lacks what a node needs: {count}"))
                .hint("run the commands of the hints, then check again")
        );
    }
    output.progress().note(&format!("{root} has what a node needs"));
    Ok(ExitCode::SUCCESS)
}

fn as_text(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}
