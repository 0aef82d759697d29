//! Brings pinned artifacts into the cache: parallel, resumable, verified before they are usable.

mod cache;
mod file;
mod http;
mod mirror;
mod mirror_to;
mod problem;
mod registry;
mod retry;
mod source;
mod trust;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::{FutureExt as _, StreamExt as _, stream};

pub use self::cache::{Blob, Cache, Origin};
pub use self::mirror::{Mirror, NotAMirror};
pub use self::mirror_to::{Mirrored, mirror_to};

use self::source::{Fetcher, Stop};
use crate::artifact::Artifact;
use crate::digest::Digest;
use crate::failure::{Class, Failure};
use crate::progress::Progress;

/// How to fetch. The defaults are those of the command line.
#[derive(Debug, Clone)]
pub struct Options {
    /// Asked in this order, before upstream. None by default.
    pub mirrors: Vec<Mirror>,
    /// Opens no socket: only the cache, directories and files. Off by default.
    pub offline: bool,
    /// Downloads at once. 4 by default.
    pub jobs: NonZeroUsize,
    /// How often one source is asked again for one artifact after a failure that may pass. 4 by default.
    pub retries: u32,
    /// For resolving, connecting and the TLS handshake. 10 s by default.
    pub connect_timeout: Duration,
    /// For the first byte of an answer and for each one after it. 30 s by default; a slow body may take its time.
    pub stall_timeout: Duration,
    /// PEM files of certificate authorities to trust besides the system's. None by default.
    pub ca_certs: Vec<PathBuf>,
    /// The most bytes an artifact may have when its length is not pinned. [`Options::MAX_SIZE`] by default.
    pub max_size: u64,
    /// The wait before the first repetition, doubled each time. 500 ms by default.
    pub first_wait: Duration,
    /// The longest wait, also when `Retry-After` asks for more. 60 s by default.
    pub longest_wait: Duration,
}

impl Options {
    /// 1 GiB: ten times the largest artifact of the catalog, a kubelet.
    pub const MAX_SIZE: u64 = 1 << 30;
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            offline: false,
            jobs: NonZeroUsize::MIN.saturating_add(3),
            retries: 4,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            ca_certs: Vec::new(),
            max_size: Self::MAX_SIZE,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// Brings every artifact into the cache and hands out its verified bytes, in the order of `artifacts`.
///
/// Equal digests are fetched once. After the first failure no other download goes on; what they have is kept and
/// resumed by the next run. Must run inside a tokio runtime with I/O and time.
///
/// # Errors
/// [`Class::Network`] when no source has an artifact, [`Class::Verification`] when one has other bytes than pinned and
/// none the right ones, [`Class::Local`] when the cache cannot be used, [`Class::Usage`] for a bad certificate file, a
/// missing mirror directory or a URL of an unknown kind.
pub async fn fetch(artifacts: &[Artifact], cache: &Cache, options: &Options, progress: &Progress) -> Result<Vec<Blob>> {
    let fetcher = Fetcher::new(cache, options, progress)?;
    let mut wanted: Vec<&Artifact> = Vec::new();
    for artifact in artifacts {
        if !wanted.iter().any(|other| other.sha256 == artifact.sha256) {
            wanted.push(artifact);
        }
    }
    let blobs = bring_all(&fetcher, &wanted, options).await?;
    artifacts.iter().map(|artifact| pick(artifact, &blobs)).collect()
}

async fn bring_all(fetcher: &Fetcher<'_>, wanted: &[&Artifact], options: &Options) -> Result<HashMap<Digest, Blob>> {
    let mut running = stream::iter(wanted)
        .map(|artifact| fetcher.bring(artifact).map(|result| (artifact.sha256, result)))
        .buffer_unordered(options.jobs.get());
    let mut blobs = HashMap::new();
    let mut unfetched = Vec::new();
    while let Some((sha256, result)) = running.next().await {
        match result {
            Ok(blob) => drop(blobs.insert(sha256, blob)),
            Err(Stop::Unfetched(one)) => unfetched.push(one),
            Err(Stop::Error(error)) => return Err(error),
        }
        // Offline, the list of what is missing is the message, and it costs nothing to complete it.
        if !unfetched.is_empty() && !options.offline {
            break;
        }
    }
    // Those that have failed by now, too, are told in one go.
    while let Some(Some((_, result))) = running.next().now_or_never() {
        if let Err(Stop::Unfetched(one)) = result {
            unfetched.push(one);
        }
    }
    if unfetched.is_empty() { Ok(blobs) } else { Err(problem::failure(&unfetched, options.offline).into()) }
}

/// The blob of an artifact, if its pinned length is that of its pinned digest.
fn pick(artifact: &Artifact, blobs: &HashMap<Digest, Blob>) -> Result<Blob> {
    let blob = blobs.get(&artifact.sha256).context("find what was fetched")?;
    if let Some(size) = artifact.size.filter(|size| *size != blob.size()) {
        let sha256 = artifact.sha256;
        let message = format!("{artifact} is pinned to {size} bytes, but sha256 {sha256} has {}", blob.size());
        return Err(Failure::new(Class::Verification, message).hint("correct its size where it is pinned").into());
    }
    Ok(blob.clone())
}
