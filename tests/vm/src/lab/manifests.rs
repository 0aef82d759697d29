//! The lab's catalog: the shipped one with its releases replaced by what the lab holds.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use flexnode_build::catalog::{self, Catalog};
use flexnode_build::digest::Digest;
use flexnode_build::failure::{Class, Failure};
use flexnode_build::sbom::Purl;
use semver::Version;
use serde_json::{Map, Value, json};

/// One artifact of the lab's mirror.
#[derive(Debug)]
pub(super) struct Piece {
    /// The component's name.
    pub(super) component: &'static str,
    /// Its version.
    pub(super) version: Version,
    /// Digest of the artifact.
    pub(super) sha256: Digest,
    /// Length of the artifact.
    pub(super) size: u64,
    /// Where its bytes are from.
    pub(super) origin: Origin,
}

/// Where an artifact's bytes are from.
#[derive(Debug)]
pub(super) enum Origin {
    /// Upstream's own bytes; the shipped catalog's digest is theirs.
    Upstream,
    /// Debian's programs in upstream's layout.
    Debian {
        /// What a reader should know.
        note: String,
        /// What advisories call it.
        purl: Purl,
    },
    /// A real program that the user named.
    Given,
    /// A program of ours that takes the place of a real one.
    StandIn,
}

/// The files of the shipped catalog that the lab's is made of; it has nothing for the optional components.
const SHIPPED: [(&str, &str); 7] = [
    ("cni-plugins", include_str!("../../../../manifests/cni-plugins.yaml")),
    ("containerd", include_str!("../../../../manifests/containerd.yaml")),
    ("crictl", include_str!("../../../../manifests/crictl.yaml")),
    ("kubeadm", include_str!("../../../../manifests/kubeadm.yaml")),
    ("kubectl", include_str!("../../../../manifests/kubectl.yaml")),
    ("kubelet", include_str!("../../../../manifests/kubelet.yaml")),
    ("runc", include_str!("../../../../manifests/runc.yaml")),
];
const COMPAT: &str = include_str!("../../../../manifests/compat.yaml");

const HEAD: &str = "\
# A lab's catalog, made by `flexnode-vm lab`: for tests, amd64 only. Digests are those of the lab's own archives, except
# where `pinnedBy` names others than the lab.
";
const COMPAT_HEAD: &str = "\
# A lab's pairings, made by `flexnode-vm lab`. Rules that set a floor for security are left out: Debian patches security
# issues without changing upstream's version number, so a floor by version says nothing about its builds.
";

/// Writes the lab's catalog for the minor of `kubernetes` into `dir` and reads it back as the builder will.
pub(super) fn write(
    dir: &Path,
    shipped: &Catalog,
    kubernetes: &Version,
    pieces: &[Piece],
    pause_image: &str,
) -> Result<()> {
    for (name, text) in SHIPPED {
        let mut component = parse(text, name)?;
        let releases = pieces.iter().filter(|piece| piece.component == name);
        let releases = releases.map(|piece| release(shipped, piece, text)).collect::<Result<Vec<_>>>()?;
        ensure!(!releases.is_empty(), "the lab holds no {name}");
        if pieces.iter().any(|piece| piece.component == name && matches!(piece.origin, Origin::StandIn)) {
            component.insert("license".to_owned(), "MIT".into());
        }
        component.insert("releases".to_owned(), releases.into());
        save(dir, name, HEAD, component)?;
    }
    save(dir, "compat", COMPAT_HEAD, compat(kubernetes, pieces, pause_image)?)?;
    let findings = catalog::lint(&Catalog::load(Some(dir)).context("read the lab's catalog back")?);
    ensure!(
        findings.is_empty(),
        Failure::new(Class::Resolution, format!("the lab's catalog is not sound: {}", findings.join("; ")))
            .hint("Debian's packages were chosen before the rules changed: choose again with --refresh")
    );
    Ok(())
}

