//! Renders the templates that mirror the installed tree.
//!
//! A template's name is the path it installs, `.j2` appended where it is rendered and not copied. What a tree cannot
//! say, modes, empty directories and links, is in `layout`. The result depends on facts, values and templates only.

mod context;
mod filters;
mod kubelet_fields;
mod layers;
mod layout;
mod limits;
mod output;
mod templates;
pub mod values;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};

pub use context::Facts;
pub use values::Values;

use crate::digest::Digest;
use crate::overlay::{Content, Entry, FileEntry, Mode, OverlayPath};

/// Renders everything that is not a component: configuration, units, directories and links, sorted by path and ready
/// for [`crate::overlay::Overlay::insert`].
///
/// Files of the directory `overrides` replace the built-in template that installs the same path, or are further files.
///
/// # Errors
/// A [`crate::failure::Class::Usage`] failure that names template, line and variable, or the rendered file that could
/// not work; a [`crate::failure::Class::Local`] one where `overrides` cannot be read.
pub fn render(facts: &Facts, values: &Values, overrides: Option<&Path>) -> Result<Vec<(OverlayPath, Entry)>> {
    values.check()?;
    let templates = templates::load(overrides)?;
    let engine = templates::Engine::new(&templates)?;
    let mut tree: BTreeMap<OverlayPath, Entry> = BTreeMap::new();
    for (path, mode) in layout::DIRECTORIES {
        tree.insert(path.parse()?, Entry::Directory(mode.parse()?));
    }
    for (path, target) in layout::LINKS {
        tree.insert(path.parse()?, Entry::Link { target: target.to_owned() });
    }
    for template in &templates {
        for context in context::contexts(template, facts, values)? {
            let path: OverlayPath = template.path_for(&context).parse().context("name a rendered file")?;
            let bytes = engine.render(template, &context)?;
            output::check(&path, &bytes, facts)?;
            if let Some(registry) = context.registry() {
                tree.insert(format!("{}/{registry}", layout::REGISTRIES).parse()?, Entry::Directory(Mode::DIRECTORY));
            }
            tree.insert(path, file(bytes, template.mode));
        }
    }
    Ok(tree.into_iter().collect())
}

fn file(bytes: Vec<u8>, mode: Mode) -> Entry {
    Entry::File(FileEntry {
        mode,
        size: bytes.len() as u64,
        sha256: Digest::of(&bytes),
        content: Content::Bytes(Arc::from(bytes)),
        component: None,
    })
}
