//! Shows what is in a bundle, from its manifest alone.

use std::fmt::Write as _;

use indicatif::HumanBytes;

use super::manifest::{Kind, Manifest};
use crate::text::table;

/// A table of components; with `files`, of every file too.
#[must_use]
pub fn describe(manifest: &Manifest, files: bool) -> String {
    let mut out = String::new();
    let _infallible = writeln!(
        out,
        "Kubernetes {} for {} {}, built by {} {}\npause image  {}\nend of life  {}",
        manifest.kubernetes,
        manifest.target,
        manifest.arch,
        manifest.builder.name,
        manifest.builder.version,
        manifest.pause_image,
        manifest.end_of_life,
    );
    for allowed in &manifest.allowed {
        let _infallible =
            writeln!(out, "allowed      {} ({} {}: {})", allowed.rule, allowed.component, allowed.version, allowed.why);
    }
    out.push('\n');
    out.push_str(&components(manifest));
    if files {
        out.push('\n');
        out.push_str(&all_files(manifest));
    }
    out
}

fn components(manifest: &Manifest) -> String {
    let mut rows = vec![["COMPONENT", "VERSION", "DOWNLOAD", "INSTALLED", "PROOF", "SHA256"].map(str::to_owned)];
    for component in &manifest.components {
        let installed: u64 = manifest.files_of(&component.name).map(|item| item.kind.size()).sum();
        let stand_in = if component.stand_in { " (stand-in)" } else { "" };
        rows.push([
            format!("{}{stand_in}", component.name),
            component.version.clone(),
            HumanBytes(component.size).to_string(),
            HumanBytes(installed).to_string(),
            component.proof.kind().to_owned(),
            component.sha256.short(),
        ]);
    }
    let configuration = manifest.files.iter().filter(|item| matches!(item.kind, Kind::File { component: None, .. }));
    let configuration: u64 = configuration.map(|item| item.kind.size()).sum();
    let total: u64 = manifest.files.iter().map(|item| item.kind.size()).sum();
    let row = |name: &str, size| [name, "", "", &HumanBytes(size).to_string(), "", ""].map(str::to_owned);
    rows.push(row("configuration", configuration));
    rows.push(row("total", total));
    table(&rows, &[2, 3])
}

fn all_files(manifest: &Manifest) -> String {
    let mut rows = vec![["MODE", "SIZE", "SHA256", "COMPONENT", "PATH"].map(str::to_owned)];
    for item in &manifest.files {
        let path = &item.path;
        rows.push(match &item.kind {
            Kind::Directory { mode } => {
                [format!("d{mode}"), String::new(), String::new(), String::new(), format!("{path}/")]
            }
            Kind::Link { target } => {
                ["l".to_owned(), String::new(), String::new(), String::new(), format!("{path} -> {target}")]
            }
            Kind::File { mode, size, sha256, component } => [
                format!("-{mode}"),
                size.to_string(),
                sha256.short(),
                component.clone().unwrap_or_default(),
                path.to_string(),
            ],
        });
    }
    table(&rows, &[1])
}