/// A release as the catalog writes it.
fn release(shipped: &Catalog, piece: &Piece, text: &str) -> Result<Value> {
    let version = piece.version.to_string();
    let component = shipped.component(piece.component)?;
    if matches!(piece.origin, Origin::Upstream) {
        let releases = parse(text, piece.component)?.remove("releases").context("read the shipped releases")?;
        let mut entry = releases
            .as_array()
            .and_then(|all| all.iter().find(|entry| entry["version"] == *version))
            .and_then(Value::as_object)
            .cloned()
            .with_context(|| format!("find {} {version} in the shipped catalog", piece.component))?;
        ensure!(
            entry.get("amd64").is_some_and(|pin| pin["sha256"] == *piece.sha256.to_string()),
            "the shipped catalog pins other bytes for {} {version} than the lab has",
            piece.component
        );
        entry.remove("arm64");
        return Ok(entry.into());
    }
    let mut entry = Map::new();
    entry.insert("version".to_owned(), version.into());
    let released = component.releases.iter().find(|release| release.version == piece.version);
    if let Some(date) = released.and_then(|release| release.released) {
        entry.insert("released".to_owned(), date.to_string().into());
    }
    match &piece.origin {
        Origin::Debian { note, purl } => {
            entry.insert("note".to_owned(), note.as_str().into());
            entry.insert("purl".to_owned(), purl.as_str().into());
        }
        Origin::Given => {
            entry.insert("note".to_owned(), "As FLEXNODE_KUBELET named it; compared with nobody's digest.".into());
        }
        Origin::StandIn => {
            entry.insert("standIn".to_owned(), true.into());
            let note = format!("A stand-in by the Flexnode lab, not the real {}.", piece.component);
            entry.insert("note".to_owned(), note.into());
        }
        Origin::Upstream => {}
    }
    entry.insert("amd64".to_owned(), json!({"sha256": piece.sha256, "size": piece.size, "pinnedBy": ["lab"]}));
    Ok(entry.into())
}

/// The shipped pairings for one minor, with the lab's versions as defaults.
fn compat(kubernetes: &Version, pieces: &[Piece], pause_image: &str) -> Result<Map<String, Value>> {
    let mut compat = parse(COMPAT, "compat")?;
    let name = format!("{}.{}", kubernetes.major, kubernetes.minor);
    let minors = compat.get_mut("minors").and_then(Value::as_object_mut).context("read the shipped minors")?;
    minors.retain(|minor, _| *minor == name);
    let defaults = minors
        .get_mut(&name)
        .and_then(|minor| minor.get_mut("defaults"))
        .and_then(Value::as_object_mut)
        .with_context(|| format!("read the shipped defaults of {name}"))?;
    for piece in pieces {
        if let Some(default) = defaults.get_mut(piece.component) {
            *default = piece.version.to_string().into();
        }
    }
    *defaults.get_mut("pauseImage").context("read the shipped pause image")? = pause_image.into();
    let rules = compat.get_mut("rules").and_then(Value::as_array_mut).context("read the shipped rules")?;
    rules.retain(|rule| rule.get("securityFloor") != Some(&Value::Bool(true)));
    Ok(compat)
}

fn parse(text: &str, name: &str) -> Result<Map<String, Value>> {
    serde_yaml::from_str(text).with_context(|| format!("read the shipped {name}.yaml"))
}

fn save(dir: &Path, name: &str, head: &str, document: Map<String, Value>) -> Result<()> {
    let path = dir.join(format!("{name}.yaml"));
    // On one line each: a folded URL cannot be searched for.
    let options = serde_yaml::ser_options! { prefer_block_scalars: false, compact_list_indent: false };
    let text = serde_yaml::to_string_with_options(&Value::from(document), options);
    let text = text.with_context(|| format!("write {name}.yaml"))?;
    fs::write(&path, format!("{head}{text}")).with_context(|| format!("write `{}`", path.display()))
}
