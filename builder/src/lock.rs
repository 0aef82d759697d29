//! The lock: every artifact of a bundle, pinned. All that follows is a function of it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use jiff::civil::Date;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::artifact::{Arch, Artifact};
use crate::atomic;
use crate::digest::Digest;
use crate::document;
use crate::failure::{Class, Failure};
use crate::image::Reference;
use crate::request::{Request, Wanted};
use crate::target::Target;

/// The format of locks that this program reads and writes.
pub const FORMAT: u32 = 1;

/// A resolution, written as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lock {
    version: u32,
    /// Over request and catalog: whether the resolution is still that of its inputs.
    fingerprint: Digest,
    /// The catalog it was resolved with.
    catalog: Digest,
    /// What was asked for.
    request: Request,
    /// The Kubernetes version.
    pub kubernetes: Version,
    /// Last day of upstream support of that minor.
    pub end_of_life: Date,
    /// The nodes' architecture.
    pub arch: Arch,
    /// The distribution that the nodes run.
    pub target: Target,
    /// The sandbox image.
    pub pause_image: String,
    /// Container images to preload, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Reference>,
    /// Rules that are broken with permission.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<Allowed>,
    /// What to fetch, sorted by name.
    pub artifacts: Vec<Artifact>,
}

/// A rule that is broken with permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allowed {
    /// The rule's name.
    pub rule: String,
    /// The component that breaks it.
    pub component: String,
    /// Its version.
    pub version: String,
    /// What may go wrong.
    pub why: String,
}

/// What resolution found.
#[derive(Debug)]
pub struct Resolved {
    /// The Kubernetes version.
    pub kubernetes: Version,
    /// Last day of upstream support of that minor.
    pub end_of_life: Date,
    /// The sandbox image.
    pub pause_image: String,
    /// Container images to preload.
    pub images: BTreeSet<Reference>,
    /// Rules that are broken with permission.
    pub allowed: Vec<Allowed>,
    /// What to fetch.
    pub artifacts: Vec<Artifact>,
}

