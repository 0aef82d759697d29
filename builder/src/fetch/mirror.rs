//! Where an artifact's bytes may be: below a mirror, at upstream's host and path, and at its own URL.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use reqwest::Url;

/// A place that holds upstream's files under `<host>/<path>`, for example
/// `<mirror>/dl.k8s.io/release/v1.30.0/bin/linux/amd64/kubelet`.
#[derive(Clone, PartialEq, Eq)]
pub enum Mirror {
    /// `http://` or `https://`; may hold a user name and a password.
    Url(Url),
    /// A directory.
    Directory(PathBuf),
}

/// Where the bytes of one artifact may be.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Source {
    Url(Url),
    File(PathBuf),
}

/// Why a text is no mirror.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no mirror: {why}")]
pub struct NotAMirror {
    text: String,
    why: String,
}

impl FromStr for Mirror {
    type Err = NotAMirror;

    fn from_str(text: &str) -> Result<Self, NotAMirror> {
        let refuse = |why: String| NotAMirror { text: without_userinfo(text), why };
        if text.is_empty() {
            return Err(refuse("it is empty".to_owned()));
        }
        if !text.contains("://") {
            return Ok(Self::Directory(PathBuf::from(text)));
        }
        let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("it has a query or a fragment".to_owned()));
        }
        match url.scheme() {
            "https" | "http" => Ok(Self::Url(url)),
            "file" => url
                .to_file_path()
                .map(Self::Directory)
                .map_err(|()| refuse("a file URL has three slashes, as in file:///srv/mirror".to_owned())),
            other => Err(refuse(format!("`{other}` is none of https, http, file"))),
        }
    }
}

impl Mirror {
    /// Where this mirror has the file that upstream has at `url`; nowhere when `url` has no host.
    pub(super) fn source(&self, url: &Url) -> Option<Source> {
        match self {
            Self::Directory(root) => Some(Source::File(root.join(path_below(url)?))),
            Self::Url(mirror) => {
                let mut source = mirror.clone();
                let below = format!("{}{}", host(url)?, url.path());
                source.set_path(&format!("{}/{below}", mirror.path().trim_end_matches('/')));
                Some(Source::Url(source))
            }
        }
    }
}

impl Source {
    /// The artifact's own URL as a source.
    pub(super) fn upstream(url: &Url) -> Option<Self> {
        match url.scheme() {
            "https" | "http" => Some(Self::Url(url.clone())),
            "file" => url.to_file_path().map(Self::File).ok(),
            _ => None,
        }
    }
}

/// Upstream's host and path as a relative path, percent-decoded; `None` when that would leave the directory.
pub(super) fn path_below(url: &Url) -> Option<PathBuf> {
    let path = Url::parse(&format!("file:///{}", url.path().trim_start_matches('/'))).ok()?.to_file_path().ok()?;
    let path = Path::new(&host(url)?).join(path.strip_prefix("/").ok()?);
    path.components().all(|part| matches!(part, Component::Normal(_))).then_some(path)
}

/// Host, and port where it is not the scheme's own.
fn host(url: &Url) -> Option<String> {
    let host = url.host_str().filter(|host| !host.is_empty())?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// A URL as people may see it: user name and password are gone, and what a query says, for it may be a signature.
pub(super) fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    // Both fail only for URLs that cannot hold any.
    let _ = (shown.set_username(""), shown.set_password(None));
    shown.set_fragment(None);
    shown.set_query(url.query().map(|_| "..."));
    shown.into()
}

/// The same for a text that is no URL yet, and may never become one.
pub(super) fn without_userinfo(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => text.to_owned(),
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(&redacted(url)),
            Self::Directory(dir) => write!(f, "{}", dir.display()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(&redacted(url)),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Debug output ends in logs, so it is as discreet as the rest.
impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mirror({self})")
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(mirror: &str, url: &str) -> Option<String> {
        let source = mirror.parse::<Mirror>().expect("a mirror").source(&Url::parse(url).expect("a URL"))?;
        Some(source.to_string())
    }

    #[test]
    fn the_path_below_a_mirror_is_upstreams_host_and_path() {
        let kubelet = "https://dl.k8s.io/release/v1.30.0/bin/linux/amd64/kubelet";
        let path = "dl.k8s.io/release/v1.30.0/bin/linux/amd64/kubelet";
        assert_eq!(below("https://mirror.test/base/", kubelet), Some(format!("https://mirror.test/base/{path}")));
        assert_eq!(below("http://mirror.test", kubelet), Some(format!("http://mirror.test/{path}")));
        assert_eq!(below("/srv/mirror", kubelet), Some(format!("/srv/mirror/{path}")));
        assert_eq!(below("file:///srv/mir%20ror", kubelet), Some(format!("/srv/mir ror/{path}")));
        assert_eq!(below("lab/mirror", kubelet), Some(format!("lab/mirror/{path}")));
        assert_eq!(below("/m", "http://127.0.0.1:8080/a%2Bb?x=y"), Some("/m/127.0.0.1:8080/a+b".to_owned()));
    }

    #[test]
    fn no_path_leaves_a_directory() {
        for url in ["https://h/..%2f..%2fetc/passwd", "https://h/a/..%2F..%2F..%2Fb"] {
            assert_eq!(below("/srv/mirror", url), None, "{url}");
        }
        assert_eq!(below("/srv/mirror", "https://h/%2e%2e/%2e%2e/b"), Some("/srv/mirror/h/b".to_owned()));
        assert_eq!(below("/srv/mirror", "file:///etc/passwd"), None);
    }

    #[test]
    fn a_wrong_mirror_is_refused_with_a_reason_and_without_its_password() {
        for (text, said) in [
            ("", "it is empty"),
            ("s3://bucket/x", "`s3` is none of https, http, file"),
            ("https://u:s3cret@", "empty host"),
            ("https://u:s3cret@host:99999/", "invalid port"),
            ("https://host/?token=1", "query"),
            ("file://host/dir", "three slashes"),
        ] {
            let refusal = text.parse::<Mirror>().expect_err(text).to_string();
            assert!(refusal.contains(said), "{refusal}");
            assert!(!refusal.contains("s3cret"), "{refusal}");
        }
    }

    #[test]
    fn secrets_of_a_url_are_not_shown() {
        let mirror: Mirror = "https://robot:s3cret@mirror.test/m".parse().expect("a mirror");
        assert_eq!(format!("{mirror}"), "https://mirror.test/m");
        assert!(!format!("{mirror:?}").contains("s3cret"));
        let signed = Url::parse("https://u:p@h/x?sig=s3cret#f").expect("a URL");
        assert_eq!(redacted(&signed), "https://h/x?...");
        assert_eq!(without_userinfo("https://u:p@h/x"), "https://h/x");
    }
}
