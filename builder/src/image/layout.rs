//! Images in the bundle: one OCI image layout, in which a layer that images share lies once.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::pull::Image;
use crate::bundle::Component;
use crate::digest::Digest;
use crate::failure::{Class, Failure};
use crate::overlay::{Content, Entry, FileEntry, Mode, Overlay};

/// Where it lies on the node.
pub const DIRECTORY: &str = "usr/share/flexnode/images";

/// Puts the layout of `images` into `overlay`; each image is a component.
///
/// # Errors
/// When two images would have the same name on the node, or a spec's file is in the way.
pub fn lay_out(images: &[Image], overlay: &mut Overlay) -> Result<Vec<Component>> {
    if images.is_empty() {
        return Ok(Vec::new());
    }
    for directory in ["", "/blobs", "/blobs/sha256"] {
        overlay.insert(format!("{DIRECTORY}{directory}").parse()?, Entry::Directory(Mode::DIRECTORY))?;
    }
    let (mut names, mut laid, mut index, mut components) = (BTreeSet::new(), BTreeSet::new(), Vec::new(), Vec::new());
    for image in images {
        let reference = &image.reference;
        let (top, blob) = image.parts.first().context("find an image's top")?;
        for name in reference.names_on_the_node() {
            if !names.insert(name.clone()) {
                bail!(
                    Failure::new(Class::Usage, format!("two images of the bundle are called {name}"))
                        .hint("give one of them another tag, or none")
                );
            }
            // containerd gives an image the name that this annotation says.
            index.push(json!({
                "mediaType": media_type(image)?,
                "digest": format!("sha256:{}", top.sha256),
                "size": blob.size(),
                "annotations": {"io.containerd.image.name": name},
            }));
        }
        for (part, blob) in &image.parts {
            if laid.insert(part.sha256) {
                let entry = file(blob.content(), blob.sha256(), blob.size(), Some(reference.label()));
                overlay.insert(format!("{DIRECTORY}/blobs/sha256/{}", part.sha256).parse()?, entry)?;
            }
        }
        let parts: BTreeSet<(Digest, u64)> =
            image.parts.iter().map(|(part, blob)| (part.sha256, blob.size())).collect();
        components.push(Component {
            name: reference.label(),
            version: reference.tag().map_or_else(|| top.sha256.short(), str::to_owned),
            url: reference.manifest_url(reference.digest()),
            sha256: reference.digest(),
            size: parts.iter().map(|(_, size)| size).sum(),
            license: top.license.clone(),
            proof: top.proof.clone(),
            stand_in: false,
            purl: None,
        });
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": index,
    });
    text(overlay, "index.json", &serde_json::to_string(&index).context("write an index of images")?)?;
    text(overlay, "oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    // For the shell script that imports them, which reads no JSON.
    let lines: Vec<String> = images
        .iter()
        .flat_map(|image| {
            let digest = image.reference.digest();
            image.reference.names_on_the_node().into_iter().map(move |name| format!("{name} sha256:{digest}\n"))
        })
        .collect();
    text(overlay, "names", &lines.concat())?;
    Ok(components)
}

/// What the top says that it is, or else what its shape is: its parts are an index's if they begin with two documents.
fn media_type(image: &Image) -> Result<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Top {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let (_, blob) = image.parts.first().context("find an image's top")?;
    let top: Top = serde_json::from_reader(blob.content().reader()).context("read an image's top")?;
    let kind = if top.manifests.is_some() { "index" } else { "manifest" };
    Ok(top.media_type.unwrap_or_else(|| format!("application/vnd.oci.image.{kind}.v1+json")))
}

fn text(overlay: &mut Overlay, name: &str, text: &str) -> Result<()> {
    let bytes = text.as_bytes();
    let entry = file(Content::Bytes(bytes.into()), Digest::of(bytes), bytes.len() as u64, None);
    overlay.insert(format!("{DIRECTORY}/{name}").parse()?, entry)
}

fn file(content: Content, sha256: Digest, size: u64, component: Option<String>) -> Entry {
    Entry::File(FileEntry { mode: Mode::FILE, size, sha256, content, component })
}
