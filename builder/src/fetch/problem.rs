//! Why a source did not give an artifact, and what a person is told when none did.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use reqwest::StatusCode;

use super::mirror::Source;
use crate::digest::Digest;
use crate::failure::{Class, Failure};

/// Why one attempt at one source failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// No connection: name resolution, routing, a refusal, a proxy that does not let us through.
    #[error("{0}")]
    Unreachable(String),
    /// A connection that broke, stalled, or made no sense.
    #[error("{0}")]
    Interrupted(String),
    /// 408, 429 or 5xx.
    #[error("HTTP {status}")]
    Busy { status: StatusCode, retry_after: Option<Duration> },
    /// The other side cannot prove who it is.
    #[error("{0}")]
    Untrusted(String),
    /// It answered, and the answer is no.
    #[error("{0}")]
    Refused(String),
    /// It gave something else than what was pinned.
    #[error("{0}")]
    Wrong(Mismatch),
    /// This machine is at fault, so no other source can help.
    #[error("{0:#}")]
    Local(#[from] anyhow::Error),
}

impl Problem {
    /// Whether the same source may do better next time, and how long it asked us to wait.
    pub(super) fn passes(&self) -> Option<Option<Duration>> {
        match self {
            Self::Unreachable(_) | Self::Interrupted(_) => Some(None),
            Self::Busy { retry_after, .. } => Some(*retry_after),
            Self::Untrusted(_) | Self::Refused(_) | Self::Wrong(_) | Self::Local(_) => None,
        }
    }
}

/// How bytes differ from what was pinned.
#[derive(Debug)]
pub(super) struct Mismatch {
    pub(super) found: Found,
    /// The first bytes, as far as they are known.
    pub(super) head: Vec<u8>,
}

/// What is known of the wrong bytes.
#[derive(Debug)]
pub(super) enum Found {
    /// All of them came.
    Digest { sha256: Digest, size: u64 },
    /// Their announced length was enough to refuse them.
    Announced { size: u64, pinned: u64 },
    /// They did not end where they had to.
    TooLong { limit: u64 },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Found::Digest { sha256, size } => write!(f, "sha256 {sha256} ({size} bytes)")?,
            Found::Announced { size, pinned } => write!(f, "{size} bytes where {pinned} are pinned")?,
            Found::TooLong { limit } => write!(f, "more than {limit} bytes, the most it may have")?,
        }
        match printable(&self.head) {
            Some(text) => write!(f, ", beginning with `{text}`"),
            None => Ok(()),
        }
    }
}

/// How many of the first bytes are worth keeping.
pub(super) const HEAD: usize = 120;

/// The first bytes on one line, if they are text: then they are an error page more often than not.
fn printable(head: &[u8]) -> Option<String> {
    let head = &head[..head.len().min(HEAD)];
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace() || !byte.is_ascii();
    if head.is_empty() || !head.iter().all(is_text) || head.starts_with(b"!<arch>") {
        return None;
    }
    let mut line = String::new();
    for byte in head.trim_ascii() {
        match byte {
            byte if byte.is_ascii_whitespace() => line.push(' '),
            // No quotes are escaped, unlike in `escape_ascii`: an error page is full of them.
            b' '..=b'~' => line.push(char::from(*byte)),
            byte => line.extend(byte.escape_ascii().map(char::from)),
        }
    }
    line.truncate(HEAD);
    Some(line)
}

/// An artifact that no source gave.
#[derive(Debug)]
pub(super) struct Unfetched {
    /// Name and version.
    pub(super) artifact: String,
    /// What it must be.
    pub(super) sha256: Digest,
    /// Upstream's URL, redacted.
    pub(super) url: String,
    /// Every source that was asked, and its answer.
    pub(super) tried: Vec<(Source, Problem)>,
}

impl Unfetched {
    fn any(&self, is: fn(&Problem) -> bool) -> bool {
        self.tried.iter().any(|(_, problem)| is(problem))
    }
}

impl fmt::Display for Unfetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { artifact, sha256, url, tried } = self;
        if tried.is_empty() {
            return write!(f, "{artifact} is neither in the cache nor in a mirror on this machine ({url})");
        }
        if self.any(is_wrong) {
            write!(f, "{artifact} is not what was pinned, sha256 {sha256}")?;
        } else {
            write!(f, "cannot fetch {artifact}")?;
        }
        tried.iter().try_for_each(|(source, problem)| write!(f, "\n  {source}: {problem}"))
    }
}

/// The one failure of a run that left artifacts unfetched.
pub(super) fn failure(unfetched: &[Unfetched], offline: bool) -> Failure {
    let any = |is: fn(&Problem) -> bool| unfetched.iter().any(|one| one.any(is));
    let message = unfetched.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let class = if any(is_wrong) { Class::Verification } else { Class::Network };
    Failure::new(class, message).hint(if any(is_wrong) {
        "none of it was used; a mirror is renewed with `flexnode-build fetch --mirror-to DIR` on a machine that \
         reaches upstream; if upstream's own file has changed, do not ship it before you know why"
    } else if offline {
        "on a connected machine run `flexnode-build fetch --mirror-to DIR`, bring DIR here and add `--mirror DIR`"
    } else if any(|problem| matches!(problem, Problem::Untrusted(_))) {
        "if a mirror or a proxy has a certificate authority of its own, name its PEM file with --ca-cert FILE"
    } else if any(|problem| problem.passes().is_some()) {
        "run it again to resume; where upstream cannot be reached, name a mirror with --mirror URL|DIR or a proxy in \
         HTTPS_PROXY, or build from what is here with --offline"
    } else {
        "check the version and the URL; a mirror holds upstream's host and path, as in MIRROR/dl.k8s.io/release/..."
    })
}

fn is_wrong(problem: &Problem) -> bool {
    matches!(problem, Problem::Wrong(_))
}

/// An error and everything below it, for "error sending request" alone helps nobody.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(error) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            let separator = if text.is_empty() { "" } else { ": " };
            text = text + separator + &cause;
        }
    }
    text
}

/// The errors below `error`, itself included. [`io::Error`] hides the one it wraps from `source()`.
pub(super) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| below(*error))
}

fn below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_pages_are_shown_on_one_line_and_programs_are_not() {
        assert_eq!(printable(b"<html>\r\n<h1>\"404\"</h1>").as_deref(), Some("<html>  <h1>\"404\"</h1>"));
        assert_eq!(printable("{\"é\":1}".as_bytes()).as_deref(), Some(r#"{"\xc3\xa9":1}"#));
        assert_eq!(printable(b"Not Found\n").as_deref(), Some("Not Found"));
        for binary in [&b"\x7fELF\x02\x01"[..], b"\x1f\x8b\x08", b"!<arch>\ndebian-binary", b"", b"\x1b[2J"] {
            assert_eq!(printable(binary), None);
        }
        assert_eq!(printable(&[0xc3; 500]).map(|text| text.len()), Some(HEAD));
    }

    #[test]
    fn what_an_io_error_wraps_is_told_too() {
        let error = io::Error::other(anyhow::anyhow!("the inner").context("the outer"));
        assert_eq!(chain(&error), "the outer: the inner");
    }
}