impl Lock {
    /// Pins what was resolved.
    #[must_use]
    pub fn new(request: Request, catalog: Digest, resolved: Resolved) -> Self {
        let mut artifacts = resolved.artifacts;
        artifacts.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            version: FORMAT,
            fingerprint: fingerprint(&request, catalog),
            catalog,
            kubernetes: resolved.kubernetes,
            end_of_life: resolved.end_of_life,
            arch: request.arch.unwrap_or_default(),
            target: request.target.unwrap_or_default(),
            pause_image: resolved.pause_image,
            images: resolved.images.into_iter().collect(),
            allowed: resolved.allowed,
            artifacts,
            request,
        }
    }

    /// Reads a lock.
    ///
    /// # Errors
    /// When it is of another format, or its parts contradict each other.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&document::read(path)?, &path.display().to_string())
    }

    /// Parses a lock called `name`.
    ///
    /// # Errors
    /// As for [`Lock::read`].
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let renew = |request: &Request| format!("renew it: flexnode-build lock {} -o {name}", request.flags());
        #[derive(Deserialize)]
        struct Format {
            version: u32,
        }
        let help = "write it again with `flexnode-build lock`";
        let Format { version } = document::parse_json(text, name, help)?;
        if version != FORMAT {
            bail!(
                Failure::new(
                    Class::Resolution,
                    format!("{name} has lock format {version}, this program reads {FORMAT}")
                )
                .hint("use the flexnode-build that wrote it, or write it again with `flexnode-build lock`")
            );
        }
        let lock: Self = document::parse_json(text, name, help)?;
        if lock.fingerprint != fingerprint(&lock.request, lock.catalog) {
            bail!(
                Failure::new(
                    Class::Resolution,
                    format!("{name} was changed by hand: its fingerprint is not that of its request")
                )
                .hint(renew(&lock.request))
            );
        }
        if let Some(twice) = lock.artifacts.windows(2).find(|pair| pair[0].name >= pair[1].name) {
            bail!(
                Failure::new(Class::Resolution, format!("{name} lists {} twice or out of order", twice[1].name))
                    .hint(renew(&lock.request))
            );
        }
        if let Some(twice) = lock.images.windows(2).find(|pair| pair[0] >= pair[1]) {
            bail!(
                Failure::new(Class::Resolution, format!("{name} lists the image {} twice or out of order", twice[1]))
                    .hint(renew(&lock.request))
            );
        }
        Ok(lock)
    }

    /// Writes the lock atomically.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        atomic::write(path, self.to_json()?.as_bytes()).with_context(|| format!("writing the lock {}", path.display()))
    }

    /// The lock as it is written.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self).context("encoding the lock")? + "\n")
    }

    /// The artifact called `name`.
    #[must_use]
    pub fn artifact(&self, name: &str) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| artifact.name == name)
    }

    /// The version of containerd, whichever build of it is locked.
    ///
    /// # Errors
    /// When the lock holds none.
    pub fn containerd(&self) -> Result<Version> {
        let artifact = self.artifact("containerd").or_else(|| self.artifact("containerd-static"));
        let artifact = artifact.context("the lock holds no containerd")?;
        Version::parse(&artifact.version).with_context(|| format!("reading the version of {artifact}"))
    }

    /// Refuses a lock that is not what `asked` asks for; what `asked` leaves open fits.
    ///
    /// # Errors
    /// Every difference, and how to renew the lock.
    pub fn check_fits(&self, asked: &Request, name: &str) -> Result<()> {
        let mut differences = Vec::new();
        let mut version = |flag: &str, component: &str, wanted: &Option<Wanted>, locked: Option<Version>| {
            let Some(wanted) = wanted else { return };
            if !locked.as_ref().is_some_and(|locked| wanted.matches(locked)) {
                let locked = locked.map_or("none".to_owned(), |locked| locked.to_string());
                differences.push(format!("it has {component} {locked}, {flag} asks for {wanted}"));
            }
        };
        let locked = |name: &str| self.artifact(name).and_then(|artifact| Version::parse(&artifact.version).ok());
        version("--k8s", "Kubernetes", &asked.kubernetes, Some(self.kubernetes.clone()));
        version("--containerd", "containerd", &asked.containerd, self.containerd().ok());
        version("--runc", "runc", &asked.runc, locked("runc"));
        version("--cni", "CNI plugins", &asked.cni, locked("cni-plugins"));
        version("--crictl", "crictl", &asked.crictl, locked("crictl"));
        if let Some(arch) = asked.arch.filter(|arch| *arch != self.arch) {
            differences.push(format!("it is for {}, --arch asks for {arch}", self.arch));
        }
        if let Some(target) = asked.target.filter(|target| *target != self.target) {
            differences.push(format!("it is for {}, --target asks for {target}", self.target));
        }
        if let Some(image) = asked.pause_image.as_ref().filter(|image| **image != self.pause_image) {
            differences.push(format!("its pause image is {}, --pause-image asks for {image}", self.pause_image));
        }
        for image in asked.images.iter().filter(|image| !self.images.contains(image)) {
            differences.push(format!("it was made without --image {image}"));
        }
        if asked.without_pause_image && !self.request.without_pause_image {
            differences.push("it was made without --no-pause-image".to_owned());
        }
        for with in asked.with.difference(&self.request.with) {
            differences.push(format!("it was made without --with {with}"));
        }
        for rule in asked.allow.difference(&self.request.allow) {
            differences.push(format!("it was made without --allow {rule}"));
        }
        if !asked.components.is_empty() && asked.components != self.request.components {
            differences.push("its extra components are not those of the spec".to_owned());
        }
        if !asked.packages.is_empty() && asked.packages != self.request.packages {
            differences.push("its packages are not those of the spec".to_owned());
        }
        if differences.is_empty() {
            return Ok(());
        }
        let spec = if asked.components.is_empty() && asked.packages.is_empty() { "" } else { " --spec …" };
        bail!(
            Failure::new(Class::Resolution, format!("{name} does not fit: {}", differences.join("; ")))
                .hint(format!("renew it: flexnode-build lock {}{spec} -o {name}", asked.flags()))
        )
    }
}

