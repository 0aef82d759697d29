//! Finds out what is inside: components from the lock, modules and crates from the programs themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use anyhow::{Context as _, Result};
use auditable_serde::{DependencyKind, Source, VersionInfo};
use jiff::Timestamp;
use semver::Version;
use sha1::{Digest as _, Sha1};

use super::go::{GoBuild, Module};
use super::purl::{Purl, is_web};
use super::{File, Kind, Package, Sbom, crates};
use crate::artifact::Proof;
use crate::bundle::{BuiltBy, Component};
use crate::lock::Lock;
use crate::overlay::{Content, Entry, FileEntry, Overlay};

/// Looks into everything that goes into the bundle. A container image is a component, its manifests, configuration and
/// layers are files of it; what is inside of layers is not looked into.
///
/// # Errors
/// When a file cannot be read.
pub fn collect(lock: &Lock, components: &[Component], overlay: &Overlay, epoch: u64) -> Result<Sbom> {
    let mut bundle = Package::new("bundle", Kind::Bundle, "flexnode-bundle");
    bundle.version = Some(lock.kubernetes.to_string());
    bundle.note = Some(format!("Kubernetes {} for nodes of {} {}", lock.kubernetes, lock.target, lock.arch));
    let mut found = Found { packages: BTreeMap::new(), bundle };
    for component in components {
        found.add_component(component)?;
    }
    let mut files = Vec::new();
    for (path, entry) in overlay {
        let Entry::File(file) = entry else { continue };
        let path = path.as_str();
        let owner = file.component.as_deref().and_then(|name| components.iter().find(|owner| owner.name == name));
        files.push(describe(path, file, owner).with_context(|| format!("reading {path}"))?);
        if let Content::File(program) = &file.content {
            found.look_into(path, program, owner)?;
        }
    }
    let seconds = i64::try_from(epoch).context("reading the epoch")?;
    Ok(Sbom {
        builder: BuiltBy::this(),
        created: Timestamp::from_second(seconds).context("reading the epoch")?,
        bundle: found.bundle,
        packages: found.packages.into_values().collect(),
        files,
    })
}

fn describe(path: &str, file: &FileEntry, owner: Option<&Component>) -> io::Result<File> {
    let mut sha1 = Sha1::new();
    let mut reader = io::BufReader::with_capacity(1 << 17, file.content.reader());
    io::copy(&mut reader, &mut Hashing(&mut sha1))?;
    Ok(File {
        path: path.to_owned(),
        sha1: hex::encode(sha1.finalize()),
        sha256: file.sha256,
        executable: file.mode.is_executable(),
        component: owner.map(key_of),
    })
}

struct Hashing<'a>(&'a mut Sha1);

impl io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn key_of(component: &Component) -> String {
    format!("component/{}", component.name)
}

struct Found {
    packages: BTreeMap<String, Package>,
    bundle: Package,
}

impl Found {
    fn add_component(&mut self, component: &Component) -> Result<()> {
        let mut package = Package::new(key_of(component), Kind::Component, &component.name);
        package.version = Some(component.version.clone());
        let purl = Purl::of(component)?;
        package.supplier = supplier(component, &purl);
        package.purl = Some(purl);
        package.license = license(&component.license);
        package.url = is_web(&component.url).then(|| component.url.clone());
        package.sha256 = Some(component.sha256);
        package.note = component.stand_in.then(|| "a stand-in for tests, not the real program".to_owned());
        self.bundle.contains.insert(package.key.clone());
        self.packages.insert(package.key.clone(), package);
        Ok(())
    }

    fn look_into(&mut self, path: &str, program: &fs::File, owner: Option<&Component>) -> Result<()> {
        let key = owner.map_or_else(|| self.bundle.key.clone(), key_of);
        if let Some(build) = GoBuild::read(program) {
            self.add_go(path, &build, owner, &key)?;
        }
        if let Some(list) = crates::read(program) {
            self.add_crates(path, &list, &key)?;
        }
        Ok(())
    }

    fn add_go(&mut self, path: &str, build: &GoBuild, owner: Option<&Component>, key: &str) -> Result<()> {
        let kubernetes = build.main.as_ref().filter(|main| main.path == "k8s.io/kubernetes").and(owner);
        let staging = kubernetes.and_then(|owner| Version::parse(&owner.version).ok());
        let staging = staging.map(|kubernetes| format!("v0.{}.{}", kubernetes.minor, kubernetes.patch));
        let mut modules: Vec<Package> = Vec::new();
        if let Some(main) = &build.main {
            modules.push(main_module(main, owner)?);
        }
        for module in &build.dependencies {
            modules.push(dependency(module, staging.as_deref())?);
        }
        let mut stdlib = Package::new("", Kind::GoModule, "stdlib");
        stdlib.version = build.stdlib();
        stdlib.purl = Some(Purl::of_go_module("stdlib", stdlib.version.as_deref())?);
        stdlib.supplier = Some("The Go Authors".to_owned());
        stdlib.license = Some("BSD-3-Clause".to_owned());
        stdlib.note = Some(format!("built by {}", build.version));
        modules.push(stdlib);
        for module in modules {
            self.add_part(path, module, key);
        }
        Ok(())
    }

