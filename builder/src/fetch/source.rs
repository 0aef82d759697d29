//! One artifact: from the cache, or else from the first of its sources that has the right bytes.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use indicatif::DecimalBytes;
use reqwest::Url;

use super::cache::{Blob, Cache, Claim, Entry, Origin, Partial, WrongDigest};
use super::http::{Client, Expected, Transfer};
use super::mirror::{Mirror, Source, redacted, without_userinfo};
use super::problem::{Found, HEAD, Mismatch, Problem, Unfetched};
use super::retry::Schedule;
use super::{Options, file};
use crate::artifact::Artifact;
use crate::failure::{Class, Failure};
use crate::progress::{Progress, Task};

/// What all downloads of one run share.
#[derive(Debug)]
pub(super) struct Fetcher<'a> {
    cache: &'a Cache,
    options: &'a Options,
    progress: &'a Progress,
    /// `None` when offline: what does not exist opens no socket.
    client: Option<Client>,
    /// Hosts that could not be reached although they were asked again: once is enough for the next artifact.
    unreachable: Mutex<HashSet<String>>,
}

/// Why an artifact did not come.
#[derive(Debug)]
pub(super) enum Stop {
    /// No source has it.
    Unfetched(Unfetched),
    /// No source could help.
    Error(anyhow::Error),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Error(error)
    }
}

impl<'a> Fetcher<'a> {
    pub(super) fn new(cache: &'a Cache, options: &'a Options, progress: &'a Progress) -> Result<Self> {
        for mirror in &options.mirrors {
            if let Mirror::Directory(dir) = mirror
                && !dir.is_dir()
            {
                let message = format!("the mirror {} is no directory", dir.display());
                return Err(Failure::new(Class::Usage, message).hint("--mirror takes a directory or a URL").into());
            }
        }
        let client = if options.offline { None } else { Some(Client::new(options)?) };
        Ok(Self { cache, options, progress, client, unreachable: Mutex::default() })
    }

    pub(super) async fn bring(&self, artifact: &Artifact) -> Result<Blob, Stop> {
        let (cache, sha256) = (self.cache.clone(), artifact.sha256);
        let entry = blocking(move || cache.find(sha256)).await?;
        let sources = self.sources(artifact)?;
        match entry {
            Entry::Good(blob) => return Ok(self.cached(artifact, blob)),
            // Nothing could take its place, so it stays; else it is removed under the lock, by `claim`.
            Entry::Bad(why) if sources.is_empty() => {
                self.progress.warn(&format!("{artifact}: its cache entry is bad: {why}"));
            }
            Entry::Bad(_) | Entry::Missing => {}
        }
        if sources.is_empty() {
            return Err(Stop::Unfetched(unfetched(artifact, Vec::new())));
        }
        let partial = match self.claim(artifact).await? {
            Claim::Granted(partial) => Arc::new(partial),
            Claim::Finished(blob) => return Ok(self.cached(artifact, blob)),
        };
        if let Some(blob) = self.left_complete(artifact, &partial).await? {
            return Ok(self.cached(artifact, blob));
        }
        let task = self.progress.download(&artifact.to_string(), artifact.size);
        task.advance(partial.len()?);
        let mut tried = Vec::new();
        for source in sources {
            match self.ask(&source, artifact, &partial, &task).await {
                Ok(blob) => {
                    task.done(&format!("{} from {source}", DecimalBytes(blob.size())));
                    return Ok(blob);
                }
                Err(Problem::Local(error)) => return Err(Stop::Error(error)),
                Err(problem) => {
                    self.tell(artifact, &source, &problem);
                    tried.push((source, problem));
                }
            }
        }
        Err(Stop::Unfetched(unfetched(artifact, tried)))
    }

    fn cached(&self, artifact: &Artifact, blob: Blob) -> Blob {
        self.progress.note(&format!("{artifact}: {} from the cache", DecimalBytes(blob.size())));
        blob
    }

    fn tell(&self, artifact: &Artifact, source: &Source, problem: &Problem) {
        match problem {
            Problem::Wrong(found) => {
                self.progress.warn(&format!("{artifact}: {source} has something else than was pinned: {found}"));
            }
            // That a mirror lacks a file is no surprise.
            _ => self.progress.note(&format!("{artifact}: {source}: {problem}")),
        }
    }

    /// Mirrors in their order, then upstream; offline, those of this machine alone.
    fn sources(&self, artifact: &Artifact) -> Result<Vec<Source>> {
        let refuse = |why: &str| {
            let message = format!("{artifact} cannot be fetched from {}: {why}", without_userinfo(&artifact.url));
            Failure::new(Class::Usage, message).hint("its URL must begin with https://, http:// or file:///")
        };
        let url = Url::parse(&artifact.url).map_err(|error| refuse(&error.to_string()))?;
        let upstream = Source::upstream(&url).ok_or_else(|| refuse("nobody knows how"))?;
        let mirrors = self.options.mirrors.iter().filter_map(|mirror| mirror.source(&url));
        let reachable = |source: &Source| !self.options.offline || matches!(source, Source::File(_));
        Ok(mirrors.chain([upstream]).filter(reachable).collect())
    }

