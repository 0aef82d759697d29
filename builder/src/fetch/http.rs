//! One attempt to bring bytes over HTTP into a `.partial`: only what is missing, no more than may come, no waiting for
//! a server that has gone silent.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Response, StatusCode, Url};

use super::cache::Partial;
use super::problem::{Found, HEAD, Mismatch, Problem, causes, chain};
use super::registry::{Login, MANIFESTS, Repository};
use super::{Options, mirror, retry, trust};
use crate::digest::Digest;
use crate::progress::Task;

/// A body of another length than pinned is read up to here, so that its digest and first words can be told.
const ERROR_PAGE: u64 = 64 << 10;

/// An HTTP client with this run's certificates, proxies and timeouts.
#[derive(Debug)]
pub(super) struct Client {
    inner: reqwest::Client,
    login: Login,
    connect_timeout: Duration,
    stall_timeout: Duration,
}

/// How long the bytes are, or may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// The pinned length.
    pub(super) size: Option<u64>,
    /// The most that may come: the pinned length or else a general limit.
    pub(super) limit: u64,
}

/// What one source has told so far.
#[derive(Debug)]
pub(super) struct Transfer {
    /// Names the version of the file whose beginning we have.
    validator: Option<HeaderValue>,
    /// Some of what we have is from elsewhere: another source, or a run before this one.
    pub(super) foreign: bool,
}

impl Transfer {
    pub(super) fn new(foreign: bool) -> Self {
        Self { validator: None, foreign }
    }
}

impl Client {
    /// # Errors
    /// A usage error when a `--ca-cert` cannot be read or holds no certificate.
    pub(super) fn new(options: &Options) -> Result<Self> {
        let tls = trust::tls(&options.ca_certs)?;
        let login = Login::new(tls.clone(), options.connect_timeout, options.stall_timeout)?;
        let inner = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("flexnode-build/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.stall_timeout)
            .redirect(Policy::custom(follow))
            .build()
            .context("set up the HTTP client")?;
        Ok(Self { inner, login, connect_timeout: options.connect_timeout, stall_timeout: options.stall_timeout })
    }

    /// Appends to `partial` what it lacks. It is then complete as far as HTTP can tell, but not yet verified.
    pub(super) async fn download(
        &self,
        url: &Url,
        partial: &Partial,
        expected: Expected,
        transfer: &mut Transfer,
        task: &Task,
    ) -> Result<(), Problem> {
        let have = partial.len()?;
        let mut response = self.request(url, have, transfer).await?;
        if have > 0 && is_nonsense(&response, have) {
            // What we have stays until the whole begins to come, for this answer may be about another file.
            response = self.request(url, 0, transfer).await?;
        }
        let (start, total) = match response.status() {
            StatusCode::OK => (0, response.content_length()),
            StatusCode::PARTIAL_CONTENT => content_range(response.headers())
                .filter(|(start, _)| have > 0 && *start == have)
                .ok_or_else(|| Problem::Refused("sent another part than it was asked for".to_owned()))?,
            status => return Err(refusal(status, response.headers())),
        };
        if let Some(total) = total {
            if expected.size.is_some_and(|size| size != total) {
                return Err(self.other_length(response, total, expected).await);
            }
            if total > expected.limit {
                return Err(wrong(Found::TooLong { limit: expected.limit }, Vec::new()));
            }
        }
        if start == 0 {
            // It ignored the range, or its file is another one now, or there was none: from the beginning.
            partial.restart()?;
            task.restart();
            let validator = validator(response.headers());
            *transfer = Transfer { validator, foreign: false };
        }
        self.body(response, partial, start, total, expected, task).await
    }

    /// Asks, and once more after a login where a registry wants one.
    async fn request(&self, url: &Url, have: u64, transfer: &Transfer) -> Result<Response, Problem> {
        let repository = Repository::of(url);
        let known = match &repository {
            Some(repository) => self.login.known(repository).await,
            None => None,
        };
        let response = self.send(url, have, transfer, known.as_ref()).await?;
        let Some(repository) = repository else { return Ok(response) };
        // What another host wants, to which we were sent, is no matter of the registry's.
        if response.status() != StatusCode::UNAUTHORIZED || response.url() != url {
            return Ok(response);
        }
        match self.login.answer(&repository, response.headers(), known.as_ref()).await? {
            Some(answer) => self.send(url, have, transfer, Some(&answer)).await,
            None => Ok(response),
        }
    }

    async fn send(
        &self,
        url: &Url,
        have: u64,
        transfer: &Transfer,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Problem> {
        // Without `identity`, some servers compress on the fly, and a range of that is of no use.
        let mut request = self.inner.get(url.clone()).header(header::ACCEPT_ENCODING, "identity");
        if url.path().contains("/manifests/") && Repository::of(url).is_some() {
            request = request.header(header::ACCEPT, MANIFESTS);
        }
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
            if let Some(validator) = &transfer.validator {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        request.send().await.map_err(|error| self.classify(error))
    }

    async fn body(
        &self,
        mut response: Response,
        partial: &Partial,
        start: u64,
        total: Option<u64>,
        expected: Expected,
        task: &Task,
    ) -> Result<(), Problem> {
        let mut have = start;
        // A chunk is some kilobytes for the page cache: less work than handing it to another thread.
        while let Some(chunk) = response.chunk().await.map_err(|error| self.classify(error))? {
            have += chunk.len() as u64;
            if have > expected.limit {
                let head = partial.head(HEAD)?;
                partial.restart()?;
                return Err(wrong(Found::TooLong { limit: expected.limit }, head));
            }
            partial.append(&chunk)?;
            task.advance(chunk.len() as u64);
        }
        match total.or(expected.size) {
            Some(total) if have < total => Err(Problem::Interrupted(format!("ended after {have} of {total} bytes"))),
            _ => Ok(()),
        }
    }

    /// Refuses a body by its announced length. What the `.partial` holds may well be good and stays.
    async fn other_length(&self, mut response: Response, total: u64, expected: Expected) -> Problem {
        let mut body = Vec::new();
        while (body.len() as u64) < total.min(ERROR_PAGE) {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return self.classify(error),
            }
        }
        let is_whole = response.status() == StatusCode::OK && body.len() as u64 == total;
        let found = match expected.size {
            Some(pinned) if !is_whole => Found::Announced { size: total, pinned },
            _ => Found::Digest { sha256: Digest::of(&body), size: total },
        };
        wrong(found, if response.status() == StatusCode::OK { body } else { Vec::new() })
    }

    fn classify(&self, error: reqwest::Error) -> Problem {
        // The URL is named by whoever reports this, without what is secret in it.
        let error = error.without_url();
        let seconds = |timeout: Duration| timeout.as_secs_f64();
        if causes(&error).any(|cause| cause.is::<rustls::Error>()) {
            Problem::Untrusted(chain(&error))
        } else if error.is_redirect() || error.is_builder() {
            Problem::Refused(chain(&error))
        } else if error.is_connect() && error.is_timeout() {
            Problem::Unreachable(format!("no connection within {} s", seconds(self.connect_timeout)))
        } else if error.is_timeout() {
            Problem::Interrupted(format!("not a byte for {} s", seconds(self.stall_timeout)))
        } else if error.is_connect() {
            Problem::Unreachable(chain(&error))
        } else {
            Problem::Interrupted(chain(&error))
        }
    }
}

/// Redirects are followed ten times, and never from https to http.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_secure = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if was_secure && attempt.url().scheme() != "https" {
        let why = format!("redirects from https to {}", mirror::redacted(attempt.url()));
        return attempt.error(why);
    }
    Policy::limited(10).redirect(attempt)
}

