//! Flags that several verbs share, and how they override the spec file.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;

use crate::artifact::Arch;
use crate::catalog::Catalog;
use crate::digest::Digest;
use crate::document;
use crate::failure::{Class, Failure};
use crate::fetch::{self, Blob, Cache, Mirror};
use crate::image::{self, Image, Reference, Wanted as WantedImage, pull};
use crate::lock::Lock;
use crate::progress::Progress;
use crate::request::{Request, Wanted};
use crate::resolve::{end_of_life_warning, resolve};
use crate::spec::Spec;
use crate::target::Target;

/// What to build.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to build")]
pub(super) struct RequestArgs {
    /// Kubernetes minor or version: 1.30, 1.30.4
    #[arg(long, value_name = "VERSION")]
    k8s: Option<Wanted>,
    /// containerd version or range: 2.1.9, 2.1, ">=2.0, <2.3"
    #[arg(long, value_name = "VERSION")]
    containerd: Option<Wanted>,
    /// runc version or range
    #[arg(long, value_name = "VERSION")]
    runc: Option<Wanted>,
    /// CNI plugins version or range
    #[arg(long, value_name = "VERSION")]
    cni: Option<Wanted>,
    /// crictl version or range
    #[arg(long, value_name = "VERSION")]
    crictl: Option<Wanted>,
    /// The nodes' architecture [default: amd64]
    #[arg(long)]
    arch: Option<Arch>,
    /// The distribution that the nodes run [default: ubuntu-22.04]
    #[arg(long)]
    target: Option<Target>,
    /// Sandbox image, by digest [default: the catalog's]
    #[arg(long, value_name = "IMAGE")]
    pause_image: Option<String>,
    /// Preload this container image, by digest (repeatable)
    #[arg(long, value_name = "IMAGE")]
    image: Vec<Reference>,
    /// Do not preload the sandbox image
    #[arg(long)]
    no_pause_image: bool,
    /// Add an optional component: kube-proxy, nerdctl=2.1 (repeatable)
    #[arg(long, value_name = "NAME")]
    with: Vec<String>,
    /// Permit a pair that a rule forbids, by the rule's name (repeatable)
    #[arg(long, value_name = "RULE")]
    allow: Vec<String>,
    /// Spec file: everything the flags say and more (see `schema`)
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Catalog directory in the place of the built-in one
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
}

/// How to fetch.
#[derive(Debug, Args)]
#[command(next_help_heading = "Downloads")]
pub(super) struct FetchArgs {
    /// Ask this mirror before upstream (repeatable, in order)
    ///
    /// A URL (https, http, file) or a directory. The path below it is
    /// upstream's host and path.
    #[arg(long, value_name = "URL|DIR")]
    mirror: Vec<String>,
    /// Never open a socket: cache, directories and files only
    #[arg(long)]
    offline: bool,
    /// Where downloads are kept [default: ~/.cache/flexnode]
    #[arg(long, value_name = "DIR", env = "FLEXNODE_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// Trust these certificates besides the system's (repeatable)
    #[arg(long, value_name = "FILE")]
    ca_cert: Vec<PathBuf>,
    /// Parallel downloads and compression threads [default: CPUs, at most 4]
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Attempts after the first for a failing download [default: 4]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// Seconds to wait for a connection
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    connect_timeout: u64,
    /// Seconds without a byte after which a download starts over
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    stall_timeout: u64,
}

impl RequestArgs {
    /// The spec file, or an empty one.
    pub(super) fn spec(&self) -> Result<Spec> {
        self.spec.as_deref().map_or_else(|| Ok(Spec::default()), Spec::read)
    }

    /// Digest of the spec file, where there is one.
    pub(super) fn spec_digest(&self) -> Result<Option<Digest>> {
        self.spec.as_deref().map(|path| Ok(Digest::of(document::read(path)?.as_bytes()))).transpose()
    }

    /// What spec and flags ask for together; flags win.
    fn request(&self, spec: &Spec) -> Request {
        let said = spec.request();
        Request {
            kubernetes: self.k8s.clone().or(said.kubernetes),
            containerd: self.containerd.clone().or(said.containerd),
            runc: self.runc.clone().or(said.runc),
            cni: self.cni.clone().or(said.cni),
            crictl: self.crictl.clone().or(said.crictl),
            arch: self.arch.or(said.arch),
            target: self.target.or(said.target),
            pause_image: self.pause_image.clone().or(said.pause_image),
            images: said.images.into_iter().chain(self.image.iter().cloned()).collect(),
            without_pause_image: said.without_pause_image || self.no_pause_image,
            with: said.with.into_iter().chain(self.with.iter().cloned()).collect(),
            allow: said.allow.into_iter().chain(self.allow.iter().cloned()).collect(),
            components: said.components,
            packages: said.packages,
        }
    }

