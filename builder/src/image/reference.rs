//! The name of an image, as Docker and Kubernetes write it, with the digest that pins it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;

/// `registry.k8s.io/pause:3.9@sha256:…`: where it is, what it is called, what it must be. Sorted as it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Digest,
}

/// Docker's own registry, which names without one mean.
const DOCKER: &str = "docker.io";

/// The grammar's limit for registry and repository together (distribution/reference, `NameTotalLengthMax`).
const LONGEST_NAME: usize = 255;

impl Reference {
    /// Registry and repository: `docker.io/library/busybox`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The tag, which is for people and for pods that name it; the digest decides.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// What the index or manifest must be.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Name and tag, or name and the beginning of the digest: one name for one image of a bundle.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{}:{tag}", self.name()),
            None => format!("{}@sha256:{}", self.name(), self.digest.short()),
        }
    }

    /// The names under which containerd must know the image. Kubernetes drops the tag of a name that has both
    /// (containerd, `docker.ParseDockerRef`), so these two are all.
    #[must_use]
    pub fn names_on_the_node(&self) -> Vec<String> {
        let tagged = self.tag.as_ref().map(|tag| format!("{}:{tag}", self.name()));
        tagged.into_iter().chain([format!("{}@sha256:{}", self.name(), self.digest)]).collect()
    }

    /// Where the registry has a manifest or an index.
    #[must_use]
    pub fn manifest_url(&self, digest: Digest) -> String {
        format!("{}/manifests/sha256:{digest}", self.url())
    }

    /// Where the registry has a config or a layer.
    #[must_use]
    pub fn blob_url(&self, digest: Digest) -> String {
        format!("{}/blobs/sha256:{digest}", self.url())
    }

    fn url(&self) -> String {
        // Docker's registry serves under another name than its images have.
        let host = if self.registry == DOCKER { "registry-1.docker.io" } else { &self.registry };
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        // As Docker and containerd do: a registry on this machine needs no TLS.
        let scheme = if matches!(name, "localhost" | "127.0.0.1" | "[::1]") { "http" } else { "https" };
        format!("{scheme}://{host}/v2/{}", self.repository)
    }
}

/// Why a text names no image, or does not pin it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no pinned image: {why}; write name:tag@sha256:… or name@sha256:…")]
pub struct NotAReference {
    text: String,
    why: String,
}

impl FromStr for Reference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let refuse = |why: &str| NotAReference { text: text.escape_debug().take(200).collect(), why: why.to_owned() };
        let (named, digest) = text.split_once('@').ok_or_else(|| refuse("it has no digest"))?;
        let digest = digest.strip_prefix("sha256:").ok_or_else(|| refuse("its digest is no sha256"))?;
        let digest = digest.parse().map_err(|error| refuse(&format!("{error}")))?;
        let slash = named.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match named[slash..].split_once(':') {
            Some((last, tag)) => (&named[..slash + last.len()], Some(tag)),
            None => (named, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refuse("its tag is none"));
        }
        // The first part is a registry where it looks like a host.
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest.to_owned()),
            Some(_) => (DOCKER, name.to_owned()),
            None => (DOCKER, format!("library/{name}")),
        };
        let registry = if registry == "index.docker.io" { DOCKER } else { registry };
        let repository = match registry {
            DOCKER if !repository.contains('/') => format!("library/{repository}"),
            _ => repository,
        };
        if !is_registry(registry) {
            return Err(refuse("its registry is no host"));
        }
        if !repository.split('/').all(is_component) {
            return Err(refuse(
                "a part of its name has other than lower-case letters, digits and `.`, `_`, `-` between",
            ));
        }
        if registry.len() + 1 + repository.len() > LONGEST_NAME {
            return Err(refuse("its name is too long"));
        }
        Ok(Self { registry: registry.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }
}

/// `[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}`
fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