    /// Waits until nobody else writes this entry.
    async fn claim(&self, artifact: &Artifact) -> Result<Claim> {
        let mut waits = false;
        loop {
            let (cache, sha256, progress) = (self.cache.clone(), artifact.sha256, self.progress.clone());
            if let Some(claim) = blocking(move || cache.claim(sha256, &progress)).await? {
                return Ok(claim);
            }
            if !waits {
                self.progress.note(&format!("{artifact}: waiting for another build that fetches it"));
                waits = true;
            }
            // flock(2) has no form that a future could await, and the one that blocks could not be given up.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A build that was killed may have left everything, or too much.
    async fn left_complete(&self, artifact: &Artifact, partial: &Arc<Partial>) -> Result<Option<Blob>> {
        let have = partial.len()?;
        let expected = self.expected(artifact);
        if have == 0 || expected.size.is_some_and(|size| have < size) {
            return Ok(None);
        }
        match finish(partial, Origin::Cache).await? {
            Ok(blob) => Ok(Some(blob)),
            Err(_) if expected.size.is_some() || have >= expected.limit => partial.restart().map(|()| None),
            Err(_) => Ok(None),
        }
    }

    fn expected(&self, artifact: &Artifact) -> Expected {
        Expected { size: artifact.size, limit: artifact.size.unwrap_or(self.options.max_size) }
    }

    async fn ask(
        &self,
        source: &Source,
        artifact: &Artifact,
        partial: &Arc<Partial>,
        task: &Task,
    ) -> Result<Blob, Problem> {
        let expected = self.expected(artifact);
        match (source, &self.client) {
            (Source::File(path), _) => {
                let (path, partial, sha256) = (path.clone(), Arc::clone(partial), artifact.sha256);
                blocking(move || Ok(file::copy(&path, &partial, sha256, expected))).await?
            }
            (Source::Url(url), Some(client)) => {
                let mut download = Download { client, url, partial, expected, task };
                self.persist(source, artifact, &mut download).await
            }
            (Source::Url(_), None) => Err(Problem::Refused("not asked, because of --offline".to_owned())),
        }
    }

    fn unreachable(&self) -> MutexGuard<'_, HashSet<String>> {
        self.unreachable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks again for as long as a failure may pass and attempts are left.
    async fn persist(
        &self,
        source: &Source,
        artifact: &Artifact,
        download: &mut Download<'_>,
    ) -> Result<Blob, Problem> {
        let options = self.options;
        let host = download.url.origin().ascii_serialization();
        let retries = if self.unreachable().contains(&host) { 0 } else { options.retries };
        let mut schedule = Schedule::new(retries, options.first_wait, options.longest_wait);
        let mut transfer = Transfer::new(download.partial.len()? > 0);
        loop {
            let problem = match download.attempt(&mut transfer).await {
                Ok(blob) => return Ok(blob),
                Err(problem) => problem,
            };
            let Some(wait) = problem.passes().and_then(|asked| schedule.next(asked)) else {
                if matches!(problem, Problem::Unreachable(_)) {
                    self.unreachable().insert(host);
                }
                return Err(problem);
            };
            let seconds = wait.as_secs_f64();
            self.progress.note(&format!("{artifact}: {source}: {problem}; trying again in {seconds:.1} s"));
            tokio::time::sleep(wait).await;
        }
    }
}

/// A download from one URL.
#[derive(Debug)]
struct Download<'a> {
    client: &'a Client,
    url: &'a Url,
    partial: &'a Arc<Partial>,
    expected: Expected,
    task: &'a Task,
}

impl Download<'_> {
    async fn attempt(&self, transfer: &mut Transfer) -> Result<Blob, Problem> {
        loop {
            self.client.download(self.url, self.partial, self.expected, transfer, self.task).await?;
            let wrong = match finish(self.partial, Origin::Url(redacted(self.url))).await? {
                Ok(blob) => return Ok(blob),
                Err(wrong) => wrong,
            };
            let head = self.partial.head(HEAD)?;
            self.partial.restart()?;
            self.task.restart();
            // If the beginning was from elsewhere, that may be what is wrong: this source deserves a chance of its own.
            if !std::mem::take(&mut transfer.foreign) {
                let found = Found::Digest { sha256: wrong.found, size: wrong.size };
                return Err(Problem::Wrong(Mismatch { found, head }));
            }
        }
    }
}

async fn finish(partial: &Arc<Partial>, origin: Origin) -> Result<Result<Blob, WrongDigest>> {
    let partial = Arc::clone(partial);
    blocking(move || partial.finish(origin)).await
}

/// Runs what would keep a thread of the runtime for long.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("run work beside the downloads")?
}

fn unfetched(artifact: &Artifact, tried: Vec<(Source, Problem)>) -> Unfetched {
    let url = Url::parse(&artifact.url).map_or_else(|_| without_userinfo(&artifact.url), |url| redacted(&url));
    Unfetched { artifact: artifact.to_string(), sha256: artifact.sha256, url, tried }
}
