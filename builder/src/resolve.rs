//! Turns a request into a lock: the only place that may ask which version is newest.

mod rules;

use anyhow::{Context as _, Result, bail};
use jiff::civil::Date;
use semver::Version;

use crate::artifact::{Arch, Artifact};
use crate::catalog::{Catalog, Component, Release};
use crate::failure::{Class, Failure};
use crate::image::Reference;
use crate::lock::{Lock, Resolved};
use crate::request::{Request, Wanted};

/// A lock and what people should know about it.
#[derive(Debug)]
pub struct Resolution {
    /// The lock.
    pub lock: Lock,
    /// Permissions that were used, or not needed.
    pub warnings: Vec<String>,
    /// What the catalog remarks on the chosen releases.
    pub notes: Vec<String>,
}

/// Resolves `request` with `catalog`.
///
/// # Errors
/// An unknown version, a hole in the catalog, or a pair that breaks a rule.
pub fn resolve(request: Request, catalog: &Catalog) -> Result<Resolution> {
    let arch = request.arch.unwrap_or_default();
    let kubernetes = kubernetes(&request, catalog, arch)?;
    let minor = catalog.compat.minor(&kubernetes)?;
    let pause_image = request.pause_image.clone().unwrap_or_else(|| minor.defaults.pause_image.clone());
    let pause = check_image(&pause_image)?;
    let mut images = request.images.clone();
    if !request.without_pause_image {
        images.insert(pause);
    }

    let mut resolver = Resolver { catalog, arch, artifacts: Vec::new(), picked: Vec::new() };
    let extras = extras(&request, catalog)?;
    for name in ["kubelet", "kubeadm", "kubectl"] {
        resolver.pick(name, &Wanted::exactly(&kubernetes))?;
    }
    let defaults = &minor.defaults;
    let companions = [
        ("containerd", &request.containerd, &defaults.containerd),
        ("runc", &request.runc, &defaults.runc),
        ("cni-plugins", &request.cni, &defaults.cni_plugins),
        ("crictl", &request.crictl, &defaults.crictl),
    ];
    for (name, asked, default) in companions {
        let instead = extras.iter().find(|extra| extra.component.replaces.as_deref() == Some(name));
        let wanted = instead.and_then(|extra| extra.wanted.clone()).or_else(|| asked.clone());
        let name = instead.map_or(name, |extra| extra.component.name.as_str());
        resolver.pick(name, &wanted.unwrap_or_else(|| Wanted::exactly(default)))?;
    }
    for extra in extras.iter().filter(|extra| extra.component.replaces.is_none()) {
        let wanted = match &extra.wanted {
            Some(wanted) => wanted.clone(),
            None if extra.component.follows_kubernetes() => Wanted::exactly(&kubernetes),
            None => "*".parse().context("reading the range `*`")?,
        };
        resolver.pick(&extra.component.name, &wanted)?;
    }

    let (allowed, warnings) = rules::rules(&request, &resolver, &kubernetes, &pause_image)?;
    let noted =
        resolver.picked.iter().filter_map(|(component, release)| Some((component, release, release.note.as_ref()?)));
    let notes =
        noted.map(|(component, release, note)| format!("{} {}: {note}", component.name, release.version)).collect();
    let mut artifacts = resolver.artifacts;
    add_extra_components(&request, &mut artifacts)?;
    let end_of_life = minor.end_of_life;
    let resolved = Resolved { kubernetes, end_of_life, pause_image, images, allowed, artifacts };
    Ok(Resolution { lock: Lock::new(request, catalog.digest, resolved), warnings, notes })
}

/// The warning for a minor that upstream no longer supports on `today`.
#[must_use]
pub fn end_of_life_warning(lock: &Lock, today: Date) -> Option<String> {
    let Version { major, minor, .. } = lock.kubernetes;
    (lock.end_of_life < today).then(|| {
        format!(
            "Kubernetes {major}.{minor} is end of life since {}: no more security fixes from upstream",
            lock.end_of_life
        )
    })
}

/// The newest patch for which all that follows Kubernetes exists.
fn kubernetes(request: &Request, catalog: &Catalog, arch: Arch) -> Result<Version> {
    let Some(wanted) = &request.kubernetes else {
        bail!(
            Failure::new(Class::Usage, "no Kubernetes version was asked for")
                .hint("add --k8s 1.30, or `kubernetes: \"1.30\"` to the spec")
        );
    };
    let kubelet = catalog.component("kubelet")?;
    let complete = |version: &Version| {
        ["kubeadm", "kubectl"].iter().all(|name| {
            catalog
                .components
                .get(*name)
                .is_some_and(|component| component.newest_first(arch).any(|release| release.version == *version))
        })
    };
    let candidates = kubelet.newest_first(arch).map(|release| &release.version);
    match candidates.filter(|version| wanted.matches(version)).find(|version| complete(version)) {
        Some(version) => Ok(version.clone()),
        None => {
            // Says which part is missing, with the nearest versions.
            for name in ["kubelet", "kubeadm", "kubectl"] {
                catalog.component(name)?.newest(wanted, arch)?;
            }
            bail!(
                Failure::new(
                    Class::Resolution,
                    format!("no Kubernetes {wanted} has kubelet, kubeadm and kubectl for {arch}")
                )
                .hint("`flexnode-build catalog kubelet` lists what there is")
            )
        }
    }
}

