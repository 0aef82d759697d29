//! `flexnode-build fetch`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use super::Output;
use super::args::{FetchArgs, RequestArgs, bring};
use crate::fetch;

/// Downloads and verifies what a bundle needs, into the cache and, with
/// --mirror-to, as a mirror for a builder that has no network.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct FetchVerb {
    #[command(flatten)]
    request: RequestArgs,
    /// Fetch what this lock pins
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// Write a mirror: DIR/<upstream's host>/<path>
    #[arg(long, value_name = "DIR")]
    mirror_to: Option<PathBuf>,
    #[command(flatten)]
    fetch: FetchArgs,
}

pub(super) fn run(args: &FetchVerb, output: Output) -> Result<ExitCode> {
    let progress = output.progress();
    let spec = args.request.spec()?;
    let lock = args.request.lock(args.lock.as_deref(), &spec, &progress)?;
    let cache = args.fetch.cache(&spec)?;
    let (blobs, images) = bring(&lock, &spec, &cache, &args.fetch.options(&spec)?, &progress)?;
    if let Some(dir) = &args.mirror_to {
        let parts = images.into_iter().flat_map(|image| image.parts);
        let (pinned, blobs): (Vec<_>, Vec<_>) = lock.artifacts.iter().cloned().zip(blobs).chain(parts).unzip();
        let mirrored = fetch::mirror_to(&pinned, &blobs, dir)?;
        progress.note(&format!("{}: {} written, {} already there", dir.display(), mirrored.written, mirrored.kept));
        if mirrored.local > 0 {
            progress.warn(&format!("{} artifacts have file:// URLs and are not in the mirror", mirrored.local));
        }
    }
    let place = args.mirror_to.as_deref().unwrap_or(cache.dir());
    output.print(&json!({"directory": place, "artifacts": lock.artifacts, "images": lock.images}), || {
        format!("{}\n", place.display())
    })?;
    Ok(ExitCode::SUCCESS)
}