    fn add_crates(&mut self, path: &str, list: &VersionInfo, key: &str) -> Result<()> {
        let is_part = |package: &auditable_serde::Package| package.kind == DependencyKind::Runtime;
        let packages = list.packages.iter().map(of_crate).collect::<Result<Vec<_>>>()?;
        for (package, listed) in packages.iter().zip(&list.packages).filter(|(_, listed)| is_part(listed)) {
            let mut package = package.clone();
            let needs = listed.dependencies.iter().filter(|at| list.packages.get(**at).is_some_and(is_part));
            package.depends_on = needs.map(|at| packages[*at].key.clone()).collect();
            self.add_part(path, package, key);
        }
        Ok(())
    }

    /// Adds `part`, once for all programs that have it, to what the package `owner` contains.
    fn add_part(&mut self, path: &str, mut part: Package, owner: &str) {
        if part.key.is_empty() {
            part.key = part.purl.as_ref().map_or_else(|| part.name.clone(), Purl::to_string);
        }
        let owner = self.packages.get_mut(owner).unwrap_or(&mut self.bundle);
        owner.contains.insert(part.key.clone());
        let known = self.packages.entry(part.key.clone()).or_insert_with(|| part.clone());
        known.found_in.insert(path.to_owned());
        known.depends_on.extend(part.depends_on);
        if known.note != part.note {
            let notes = [known.note.take(), part.note].into_iter().flatten();
            let notes: BTreeSet<String> = notes.flat_map(|note| split_notes(&note)).collect();
            known.note = Some(notes.into_iter().collect::<Vec<_>>().join("; "));
        }
    }
}

fn split_notes(note: &str) -> Vec<String> {
    note.split("; ").map(str::to_owned).collect()
}

/// The program's own module. Built from a working copy it has no version but the component's.
fn main_module(main: &Module, owner: Option<&Component>) -> Result<Package> {
    let version = of_release(&main.version).map(str::to_owned);
    let of_owner = || Some(format!("v{}", Version::parse(&owner?.version).ok()?));
    let note = version.is_none().then(|| "the program does not tell its version; this is the component's".to_owned());
    let version = version.or_else(of_owner);
    let note = note.filter(|_| version.is_some());
    go_module(&main.path, version, main.sum.as_deref(), note)
}

/// A module that was linked in: itself, or what was taken in its place.
///
/// Kubernetes' own modules, which it keeps in its staging directory, have no version in its programs. It publishes them
/// as v0.30.1 with its release 1.30.1: that is `staging`.
fn dependency(module: &Module, staging: Option<&str>) -> Result<Package> {
    let version = of_release(&module.version).map(str::to_owned);
    let published = staging.filter(|_| module.path.starts_with("k8s.io/"));
    match &module.replacement {
        Some(replacement) if of_release(&replacement.version).is_some() => {
            let note = format!("in place of {} {}", module.path, module.version);
            go_module(&replacement.path, Some(replacement.version.clone()), replacement.sum.as_deref(), Some(note))
        }
        Some(directory) => {
            let note = format!("from the directory {}", directory.path);
            go_module(&module.path, published.map(str::to_owned), None, Some(note))
        }
        None if version.is_none() && published.is_some() => {
            let note = "from Kubernetes' staging directory".to_owned();
            go_module(&module.path, published.map(str::to_owned), None, Some(note))
        }
        None => go_module(&module.path, version, module.sum.as_deref(), None),
    }
}

/// What says something: `(devel)`, nothing and `v0.0.0` do not.
fn of_release(version: &str) -> Option<&str> {
    Some(version).filter(|version| version.starts_with('v') && *version != "v0.0.0")
}

fn go_module(path: &str, version: Option<String>, sum: Option<&str>, note: Option<String>) -> Result<Package> {
    let mut package = Package::new("", Kind::GoModule, path);
    package.purl = Some(Purl::of_go_module(path, version.as_deref())?);
    package.version = version;
    let sum = sum.map(|sum| format!("go.sum {sum}"));
    let notes: Vec<String> = [sum, note].into_iter().flatten().collect();
    package.note = (!notes.is_empty()).then(|| notes.join("; "));
    Ok(package)
}

fn of_crate(listed: &auditable_serde::Package) -> Result<Package> {
    let version = listed.version.to_string();
    let mut package = Package::new(format!("crate/{}@{version}", listed.name), Kind::Crate, &listed.name);
    // A crate from elsewhere is not the one that advisories know by that name.
    if listed.source == Source::CratesIo {
        package.purl = Some(Purl::of_crate(&listed.name, &version)?);
    }
    package.version = Some(version);
    Ok(package)
}

/// The owner of the repository, or who makes the distribution's package.
fn supplier(component: &Component, purl: &Purl) -> Option<String> {
    if component.stand_in || component.proof == Proof::Local {
        return Some("Flexnode".to_owned());
    }
    let purl: packageurl::PackageUrl<'_> = purl.as_str().parse().ok()?;
    match (purl.ty(), purl.namespace()) {
        ("github", Some(owner)) => Some(owner.to_owned()),
        ("deb", Some("debian")) => Some("Debian".to_owned()),
        ("deb", Some("ubuntu")) => Some("Ubuntu".to_owned()),
        _ if component.url.starts_with("https://dl.k8s.io/") => Some("Kubernetes".to_owned()),
        _ => None,
    }
}

/// The expression, if it is made of identifiers of the SPDX list alone.
fn license(expression: &str) -> Option<String> {
    let parsed = spdx::Expression::parse(expression).ok()?;
    // The crate takes these two words for identifiers; they are no part of an expression.
    let is_license = |id: spdx::LicenseId| !matches!(id.name, "NOASSERTION" | "NONE");
    let is_listed = parsed.requirements().all(|part| part.req.license.id().is_some_and(is_license));
    is_listed.then(|| expression.to_owned())
}
