//! The catalog: where upstream publishes each component, its versions and digests, and what pairs with what.

mod compat;
mod component;
mod lint;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

pub use self::compat::{Compat, Defaults, Minor, Pair, Rule};
pub use self::component::{Component, Pin, Release};
pub use self::lint::lint;
use crate::digest::Digest;
use crate::document;
use crate::failure::{Class, Failure};

/// Files of the catalog that is built into this program.
const EMBEDDED: &[(&str, &str)] = &[
    ("cni-plugins.yaml", include_str!("../../../manifests/cni-plugins.yaml")),
    ("compat.yaml", include_str!("../../../manifests/compat.yaml")),
    ("containerd-static.yaml", include_str!("../../../manifests/containerd-static.yaml")),
    ("containerd.yaml", include_str!("../../../manifests/containerd.yaml")),
    ("crictl.yaml", include_str!("../../../manifests/crictl.yaml")),
    ("kube-proxy.yaml", include_str!("../../../manifests/kube-proxy.yaml")),
    ("kubeadm.yaml", include_str!("../../../manifests/kubeadm.yaml")),
    ("kubectl.yaml", include_str!("../../../manifests/kubectl.yaml")),
    ("kubelet.yaml", include_str!("../../../manifests/kubelet.yaml")),
    ("nerdctl.yaml", include_str!("../../../manifests/nerdctl.yaml")),
    ("runc.yaml", include_str!("../../../manifests/runc.yaml")),
];

const COMPAT: &str = "compat.yaml";
const HELP: &str = "docs/catalog.md describes the catalog's files";

/// All components and their pairings.
#[derive(Debug)]
pub struct Catalog {
    /// Components by name.
    pub components: BTreeMap<String, Component>,
    /// Pairings and rules.
    pub compat: Compat,
    /// Digest over the names and texts of all files.
    pub digest: Digest,
}

impl Catalog {
    /// The catalog that is built into this program.
    ///
    /// # Errors
    /// None that a test has not ruled out.
    pub fn embedded() -> Result<Self> {
        Self::parse(EMBEDDED.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect())
    }

    /// The catalog in `dir`, or the embedded one.
    ///
    /// # Errors
    /// When a file cannot be read or parsed, or two of them contradict each other.
    pub fn load(dir: Option<&Path>) -> Result<Self> {
        let Some(dir) = dir else { return Self::embedded() };
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(dir).with_context(|| format!("reading the catalog {}", dir.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                files.insert(name, document::read(&path)?);
            }
        }
        if !files.contains_key(COMPAT) {
            bail!(
                Failure::new(Class::Usage, format!("{} holds no {COMPAT}, so it is no catalog", dir.display())).hint(
                    "--manifests takes a directory laid out like manifests/ in the source tree: one file per component and compat.yaml"
                )
            );
        }
        Self::parse(files)
    }

    /// Parses the files of a catalog, given by name.
    ///
    /// # Errors
    /// As for [`Catalog::load`].
    pub fn parse(files: BTreeMap<String, String>) -> Result<Self> {
        let mut names_and_texts = Vec::new();
        let mut components = BTreeMap::new();
        let mut compat = None;
        for (file, text) in files {
            names_and_texts.extend_from_slice(format!("{file} {}\n", text.len()).as_bytes());
            names_and_texts.extend_from_slice(text.as_bytes());
            if file == COMPAT {
                compat = Some(Compat::parse(&text)?);
                continue;
            }
            let component = Component::parse(&text, &file)?;
            if file.strip_suffix(".yaml") != Some(component.name.as_str()) {
                bail!(
                    Failure::new(Class::Usage, format!("{file} describes `{}`", component.name))
                        .hint(format!("rename it to {}.yaml", component.name))
                );
            }
            components.insert(component.name.clone(), component);
        }
        let compat = compat.with_context(|| format!("the catalog has no {COMPAT}"))?;
        Ok(Self { components, compat, digest: Digest::of(&names_and_texts) })
    }

    /// The component called `name`.
    ///
    /// # Errors
    /// Names the nearest component there is.
    pub fn component(&self, name: &str) -> Result<&Component> {
        self.components.get(name).ok_or_else(|| {
            let nearest = flexnode_firstboot::suggest::nearest(name, self.components.keys().map(String::as_str));
            let known = self.components.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            Failure::new(Class::Resolution, format!("the catalog has no component `{name}`"))
                .hint(nearest.map_or(format!("it has {known}"), |nearest| format!("did you mean `{nearest}`?")))
                .into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_catalog_is_the_whole_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
        let mut on_disk: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        on_disk.sort();
        assert_eq!(on_disk, EMBEDDED.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }

    #[test]
    fn the_embedded_catalog_has_no_findings() {
        assert_eq!(lint(&Catalog::embedded().unwrap()), Vec::<String>::new());
    }

    #[test]
    fn the_embedded_catalog_holds_all_that_was_gathered() {
        let catalog = Catalog::embedded().unwrap();
        let pins: usize = catalog.components.values().flat_map(|c| &c.releases).map(|r| r.pins().count()).sum();
        assert_eq!((catalog.components.len(), catalog.compat.minors.len(), pins), (10, 10, 1520));
    }
}