/// Whether this is no answer to "everything from `have` on": neither that, nor the whole, nor a plain refusal.
fn is_nonsense(response: &Response, have: u64) -> bool {
    match response.status() {
        StatusCode::RANGE_NOT_SATISFIABLE => true,
        StatusCode::PARTIAL_CONTENT => content_range(response.headers()).is_none_or(|(start, _)| start != have),
        _ => false,
    }
}

fn refusal(status: StatusCode, headers: &HeaderMap) -> Problem {
    if retry::is_passing(status) {
        let value = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = value.and_then(|value| retry::retry_after(value, Timestamp::now()));
        return Problem::Busy { status, retry_after };
    }
    Problem::Refused(format!("HTTP {status}"))
}

fn wrong(found: Found, head: Vec<u8>) -> Problem {
    Problem::Wrong(Mismatch { found, head })
}

/// First byte and total length of `bytes 500-999/1000`; the total may be `*`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (span, total) = range.split_once('/')?;
    let (start, _) = span.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((start.parse().ok()?, total))
}

/// What `If-Range` may carry (RFC 9110, section 13.1.5): a strong entity tag, or else the date.
fn validator(headers: &HeaderMap) -> Option<HeaderValue> {
    let tag = headers.get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    tag.or_else(|| headers.get(header::LAST_MODIFIED)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn content_ranges_are_read_and_nonsense_is_not() {
        for (value, read) in [
            ("bytes 500-999/1000", Some((500, Some(1000)))),
            ("bytes 0-0/*", Some((0, None))),
            ("bytes */1000", None),
            ("bytes 5-9/x", None),
            ("items 5-9/10", None),
        ] {
            assert_eq!(content_range(&headers(header::CONTENT_RANGE, value)), read, "{value}");
        }
    }

    #[test]
    fn a_weak_tag_does_not_make_a_range_safe() {
        assert_eq!(validator(&headers(header::ETAG, "W/\"1\"")), None);
        assert_eq!(validator(&headers(header::ETAG, "\"1\"")), Some(HeaderValue::from_static("\"1\"")));
    }
}