/// A sandbox image without a digest is whatever the registry says on the day.
fn check_image(image: &str) -> Result<Reference> {
    image.parse().map_err(|error| {
        let message = format!("the pause image is not pinned by digest: {error}");
        Failure::new(Class::Usage, message).hint("write name:tag@sha256:… or name@sha256:…").into()
    })
}

struct Extra<'a> {
    component: &'a Component,
    wanted: Option<Wanted>,
}

/// `--with NAME[=VERSION]`
fn extras<'a>(request: &Request, catalog: &'a Catalog) -> Result<Vec<Extra<'a>>> {
    let mut extras = Vec::new();
    for text in &request.with {
        let (name, version) = text.split_once('=').map_or((text.as_str(), None), |(name, v)| (name, Some(v)));
        let component = catalog.component(name)?;
        if !component.optional {
            bail!(Failure::new(Class::Usage, format!("{name} is in every bundle")).hint("leave out --with"));
        }
        let wanted = version
            .map(str::parse)
            .transpose()
            .with_context(|| Failure::new(Class::Usage, format!("reading --with {text}")))?;
        extras.push(Extra { component, wanted });
    }
    Ok(extras)
}

struct Resolver<'a> {
    catalog: &'a Catalog,
    arch: Arch,
    artifacts: Vec<Artifact>,
    picked: Vec<(&'a Component, &'a Release)>,
}

impl Resolver<'_> {
    fn pick(&mut self, name: &str, wanted: &Wanted) -> Result<()> {
        let component = self.catalog.component(name)?;
        let release = component.newest(wanted, self.arch)?;
        let artifact = component.artifact(release, self.arch).context("the newest release has no pin")?;
        self.artifacts.push(artifact);
        self.picked.push((component, release));
        Ok(())
    }
}

