//! `flexnode-build lock`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::Output;
use super::args::RequestArgs;

/// Resolves the versions that were asked for to pinned artifacts and writes
/// them down. Opens no socket: every digest comes from the catalog.
#[derive(Debug, clap::Args)]
#[command(after_help = "Commit the lock; build from it with `flexnode-build --lock FILE`.", verbatim_doc_comment)]
pub(super) struct LockArgs {
    #[command(flatten)]
    request: RequestArgs,
    /// The lock to write
    #[arg(long = "output", short = 'o', value_name = "FILE", default_value = "flexnode.lock")]
    path: PathBuf,
}

pub(super) fn run(args: &LockArgs, output: Output) -> Result<ExitCode> {
    let progress = output.progress();
    let spec = args.request.spec()?;
    let lock = args.request.resolve(&spec, &progress)?;
    lock.write(&args.path)?;
    for artifact in &lock.artifacts {
        progress.note(&format!("{artifact} sha256:{}", artifact.sha256.short()));
    }
    output.print(&lock, || format!("{}\n", args.path.display()))?;
    Ok(ExitCode::SUCCESS)
}