fn fingerprint(request: &Request, catalog: Digest) -> Digest {
    // A request is strings, lists and enums: nothing in it that JSON could refuse.
    let request = serde_json::to_vec(request).expect("a request can be written as JSON");
    Digest::of(&[request.as_slice(), catalog.to_string().as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::resolve::resolve;

    fn ask(kubernetes: &str) -> Request {
        Request { kubernetes: Some(kubernetes.parse().unwrap()), ..Request::default() }
    }

    fn lock() -> Lock {
        resolve(ask("1.30"), &Catalog::embedded().unwrap()).unwrap().lock
    }

    #[test]
    fn what_is_written_is_read_again() {
        let lock = lock();
        assert_eq!(Lock::parse(&lock.to_json().unwrap(), "flexnode.lock").unwrap(), lock);
    }

    #[test]
    fn a_request_that_it_satisfies_fits_and_another_is_told_every_difference() {
        let lock = lock();
        lock.check_fits(&ask("1.30"), "flexnode.lock").unwrap();
        lock.check_fits(&Request::default(), "flexnode.lock").unwrap();

        let other = Request {
            arch: Some(Arch::Arm64),
            target: Some(Target::Debian11),
            runc: Some("1.4".parse().unwrap()),
            with: ["nerdctl".to_owned()].into(),
            allow: ["runc-security-floor".to_owned()].into(),
            ..ask("1.31")
        };
        let error = lock.check_fits(&other, "flexnode.lock").expect_err("another request does not fit");
        assert_eq!(
            error.to_string(),
            "flexnode.lock does not fit: it has Kubernetes 1.30.14, --k8s asks for 1.31; it has runc 1.3.6, --runc asks \
             for 1.4; it is for amd64, --arch asks for arm64; it is for ubuntu-22.04, --target asks for debian-11; it was \
             made without --with nerdctl; it was made without --allow runc-security-floor"
        );
        assert_eq!(
            Failure::describe(&error),
            (
                Class::Resolution,
                Some(
                    "renew it: flexnode-build lock --k8s 1.31 --runc 1.4 --arch arm64 --target debian-11 \
                     --with nerdctl --allow runc-security-floor -o flexnode.lock"
                )
            )
        );
    }

    #[test]
    fn each_kind_of_mistake_is_refused_with_its_cure() {
        let text = lock().to_json().unwrap();
        let runc = "\"name\": \"runc\"";
        let mistakes = [
            ("\"kubernetes\": \"1.30\"", "\"kubernetes\": \"1.31\"", "changed by hand"),
            ("\"version\": 1,", "\"version\": 2,", "has lock format 2"),
            ("\"artifacts\"", "\"artefacts\"", "unknown field `artefacts`"),
            ("\"sha256\": \"", "\"sha256\": \"0", "64 hexadecimal digits"),
            ("\"path\": \"opt/cni/bin/bridge\"", "\"path\": \"opt/../../etc/shadow\"", "`..` part"),
            ("\"path\": \"opt/cni/bin/bridge\"", "\"path\": \"/etc/shadow\"", "absolute"),
            ("\"mode\": \"0755\"", "\"mode\": \"4755\"", "octal number"),
            ("\"kind\": \"tar.gz\"", "\"kind\": \"zip\"", "unknown variant `zip`"),
            ("\"kind\": \"pinned\"", "\"kind\": \"trusted\"", "unknown variant `trusted`"),
            ("\"arch\": \"amd64\"", "\"arch\": \"x86\"", "unknown variant `x86`"),
            (runc, "\"name\": \"kubelet\"", "twice or out of order"),
            ("\"endOfLife\": \"2025", "\"endOfLife\": \"25", "four digit integer as year"),
            ("\"license\"", "\"license\": \"MIT\", \"license\"", "duplicate field `license`"),
        ];
        for (from, to, words) in mistakes {
            assert!(text.contains(from), "{from}");
            let error = Lock::parse(&text.replacen(from, to, 1), "flexnode.lock").expect_err(to);
            let (message, hint) = (format!("{error:#}"), Failure::describe(&error).1);
            assert!(message.contains(words) && message.contains("flexnode.lock") && hint.is_some(), "{to}: {message}");
        }
        for cut in [0, 1, text.len() / 2, text.len() - 3] {
            assert!(Lock::parse(&text[..cut], "flexnode.lock").is_err(), "cut to {cut} bytes");
        }
    }

    #[test]
    fn images_are_pinned_with_the_pause_image_among_them_unless_it_is_left_out() {
        let image: Reference = format!("example.test/agent@sha256:{}", Digest::of(b"an image")).parse().unwrap();
        let catalog = Catalog::embedded().unwrap();
        let lock = |asked: &Request| resolve(asked.clone(), &catalog).unwrap().lock;
        let asked = Request { images: [image.clone()].into(), ..ask("1.30") };
        let locked = lock(&asked);
        let pause: Reference = locked.pause_image.parse().unwrap();
        assert_eq!(locked.images, [image.clone(), pause.clone()]);
        assert_eq!(Lock::parse(&locked.to_json().unwrap(), "flexnode.lock").unwrap(), locked);
        assert_eq!(lock(&Request { without_pause_image: true, ..asked.clone() }).images, std::slice::from_ref(&image));
        assert_eq!(lock(&ask("1.30")).images, [pause]);
        locked.check_fits(&asked, "flexnode.lock").unwrap();
        let error = lock(&ask("1.30")).check_fits(&asked, "flexnode.lock").expect_err("it lacks the image");
        assert!(error.to_string().contains(&format!("without --image {image}")), "{error}");
    }

    #[test]
    fn a_lock_from_before_images_has_none_and_fits() {
        let locked = resolve(ask("1.30"), &Catalog::embedded().unwrap()).unwrap().lock;
        let mut old: serde_json::Value = serde_json::from_str(&locked.to_json().unwrap()).unwrap();
        old.as_object_mut().unwrap().remove("images");
        let old = Lock::parse(&old.to_string(), "flexnode.lock").unwrap();
        assert_eq!(old.images, []);
        old.check_fits(&ask("1.30"), "flexnode.lock").unwrap();
    }
}