fn add_extra_components(request: &Request, artifacts: &mut Vec<Artifact>) -> Result<()> {
    for extra in &request.components {
        if artifacts.iter().any(|artifact| artifact.name == extra.name) {
            bail!(
                Failure::new(
                    Class::Usage,
                    format!("the extra component `{}` has the name of another component", extra.name)
                )
                .hint("give it a name of its own")
            );
        }
        artifacts.push(extra.artifact());
    }
    for package in &request.packages {
        if artifacts.iter().any(|artifact| artifact.name == package.name) {
            bail!(
                Failure::new(
                    Class::Usage,
                    format!("the package `{}` has the name of a component or another package", package.name)
                )
                .hint("leave one of the two out: a bundle has each name once")
            );
        }
        artifacts.push(package.artifact()?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Pair;
    use crate::digest::Digest;

    fn ask(kubernetes: &str) -> Request {
        Request { kubernetes: Some(kubernetes.parse().unwrap()), ..Request::default() }
    }

    fn resolve_embedded(request: Request) -> Result<Resolution> {
        resolve(request, &Catalog::embedded().unwrap())
    }

    fn refusal(request: Request) -> (Class, String, String) {
        let error = resolve_embedded(request).expect_err("this must be refused");
        let (class, hint) = Failure::describe(&error);
        (class, format!("{error:#}"), hint.unwrap_or_default().to_owned())
    }

    fn versions(lock: &Lock) -> Vec<String> {
        lock.artifacts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_minor_resolves_to_its_newest_patch_and_its_defaults() {
        let lock = resolve_embedded(ask("1.30")).unwrap().lock;
        assert_eq!(
            versions(&lock),
            [
                "cni-plugins 1.7.1",
                "containerd 2.0.11",
                "crictl 1.30.1",
                "kubeadm 1.30.14",
                "kubectl 1.30.14",
                "kubelet 1.30.14",
                "runc 1.3.6"
            ]
        );
        assert!(lock.pause_image.starts_with("registry.k8s.io/pause:3.9@sha256:"));
    }

    #[test]
    fn every_minor_resolves_for_both_architectures_without_a_permission() {
        for minor in Catalog::embedded().unwrap().compat.minors.keys() {
            for arch in [Arch::Amd64, Arch::Arm64] {
                let lock = resolve_embedded(Request { arch: Some(arch), ..ask(minor) }).unwrap().lock;
                assert_eq!((lock.artifacts.len(), lock.allowed.len()), (7, 0), "{minor} {arch}");
            }
        }
    }

    #[test]
    fn a_patch_without_kubelet_is_not_taken_for_the_newest() {
        // The catalog has kubectl 1.35.9, but the newest kubelet it knows is 1.35.8.
        assert_eq!(resolve_embedded(ask("1.35")).unwrap().lock.kubernetes.to_string(), "1.35.8");
    }

    #[test]
    fn an_unknown_version_names_the_nearest() {
        let (class, message, hint) = refusal(ask("1.30.99"));
        assert_eq!(class, Class::Resolution);
        assert_eq!(message, "the catalog has no kubelet 1.30.99");
        assert!(hint.starts_with("nearest: 1.30.14, 1.30.13, 1.30.12;"), "{hint}");
    }

    #[test]
    fn a_bad_pair_is_refused_by_name_and_allowed_by_name() {
        let asked = Request { containerd: Some("2.1.0".parse().unwrap()), ..ask("1.36") };
        let (class, message, hint) = refusal(asked.clone());
        assert_eq!(class, Class::Resolution);
        assert!(
            message.contains("breaks `containerd-kubernetes-matrix`")
                && message.contains("breaks `containerd-security-floor`"),
            "{message}"
        );
        assert!(hint.contains("--allow containerd-kubernetes-matrix --allow containerd-security-floor"), "{hint}");

        let allow = ["containerd-kubernetes-matrix", "containerd-security-floor"].map(str::to_owned).into();
        let lock = resolve_embedded(Request { allow, ..asked }).unwrap().lock;
        assert_eq!(lock.allowed.len(), 2);
    }

    #[test]
    fn each_rule_of_the_catalog_can_bite() {
        let digest = format!("sha256:{}", Digest::of(b"image"));
        let pair = |kubernetes: &str, component: &str, version: &str, image: &str| {
            let catalog = Catalog::embedded().unwrap();
            let (kubernetes, version) = (Version::parse(kubernetes).unwrap(), Version::parse(version).unwrap());
            let pair = Pair { kubernetes: &kubernetes, pause_image: image, component, version: &version };
            catalog.compat.broken_by(pair).map(|rule| rule.name.clone()).collect::<Vec<_>>()
        };
        let tagged = format!("registry.k8s.io/pause:3.10@{digest}");
        let untagged = format!("registry.k8s.io:443/pause@{digest}");
        assert_eq!(pair("1.35.0", "containerd", "2.3.3", &tagged), ["containerd-sandbox-tag-and-digest"]);
        assert_eq!(pair("1.35.0", "containerd", "2.3.3", &untagged), Vec::<String>::new());
        assert_eq!(pair("1.35.0", "containerd", "2.3.4", &tagged), Vec::<String>::new());
        assert_eq!(
            pair("1.30.0", "containerd", "1.7.12", &tagged),
            ["containerd-kubernetes-matrix", "containerd-security-floor"]
        );
        assert_eq!(pair("1.30.0", "runc", "1.3.5", &tagged), ["runc-security-floor"]);
        assert_eq!(pair("1.30.0", "cni-plugins", "1.6.1", &tagged), ["cni-plugins-1.6.1-withdrawn"]);
    }

    #[test]
    fn optional_components_come_when_asked_for() {
        let with = ["kube-proxy", "nerdctl=2.1", "containerd-static"].map(str::to_owned).into();
        let lock = resolve_embedded(Request { with, ..ask("1.30") }).unwrap().lock;
        let names = versions(&lock);
        assert!(names.contains(&"kube-proxy 1.30.14".to_owned()), "{names:?}");
        assert!(
            names.contains(&"containerd-static 2.0.11".to_owned()) && !names.contains(&"containerd 2.0.11".to_owned())
        );
        assert!(names.iter().any(|name| name.starts_with("nerdctl 2.1.")));
    }

    #[test]
    fn end_of_life_is_a_warning_with_its_date() {
        let lock = resolve_embedded(ask("1.30")).unwrap().lock;
        assert!(end_of_life_warning(&lock, jiff::civil::date(2026, 11, 23)).unwrap().contains("since 2025-07-15"));
        assert_eq!(end_of_life_warning(&lock, jiff::civil::date(2025, 7, 15)), None);
    }

    #[test]
    fn a_pause_image_must_have_a_digest() {
        let (class, message, _) =
            refusal(Request { pause_image: Some("registry.k8s.io/pause:3.9".into()), ..ask("1.30") });
        assert_eq!(class, Class::Usage);
        assert!(message.contains("not pinned by digest"));
    }
}
