//! Puts the overlay together: staged programs, rendered configuration, firstboot, and the spec's own files.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::artifact::Proof;
use crate::bundle::{Component, MANIFEST_PATH, Manifest};
use crate::digest::Digest;
use crate::failure::{Class, Failure};
use crate::fetch::Blob;
use crate::image::{Image, lay_out};
use crate::lock::Lock;
use crate::overlay::{Content, Entry, FileEntry, Mode, Overlay};
use crate::render::{Facts, Values, render};
use crate::sbom::{CYCLONEDX_PATH, Format, Purl, SPDX_PATH, collect};
use crate::spec::ExtraFile;
use crate::stage::package::Control;
use crate::stage::{check_program, stage};

/// Everything a bundle is made of.
#[derive(Debug)]
pub struct Ingredients<'a> {
    /// What was resolved.
    pub lock: &'a Lock,
    /// The lock's artifacts, verified, in its order.
    pub blobs: &'a [Blob],
    /// The lock's images.
    pub images: &'a [Image],
    /// What templates are filled with.
    pub values: &'a Values,
    /// Overrides of single templates.
    pub templates: Option<&'a Path>,
    /// Files of the spec.
    pub files: &'a [ExtraFile],
    /// The firstboot program.
    pub firstboot: &'a Path,
    /// Where unpacked programs lie, nameless, until they are packed.
    pub scratch: &'a Path,
}

/// Stages and renders everything.
///
/// # Errors
/// When an artifact is refused, a template fails, or two owners want one path.
pub fn assemble(ingredients: &Ingredients<'_>, epoch: u64) -> Result<(Manifest, Overlay)> {
    let lock = ingredients.lock;
    let mut overlay = Overlay::default();
    let mut components = Vec::new();
    for (artifact, blob) in lock.artifacts.iter().zip(ingredients.blobs) {
        stage(artifact, blob.file(), lock.arch, lock.target, ingredients.scratch, &mut overlay)?;
        let mut component = Component::of(artifact, blob.size());
        if artifact.is_package() {
            let control = Control::read(Content::File(Arc::clone(blob.file())).reader())?;
            component.purl = Purl::of_package(&control, lock.target)?;
        }
        components.push(component);
    }
    components.extend(lay_out(ingredients.images, &mut overlay)?);
    components.push(add_firstboot(ingredients, &mut overlay)?);

    let facts = Facts {
        kubernetes: lock.kubernetes.clone(),
        containerd: lock.containerd()?,
        arch: lock.arch,
        target: lock.target,
        pause_image: lock.pause_image.clone(),
    };
    for (path, entry) in render(&facts, ingredients.values, ingredients.templates)? {
        overlay.insert(path, entry)?;
    }
    for file in ingredients.files {
        add_file(file, &mut overlay)?;
    }
    for own in [MANIFEST_PATH, SPDX_PATH, CYCLONEDX_PATH] {
        if overlay.get(&own.parse()?).is_some() {
            bail!(
                Failure::new(Class::Usage, format!("/{own} is the bundle's own")).hint("give that file another path")
            );
        }
    }
    let sbom = collect(lock, &components, &overlay, epoch).context("listing what is inside")?;
    for format in [Format::Spdx, Format::Cyclonedx] {
        let document = sbom.document(format).context("encoding the SBOM")?;
        overlay.insert(format.path().parse()?, Entry::File(written(&document, Mode::FILE)))?;
    }
    Ok((Manifest::new(lock, components, &overlay, epoch), overlay))
}

fn add_firstboot(ingredients: &Ingredients<'_>, overlay: &mut Overlay) -> Result<Component> {
    let (name, path) = ("flexnode-firstboot", ingredients.firstboot);
    let entry = open(path, Mode::EXECUTABLE, Some(name)).with_context(|| format!("reading {}", path.display()))?;
    if let Content::File(file) = &entry.content {
        check_program(name, file, ingredients.lock.arch, ingredients.lock.target)
            .with_context(|| format!("checking {}", path.display()))?;
    }
    let component = Component {
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        url: format!("file:{name}"),
        sha256: entry.sha256,
        size: entry.size,
        license: "MIT".to_owned(),
        proof: Proof::Local,
        purl: None,
        stand_in: false,
    };
    overlay.insert("usr/local/bin/flexnode-firstboot".parse()?, Entry::File(entry))?;
    Ok(component)
}

fn add_file(file: &ExtraFile, overlay: &mut Overlay) -> Result<()> {
    let entry = match (&file.source, &file.content) {
        (Some(source), _) => {
            open(source, file.mode, None).with_context(|| format!("reading {} for /{}", source.display(), file.path))?
        }
        (None, content) => written(content.as_deref().unwrap_or_default().as_bytes(), file.mode),
    };
    overlay.insert(file.path.clone(), Entry::File(entry))
}

fn written(bytes: &[u8], mode: Mode) -> FileEntry {
    let (size, sha256) = (bytes.len() as u64, Digest::of(bytes));
    FileEntry { mode, size, sha256, content: Content::Bytes(bytes.into()), component: None }
}

/// A file of this machine, hashed through the descriptor that is packed later.
fn open(path: &Path, mode: Mode, component: Option<&str>) -> Result<FileEntry> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        bail!(Failure::new(Class::Usage, format!("{} is not a regular file", path.display())).hint("name a file"));
    }
    let content = Content::File(Arc::new(file));
    let (sha256, size) = Digest::of_reader(content.reader())?;
    Ok(FileEntry { mode, size, sha256, content, component: component.map(str::to_owned) })
}