/// A host name, an IPv4 address or a bracketed IPv6 address, with or without a port.
fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.rfind(':') {
        Some(at) if !registry.ends_with(']') => (&registry[..at], Some(&registry[at + 1..])),
        _ => (registry, None),
    };
    let is_name = |host: &str| {
        host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    let is_address = |host: &str| {
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
    };
    (is_name(host) || is_address(host)) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Lower-case letters and digits, parted by `.`, `_`, `__` or any number of `-`.
fn is_component(part: &str) -> bool {
    let inner = part.trim_matches(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = part.as_bytes();
    let separators = inner.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    ends.first().is_some_and(alphanumeric)
        && ends.last().is_some_and(alphanumeric)
        && separators
            .filter(|between| !between.is_empty())
            .all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        write!(f, "@sha256:{}", self.digest)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Reference {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ImageReference".into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "An image by digest: name:tag@sha256:… or name@sha256:…",
            "pattern": "@sha256:[0-9a-f]{64}$"
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex() -> String {
        Digest::of(b"an image").to_string()
    }

    #[test]
    fn names_mean_what_docker_means_by_them() {
        for (text, name, url) in [
            ("busybox", "docker.io/library/busybox", "https://registry-1.docker.io/v2/library/busybox"),
            ("docker.io/busybox:1", "docker.io/library/busybox", "https://registry-1.docker.io/v2/library/busybox"),
            ("index.docker.io/a/b", "docker.io/a/b", "https://registry-1.docker.io/v2/a/b"),
            ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause", "https://registry.k8s.io/v2/pause"),
            ("localhost/a", "localhost/a", "http://localhost/v2/a"),
            ("127.0.0.1:5000/a/b__c:x", "127.0.0.1:5000/a/b__c", "http://127.0.0.1:5000/v2/a/b__c"),
            ("[::1]:5000/a", "[::1]:5000/a", "http://[::1]:5000/v2/a"),
            ("registry.test:5000/a-b/c.d", "registry.test:5000/a-b/c.d", "https://registry.test:5000/v2/a-b/c.d"),
        ] {
            let reference: Reference = format!("{text}@sha256:{}", hex()).parse().expect(text);
            assert_eq!(reference.name(), name);
            assert_eq!(reference.blob_url(reference.digest()), format!("{url}/blobs/sha256:{}", hex()));
        }
    }

    #[test]
    fn what_pins_nothing_or_is_no_name_is_refused() {
        let hex = hex();
        for text in [
            "registry.k8s.io/pause:3.9".to_owned(),
            "a@sha256:12".to_owned(),
            format!("a@sha512:{hex}"),
            format!("@sha256:{hex}"),
            format!("A@sha256:{hex}"),
            format!("a//b@sha256:{hex}"),
            format!("../b@sha256:{hex}"),
            format!("h.test/../../etc@sha256:{hex}"),
            format!("h.test:0/a@sha256:{hex}"),
            format!("h.test:99999/a@sha256:{hex}"),
            format!("-h.test/a@sha256:{hex}"),
            format!("user:pass@h.test/a@sha256:{hex}"),
            format!("a:-tag@sha256:{hex}"),
            format!("a___b@sha256:{hex}"),
            format!("a.@sha256:{hex}"),
            format!("a b@sha256:{hex}"),
            format!("{}@sha256:{hex}", "a".repeat(300)),
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_read_as_it_is_written(text in "[a-zA-Z0-9./:@_\\[\\]-]{0,40}(@sha256:[0-9a-f]{64})?") {
            if let Ok(reference) = text.parse::<Reference>() {
                let written = reference.to_string();
                prop_assert_eq!(&written.parse::<Reference>().expect("a written reference is read"), &reference);
                // Its URL is below its registry, whatever the name.
                let url = reqwest::Url::parse(&reference.blob_url(reference.digest())).expect("a URL");
                prop_assert!(url.path().starts_with("/v2/") && url.username().is_empty());
                prop_assert!(!url.path().contains("..") && url.query().is_none() && url.fragment().is_none());
            }
        }
    }
}
