//! From names to verified blobs: index, manifest, config, layers, each through the fetcher and its cache.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::document::{Config, Document, LARGEST_MANIFEST, Manifest, Part, refusal};
use super::layers;
use super::local::Layout;
use super::reference::Reference;
use crate::artifact::{Arch, Artifact, Kind, Ownership, Proof};
use crate::digest::Digest;
use crate::fetch::{self, Blob, Cache, Options};
use crate::progress::Progress;

/// An image to bring, and where it lies if that is on this machine.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Which one.
    pub reference: &'a Reference,
    /// An OCI image layout that holds it.
    pub from: Option<&'a PathBuf>,
}

/// An image, whole and verified.
#[derive(Debug)]
pub struct Image {
    /// Its name and digest.
    pub reference: Reference,
    /// Its blobs, top first, with where each was fetched.
    pub parts: Vec<(Artifact, Blob)>,
}

/// Brings images for nodes of `arch`, in the order of `wanted`.
///
/// # Errors
/// Those of [`fetch::fetch`], and [`crate::failure::Class::Verification`] for an image that must not be shipped.
pub async fn pull(
    wanted: &[Wanted<'_>],
    arch: Arch,
    cache: &Cache,
    options: &Options,
    progress: &Progress,
) -> Result<Vec<Image>> {
    let mut layouts = BTreeMap::new();
    for from in wanted.iter().filter_map(|wanted| wanted.from) {
        if !layouts.contains_key(from) {
            layouts.insert(from, Layout::open(from, &cache.scratch_dir()?)?);
        }
    }
    let mut images: Vec<Pulling<'_>> = wanted
        .iter()
        .map(|wanted| Pulling {
            reference: wanted.reference,
            layout: wanted.from.and_then(|from| layouts.get(from)),
            parts: Vec::new(),
        })
        .collect();
    let fetching = Fetching { cache, progress, options };

    let tops: Vec<Artifact> = images.iter().map(Pulling::top).collect::<Result<_>>()?;
    let tops = fetching.all(tops, LARGEST_MANIFEST).await?;
    let mut manifests: Vec<Option<Manifest>> = Vec::new();
    let mut chosen = Vec::new();
    for (image, top) in images.iter_mut().zip(tops) {
        let name = image.reference.label();
        match Document::parse(&bytes(&top.1)?, &name)? {
            Document::Manifest(manifest) => manifests.push(Some(manifest)),
            Document::Index(index) => {
                manifests.push(None);
                chosen.push(image.artifact("manifest", &index.choose(arch, &name)?)?);
            }
        }
        image.parts.push(top);
    }
    let mut chosen = fetching.all(chosen, LARGEST_MANIFEST).await?.into_iter();

    let mut contents = Vec::new();
    let mut packed = Vec::new();
    for (image, manifest) in images.iter_mut().zip(manifests) {
        let manifest = match manifest {
            Some(manifest) => manifest,
            None => {
                let part = chosen.next().context("find the manifest that an index led to")?;
                let name = image.reference.label();
                let document = Document::parse(&bytes(&part.1)?, &name)?;
                image.parts.push(part);
                match document {
                    Document::Manifest(manifest) => manifest,
                    Document::Index(_) => return Err(refusal(&name, "its index leads to another index").into()),
                }
            }
        };
        contents.push(image.artifact("config", &manifest.config)?);
        for (layer, _) in &manifest.layers {
            contents.push(image.artifact("layer", layer)?);
        }
        packed.push(manifest.layers);
    }
    let mut contents = fetching.all(contents, options.max_size).await?.into_iter();

    for (image, packed) in images.iter_mut().zip(packed) {
        let name = image.reference.label();
        let config = contents.next().context("find an image's config")?;
        let diff_ids = Config::diff_ids(&bytes(&config.1)?, arch, packed.len(), &name)?;
        image.parts.push(config);
        for ((_, packing), diff_id) in packed.into_iter().zip(diff_ids) {
            let layer = contents.next().context("find an image's layer")?;
            layers::check(&layer.1, packing, diff_id, &name)?;
            image.parts.push(layer);
        }
    }
    Ok(images.into_iter().map(|image| Image { reference: image.reference.clone(), parts: image.parts }).collect())
}

/// An image that is on its way.
struct Pulling<'a> {
    reference: &'a Reference,
    layout: Option<&'a Layout>,
    parts: Vec<(Artifact, Blob)>,
}

impl Pulling<'_> {
    /// What the name's digest leads to, of a length that nobody has told yet.
    fn top(&self) -> Result<Artifact> {
        self.pinned("manifest or index", self.reference.digest(), None)
    }

    fn artifact(&self, what: &str, part: &Part) -> Result<Artifact> {
        self.pinned(what, part.digest, Some(part.size))
    }

    /// A part as the fetcher takes it.
    fn pinned(&self, what: &str, sha256: Digest, size: Option<u64>) -> Result<Artifact> {
        let url = match self.layout {
            Some(layout) => layout.url(sha256, what, self.reference)?,
            None if what.starts_with("manifest") => self.reference.manifest_url(sha256),
            None => self.reference.blob_url(sha256),
        };
        Ok(Artifact {
            name: self.reference.label(),
            version: format!("{what} {}", sha256.short()),
            url,
            size,
            sha256,
            license: "NOASSERTION".to_owned(),
            proof: Proof::Pinned { by: Vec::new() },
            stand_in: false,
            purl: None,
            kind: Kind::Binary,
            ownership: Ownership::Any,
            install: Vec::new(),
        })
    }
}

struct Fetching<'a> {
    cache: &'a Cache,
    progress: &'a Progress,
    options: &'a Options,
}

impl Fetching<'_> {
    async fn all(&self, artifacts: Vec<Artifact>, largest: u64) -> Result<Vec<(Artifact, Blob)>> {
        let options = Options { max_size: largest.min(self.options.max_size), ..self.options.clone() };
        let blobs = fetch::fetch(&artifacts, self.cache, &options, self.progress).await?;
        Ok(artifacts.into_iter().zip(blobs).collect())
    }
}

/// A document's bytes; its length was limited when it was fetched.
fn bytes(blob: &Blob) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    blob.content().reader().read_to_end(&mut bytes).context("read a document of an image")?;
    Ok(bytes)
}
