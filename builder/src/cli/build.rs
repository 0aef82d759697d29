//! `flexnode-build`: from flags to a bundle.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use indicatif::HumanBytes;
use serde_json::json;

use super::Output;
use super::args::{FetchArgs, RequestArgs, bring, today};
use crate::assemble::{Ingredients, assemble};
use crate::atomic::Partial;
use crate::bundle::{Packing, pack};
use crate::failure::{Class, Failure};
use crate::overlay::Content;
use crate::render::Values;
use crate::signing::{self, Invocation, PrivateKey};
use crate::spec::Spec;
use crate::stage::package::Control;

/// Modification time of every member unless `SOURCE_DATE_EPOCH` says otherwise: 1980-01-01, the first day that tar
/// and zip alike accept without complaint.
const DEFAULT_EPOCH: u64 = 315_532_800;

/// zstd level: the knee of the curve, see `docs/bundle.md`.
const DEFAULT_LEVEL: i32 = 9;

/// Builds a bundle.
#[derive(Debug, clap::Args)]
pub(super) struct BuildArgs {
    #[command(flatten)]
    request: RequestArgs,
    /// Build from this lock
    #[arg(long, value_name = "FILE", help_heading = "What to build")]
    lock: Option<PathBuf>,
    /// Directory whose files override templates of the same name
    #[arg(long, value_name = "DIR", help_heading = "What to build")]
    templates: Option<PathBuf>,
    /// Set a template value: kubelet.maxPods=250 (repeatable)
    #[arg(long, value_name = "KEY=VALUE", help_heading = "What to build")]
    set: Vec<String>,
    /// The flexnode-firstboot to ship [default: beside this program]
    #[arg(long, value_name = "FILE", help_heading = "What to build")]
    firstboot: Option<PathBuf>,
    /// The bundle to write [default: bundle.tar.zst]
    #[arg(long, short, value_name = "FILE", help_heading = "What to build")]
    output: Option<PathBuf>,
    /// zstd level, 1 (fast) to 19 (small) [default: 9]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=19), help_heading = "What to build")]
    level: Option<i32>,
    /// Sign it with this private key, and where it came from too
    #[arg(long, value_name = "FILE", help_heading = "What to build")]
    sign_key: Option<PathBuf>,
    #[command(flatten)]
    fetch: FetchArgs,
}

pub(super) fn run(args: &BuildArgs, output: Output) -> Result<ExitCode> {
    let progress = output.progress();
    let spec = args.request.spec()?;
    let values = Values::from_layers(&[spec.values.clone().into()], &args.set)?;
    let lock = args.request.lock(args.lock.as_deref(), &spec, &progress)?;
    let options = args.fetch.options(&spec)?;
    let packing = args.packing(&spec)?;
    let invocation = args.invocation(packing.level)?;
    let firstboot = args.firstboot(&spec)?;
    let path = args.output.as_deref().or(spec.output.as_deref()).unwrap_or(Path::new("bundle.tar.zst"));
    let key = args.sign_key.as_deref().map(PrivateKey::read).transpose()?;
    // Before the first download: an output that cannot be written is better known now.
    let partial = Partial::create(path)?;

    if key.is_some() && std::env::var_os("SOURCE_DATE_EPOCH").is_none() {
        progress.warn(
            "SOURCE_DATE_EPOCH is not set, so only its Kubernetes version will tell this bundle from an older one",
        );
    }

    progress.stage(&format!("fetching Kubernetes {} for {} {}", lock.kubernetes, lock.target, lock.arch));
    let cache = args.fetch.cache(&spec)?;
    let (blobs, images) = bring(&lock, &spec, &cache, &options, &progress)?;

    progress.stage("unpacking and checking programs, rendering configuration");
    let ingredients = Ingredients {
        lock: &lock,
        blobs: &blobs,
        images: &images,
        values: &values,
        templates: args.templates.as_deref().or(spec.templates.as_deref()),
        files: &spec.files,
        firstboot: &firstboot,
        scratch: &cache.scratch_dir()?,
    };
    let (manifest, overlay) = assemble(&ingredients, packing.epoch)?;
    for (_, blob) in lock.artifacts.iter().zip(&blobs).filter(|(artifact, _)| artifact.is_package()) {
        let control = Control::read(Content::File(Arc::clone(blob.file())).reader())?;
        if let Some(warning) = control.age_warning(today()) {
            progress.warn(&warning);
        }
    }

    progress.stage(&format!("packing {}", path.display()));
    let task = progress.work("packing", manifest.files.iter().map(|item| item.kind.size()).sum());
    let packed = pack(&manifest, &overlay, partial, packing, &|n| task.advance(n))?;
    drop(task);
    progress.note(&format!("{}: {}, sha256 {}", path.display(), HumanBytes(packed.size), packed.sha256));
    if let Some(key) = &key {
        let provenance = signing::statement(path, packed.sha256, &lock, &manifest, &invocation)?;
        signing::sign(path, packed.sha256, key)?;
        signing::sign_provenance(path, &provenance, key)?;
        progress.note(&format!("{} is signed by {}", path.display(), key.public()?));
    }
    let result = json!({"bundle": path, "sha256": packed.sha256, "size": packed.size, "manifest": manifest});
    output.print(&result, || format!("{}\n", path.display()))?;
    Ok(ExitCode::SUCCESS)
}

impl BuildArgs {
    fn packing(&self, spec: &Spec) -> Result<Packing> {
        let level = self.level.or(spec.level).unwrap_or(DEFAULT_LEVEL);
        if !(1..=19).contains(&level) {
            bail!(Failure::new(Class::Usage, format!("there is no level {level}")).hint("zstd levels go from 1 to 19"));
        }
        let jobs = u32::try_from(self.fetch.jobs(spec).get()).unwrap_or(u32::MAX);
        Ok(Packing { level, jobs, epoch: epoch()? })
    }

    /// What of the call goes into the provenance.
    fn invocation(&self, level: i32) -> Result<Invocation<'_>> {
        let set = self.set.iter().map(|set| set.split_once('=').map_or(&**set, |(name, _)| name)).collect();
        Ok(Invocation { level, set, spec: self.request.spec_digest()? })
    }

    /// The firstboot that flags or spec name, or the one beside this program.
    fn firstboot(&self, spec: &Spec) -> Result<PathBuf> {
        if let Some(path) = self.firstboot.as_ref().or(spec.firstboot.as_ref()) {
            return Ok(path.clone());
        }
        let program = std::env::current_exe().context("finding this program")?;
        let beside = program.with_file_name("flexnode-firstboot");
        if !beside.exists() {
            bail!(
                Failure::new(Class::Usage, format!("there is no flexnode-firstboot beside {}", program.display()))
                    .hint(
                        "build it with `cargo build --release -p flexnode-firstboot`, or name one with --firstboot FILE"
                    )
            );
        }
        Ok(beside)
    }
}

/// `SOURCE_DATE_EPOCH` as reproducible-builds.org defines it.
fn epoch() -> Result<u64> {
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH") else { return Ok(DEFAULT_EPOCH) };
    let parsed = text.to_str().and_then(|text| text.parse().ok()).filter(|epoch| *epoch < 1 << 33);
    parsed.with_context(|| {
        Failure::new(Class::Usage, format!("SOURCE_DATE_EPOCH is `{}`", text.to_string_lossy().escape_debug()))
            .hint("set it to whole seconds since 1970, for example $(git log -1 --format=%ct), or unset it")
    })
}