    /// The catalog that spec or flags name.
    pub(super) fn catalog(&self, spec: &Spec) -> Result<Catalog> {
        Catalog::load(self.manifests.as_deref().or(spec.manifests.as_deref()))
    }

    /// Resolves, and says what people should know.
    pub(super) fn resolve(&self, spec: &Spec, progress: &Progress) -> Result<Lock> {
        let resolution = resolve(self.request(spec), &self.catalog(spec)?)?;
        for warning in resolution.warnings {
            progress.warn(&warning);
        }
        for note in resolution.notes {
            progress.note(&note);
        }
        warn_of_end(&resolution.lock, progress);
        Ok(resolution.lock)
    }

    /// The lock in `file`, if one is given and fits, or a resolution.
    pub(super) fn lock(&self, file: Option<&Path>, spec: &Spec, progress: &Progress) -> Result<Lock> {
        let Some(file) = file.or(spec.lock.as_deref()) else { return self.resolve(spec, progress) };
        let lock = Lock::read(file)?;
        lock.check_fits(&self.request(spec), &file.display().to_string())?;
        warn_of_end(&lock, progress);
        Ok(lock)
    }
}

fn warn_of_end(lock: &Lock, progress: &Progress) {
    if let Some(warning) = end_of_life_warning(lock, today()) {
        progress.warn(&warning);
    }
}

/// The day, for warnings alone: nothing of it gets into a bundle.
pub(super) fn today() -> Date {
    Offset::UTC.to_datetime(Timestamp::now()).date()
}

impl FetchArgs {
    /// The cache that spec or flags name.
    pub(super) fn cache(&self, spec: &Spec) -> Result<Cache> {
        Cache::open(self.cache_dir.as_deref().or(spec.cache_dir.as_deref()))
    }

    /// Options of spec and flags together; the flags' mirrors come first.
    pub(super) fn options(&self, spec: &Spec) -> Result<fetch::Options> {
        let mirrors = self.mirror.iter().chain(&spec.mirrors);
        let mirrors: Vec<Mirror> = mirrors
            .map(|text| text.parse().map_err(|error| Failure::new(Class::Usage, format!("{error}"))))
            .collect::<Result<_, _>>()?;
        let defaults = fetch::Options::default();
        Ok(fetch::Options {
            mirrors,
            offline: self.offline || spec.offline,
            ca_certs: self.ca_cert.iter().chain(&spec.ca_certs).cloned().collect(),
            jobs: self.jobs(spec),
            retries: self.retries.or(spec.retries).unwrap_or(defaults.retries),
            connect_timeout: Duration::from_secs(self.connect_timeout),
            stall_timeout: Duration::from_secs(self.stall_timeout),
            ..defaults
        })
    }

    /// How much to do at once.
    pub(super) fn jobs(&self, spec: &Spec) -> NonZeroUsize {
        let said = spec.jobs.and_then(|jobs| NonZeroUsize::new(jobs as usize));
        let cpus = || {
            std::thread::available_parallelism()
                .map_or(NonZeroUsize::MIN, |n| n.min(NonZeroUsize::MIN.saturating_add(3)))
        };
        self.jobs.or(said).unwrap_or_else(cpus)
    }
}

/// Brings what a lock pins: its artifacts, in its order, and its images, some of which may lie where the spec says.
pub(super) fn bring(
    lock: &Lock,
    spec: &Spec,
    cache: &Cache,
    options: &fetch::Options,
    progress: &Progress,
) -> Result<(Vec<Blob>, Vec<Image>)> {
    let from = |reference: &Reference| {
        spec.images.iter().find(|image| image.reference() == reference).and_then(image::Asked::layout)
    };
    let images: Vec<WantedImage<'_>> =
        lock.images.iter().map(|reference| WantedImage { reference, from: from(reference) }).collect();
    block_on(async {
        let blobs = fetch::fetch(&lock.artifacts, cache, options, progress).await?;
        Ok((blobs, pull(&images, lock.arch, cache, options, progress).await?))
    })
}

/// Runs what needs the network or timers.
fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?.block_on(future)
}
