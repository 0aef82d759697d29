//! `flexnode-build catalog`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::json;

use super::Output;
use crate::catalog::{Catalog, Component, lint};
use crate::failure::{Class, Failure};
use crate::text::table;

/// Lists the components and versions that can be built, who pins each
/// digest, and which versions go with which Kubernetes.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, verbatim_doc_comment)]
pub(super) struct CatalogArgs {
    #[command(subcommand)]
    verb: Option<CatalogVerb>,
    /// List the versions of this component
    component: Option<String>,
    /// Catalog directory in the place of the built-in one
    #[arg(long, value_name = "DIR", global = true)]
    manifests: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum CatalogVerb {
    /// Look for shared and impossible digests, holes and broken defaults
    Lint,
}

pub(super) fn run(args: &CatalogArgs, output: Output) -> Result<ExitCode> {
    let catalog = Catalog::load(args.manifests.as_deref())?;
    match (&args.verb, &args.component) {
        (Some(CatalogVerb::Lint), _) => return report_findings(&catalog, output),
        (None, Some(name)) => list_versions(catalog.component(name)?, output)?,
        (None, None) => list_all(&catalog, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn report_findings(catalog: &Catalog, output: Output) -> Result<ExitCode> {
    let findings = lint(catalog);
    output.print(&json!({"ok": findings.is_empty(), "findings": findings}), || {
        findings.iter().map(|finding| format!("{finding}\n")).collect()
    })?;
    if !findings.is_empty() {
        bail!(
            Failure::new(Class::Verification, format!("the catalog has {} findings", findings.len()))
                .hint("compare each with what upstream publishes")
        );
    }
    let pins: usize = catalog.components.values().flat_map(|c| &c.releases).map(|release| release.pins().count()).sum();
    output
        .progress()
        .note(&format!("{} components, {pins} digests, nothing to find fault with", catalog.components.len()));
    Ok(ExitCode::SUCCESS)
}

fn list_all(catalog: &Catalog, output: Output) -> Result<()> {
    let components: serde_json::Map<_, _> =
        catalog.components.values().map(|component| (component.name.clone(), versions_json(component))).collect();
    let minors: serde_json::Map<_, _> = catalog
        .compat
        .minors
        .iter()
        .map(|(name, minor)| {
            let defaults = &minor.defaults;
            let minor = json!({
                "released": minor.released,
                "endOfLife": minor.end_of_life,
                "containerd": defaults.containerd,
                "runc": defaults.runc,
                "cni-plugins": defaults.cni_plugins,
                "crictl": defaults.crictl,
                "pauseImage": defaults.pause_image,
            });
            (name.clone(), minor)
        })
        .collect();
    output.print(&json!({"digest": catalog.digest, "components": components, "kubernetes": minors}), || {
        let mut rows = vec![["COMPONENT", "VERSIONS", "OLDEST", "NEWEST", "PROJECT"].map(str::to_owned)];
        for component in catalog.components.values() {
            let version =
                |release: Option<&crate::catalog::Release>| release.map_or(String::new(), |r| r.version.to_string());
            let optional = if component.optional { " (optional)" } else { "" };
            rows.push([
                format!("{}{optional}", component.name),
                component.releases.len().to_string(),
                version(component.releases.first()),
                version(component.releases.last()),
                component.project.clone(),
            ]);
        }
        let mut pairs =
            vec![["KUBERNETES", "END OF LIFE", "CONTAINERD", "RUNC", "CNI", "CRICTL", "PAUSE"].map(str::to_owned)];
        for (name, minor) in &catalog.compat.minors {
            let defaults = &minor.defaults;
            let pause = defaults.pause_image.split('@').next().unwrap_or_default();
            pairs.push([
                name.clone(),
                minor.end_of_life.to_string(),
                defaults.containerd.to_string(),
                defaults.runc.to_string(),
                defaults.cni_plugins.to_string(),
                defaults.crictl.to_string(),
                pause.rsplit(':').next().unwrap_or_default().to_owned(),
            ]);
        }
        format!("{}\n{}", table(&rows, &[1]), table(&pairs, &[]))
    })
}

fn list_versions(component: &Component, output: Output) -> Result<()> {
    output.print(&versions_json(component), || {
        let mut rows = vec![["VERSION", "RELEASED", "ARCH", "SHA256", "PINNED BY"].map(str::to_owned)];
        for release in component.releases.iter().rev() {
            for (arch, pin) in release.pins() {
                rows.push([
                    release.version.to_string(),
                    release.released.map_or(String::new(), |date| date.to_string()),
                    arch.to_string(),
                    pin.sha256.to_string(),
                    pin.pinned_by.join(", "),
                ]);
            }
        }
        table(&rows, &[])
    })
}

fn versions_json(component: &Component) -> serde_json::Value {
    let releases = component.releases.iter().map(|release| {
        let artifacts: serde_json::Map<_, _> = release
            .pins()
            .map(|(arch, pin)| {
                let url = component.url(&release.version, arch);
                (
                    arch.to_string(),
                    json!({"url": url, "sha256": pin.sha256, "size": pin.size, "pinnedBy": pin.pinned_by}),
                )
            })
            .collect();
        json!({"version": release.version, "released": release.released, "note": release.note, "artifacts": artifacts})
    });
    json!({
        "name": component.name,
        "project": component.project,
        "license": component.license,
        "optional": component.optional,
        "releases": releases.collect::<Vec<_>>(),
    })
}
