//! The machine's own identity: tokens from the Arc agent's local endpoint (HIMDS).
//!
//! HIMDS hands a token only to who can read a file that it names and that root owns. The checks on that file are
//! those of Microsoft's client libraries (and of `token.sh`): without them, whatever listens on the port while the
//! agent is down could have any file of the node sent to it.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Client;
use reqwest::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::config::Secret;
use crate::http::{HttpError, read, refusal, unreachable_by};

/// The address of HIMDS on a node.
pub const ENDPOINT: &str = "http://localhost:40342";

/// The only directory that a challenge may name, on a node.
pub const TOKENS: &str = "/var/opt/azcmagent/tokens";

/// Application id of AKS's Entra server application, the audience of tokens for API servers in every cloud.
pub const AKS_SERVER: &str = "6dae42f8-4368-4678-94ff-3960e28e3630";

const API_VERSION: &str = "2020-06-01";
const LARGEST_KEY: u64 = 4096;

/// The endpoint; keeps a token in memory until shortly before it expires.
#[derive(Debug)]
pub struct Himds {
    client: Client,
    endpoint: String,
    tokens: PathBuf,
    cache: Mutex<Vec<(String, Token)>>,
}

/// A token and the second since 1970 in which it expires.
#[derive(Debug, Clone)]
struct Token {
    value: Secret,
    expires: u64,
}

impl Himds {
    /// HIMDS at `endpoint`, whose challenges name files in `tokens`; `client` trusts nobody and uses no proxy.
    #[must_use]
    pub fn new(client: Client, endpoint: &str, tokens: &Path) -> Self {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Self { client, endpoint, tokens: tokens.to_owned(), cache: Mutex::default() }
    }

    /// A token of the machine's identity for `resource`.
    ///
    /// # Errors
    /// When HIMDS gives none; [`HttpError::Distrusted`] when what answers is not HIMDS.
    pub async fn token(&self, resource: &str) -> Result<Secret, HttpError> {
        if let Some(token) = self.cached(resource) {
            return Ok(token.value);
        }
        let token = self.exchange(resource).await.map_err(|error| HttpError::Himds(Box::new(error)))?;
        let mut cache = self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        cache.retain(|(of, _)| of != resource);
        cache.push((resource.to_owned(), token.clone()));
        Ok(token.value)
    }

    /// Forgets all tokens, so that the next is asked for anew.
    pub fn forget(&self) {
        self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }

    fn cached(&self, resource: &str) -> Option<Token> {
        let soon = SystemTime::now() + Duration::from_secs(120);
        let soon = soon.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let cache = self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        cache.iter().find(|(of, token)| of == resource && token.expires > soon).map(|(_, token)| token.clone())
    }

    async fn exchange(&self, resource: &str) -> Result<Token, HttpError> {
        let challenge = self.ask(resource, None).await?;
        if challenge.status() != 401 {
            return Err(self.unexpected(challenge, "without a challenge, so it is not the Arc agent").await);
        }
        let named = challenge.headers().get_all(WWW_AUTHENTICATE).iter();
        let file = named.filter_map(|value| realm(value.to_str().ok()?)).next();
        // To its end: what is cut short is no answer, and the connection can be used again.
        read(challenge, &self.endpoint).await?;
        let Some(file) = file else { return Err(self.garbled("a challenge that names a file")) };
        let key = read_key(&self.tokens, Path::new(&file))?;
        let answer = self.ask(resource, Some(&key)).await?;
        if answer.status() == 401 {
            // A restart in between has made it forget its challenge. The next attempt gets a new one.
            return Err(self.garbled("a token, as if its challenge had not been met"));
        }
        if answer.status() != 200 {
            return Err(self.unexpected(answer, "with another status than 200").await);
        }
        let body = read(answer, &self.endpoint).await?;
        token(&body).ok_or_else(|| self.garbled("a token"))
    }

    fn garbled(&self, what: &'static str) -> HttpError {
        HttpError::Garbled { host: self.endpoint.clone(), what }
    }

    async fn ask(&self, resource: &str, key: Option<&Zeroizing<String>>) -> Result<reqwest::Response, HttpError> {
        let url =
            format!("{}/metadata/identity/oauth2/token?api-version={API_VERSION}&resource={resource}", self.endpoint);
        let mut request = self.client.get(url).header("Metadata", "true");
        if let Some(key) = key {
            let header = Zeroizing::new(format!("Basic {}", key.as_str()));
            let mut header = reqwest::header::HeaderValue::from_str(&header)
                .map_err(|_| HttpError::Distrusted("the challenge names a file that is no text".to_owned()))?;
            header.set_sensitive(true);
            request = request.header(AUTHORIZATION, header);
        }
        crate::crash::point();
        let answer = request.send().await.map_err(|error| unreachable_by(&self.endpoint, &error));
        crate::crash::point();
        answer
    }

    /// Of a status that is no step of the exchange: a success is not believed, the rest is a refusal.
    async fn unexpected(&self, answer: reqwest::Response, how: &str) -> HttpError {
        let status = answer.status();
        if status.is_success() || status.is_redirection() {
            return HttpError::Distrusted(format!("{} answers {how}", self.endpoint));
        }
        let headers = answer.headers().clone();
        match read(answer, &self.endpoint).await {
            Ok(body) => refusal(&self.endpoint, status.as_u16(), &headers, &body).into(),
            Err(error) => error,
        }
    }
}

/// The file that a `Www-Authenticate` names. The scheme and the parameter have no case; the value may be quoted.
fn realm(header: &str) -> Option<String> {
    let (scheme, rest) = header.trim().split_once(char::is_whitespace)?;
    let (name, value) = rest.trim().split_once('=')?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    (scheme.eq_ignore_ascii_case("Basic") && name.trim().eq_ignore_ascii_case("realm")).then(|| value.to_owned())
}

/// The content of the file that a challenge names, if it is one that may be sent.
fn read_key(tokens: &Path, file: &Path) -> Result<Zeroizing<String>, HttpError> {
    let named = |what: &str| format!("the challenge of the Arc agent names {what}");
    let refuse = |why: String| HttpError::Distrusted(named(&why));
    // A himdsd that restarts takes its challenges back; one that has just made a file may not have filled it yet.
    let gone = |why: &str| HttpError::Pending(named(why));
    let name = file.as_os_str().as_encoded_bytes();
    // Compared as bytes: `Path` would take `tokens//x` and `tokens/./x` for the same.
    let prefix = [tokens.as_os_str().as_encoded_bytes(), b"/"].concat();
    let name = name.strip_prefix(prefix.as_slice()).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(refuse(format!("a file outside {}", tokens.display())));
    }
    if !name.ends_with(".key") {
        return Err(refuse("a file that is no .key".to_owned()));
    }
    let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    if is_link(tokens) {
        return Err(refuse(format!("a file in {}, which is a link", tokens.display())));
    }
    if is_link(file) {
        return Err(refuse("a link".to_owned()));
    }
    // Asked before it is opened: opening a pipe would wait for its writer.
    match fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(gone("a file that is not there")),
        _ => return Err(refuse("no regular file".to_owned())),
    }
    // Room for everything beforehand, so that no copy of the key stays behind when it grows.
    let mut key = Zeroizing::new(String::with_capacity(8192));
    let read = File::open(file).and_then(|file| file.take(LARGEST_KEY + 1).read_to_string(&mut key));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(gone("a file that is not there")),
        Err(error) => Err(refuse(format!("a file that cannot be read: {error}"))),
        Ok(length) if length as u64 > LARGEST_KEY => Err(refuse("a file of more than 4096 bytes".to_owned())),
        Ok(_) if key.trim_end().is_empty() => Err(gone("an empty file")),
        Ok(_) => Ok(Zeroizing::new(key.trim_end_matches(['\r', '\n']).to_owned())),
    }
}

fn token(body: &[u8]) -> Option<Token> {
    #[derive(Deserialize)]
    struct Body {
        access_token: Secret,
        /// A string of digits; a number from some versions.
        expires_on: Value,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    let expires = match &body.expires_on {
        Value::String(digits) => digits.parse().ok()?,
        number => number.as_u64()?,
    };
    // RFC 6750: of what a bearer token may consist.
    let bearer = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    let value = body.access_token;
    (!value.expose().is_empty() && value.expose().chars().all(bearer)).then_some(Token { value, expires })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_challenge_is_read_in_any_case_and_quoted_or_not() {
        for header in ["Basic realm=/t/a.key", "basic  Realm = /t/a.key ", "BASIC realm=\"/t/a.key\""] {
            assert_eq!(realm(header).as_deref(), Some("/t/a.key"), "{header}");
        }
        for header in ["Bearer realm=/t/a.key", "Basic", "Basic file=/t/a.key"] {
            assert_eq!(realm(header), None, "{header}");
        }
    }

    #[test]
    fn only_a_small_key_file_directly_in_the_directory_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let tokens = root.path().join("tokens");
        fs::create_dir_all(tokens.join("sub.key")).unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(tokens.join(name), bytes).unwrap();
        write("good.key", b"key\n");
        write("limit.key", &[b'k'; 4096]);
        write("large.key", &[b'k'; 4097]);
        write("empty.key", b"\n");
        write("binary.key", b"\xff");
        write("shadow", b"root:x");
        fs::write(root.path().join("out.key"), "out").unwrap();
        symlink(root.path().join("out.key"), tokens.join("link.key")).unwrap();
        let read = |name: &str| read_key(&tokens, Path::new(&format!("{}/{name}", tokens.display())));
        assert_eq!(read("good.key").unwrap().as_str(), "key");
        assert_eq!(read("limit.key").unwrap().len(), 4096);
        for (name, why) in [
            ("large.key", "more than 4096"),
            ("empty.key", "empty"),
            ("binary.key", "cannot be read"),
            ("shadow", "no .key"),
            ("../out.key", "outside"),
            ("./good.key", "outside"),
            ("/good.key", "outside"),
            ("sub.key/good.key", "outside"),
            (".good.key", "outside"),
            ("a b.key", "outside"),
            ("link.key", "a link"),
            ("sub.key", "no regular file"),
            ("missing.key", "not there"),
        ] {
            let error = read(name).expect_err(name).to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
        let elsewhere = read_key(&tokens, Path::new("/etc/shadow.key")).expect_err("elsewhere");
        assert!(elsewhere.to_string().contains("outside"), "{elsewhere}");
        let linked = root.path().join("linked");
        symlink(&tokens, &linked).unwrap();
        let error = read_key(&linked, &linked.join("good.key")).expect_err("the directory is a link");
        assert!(error.to_string().contains("which is a link"), "{error}");
    }

    #[test]
    fn a_token_needs_both_members_and_no_odd_characters() {
        assert!(token(br#"{"access_token":"a.b-c","expires_on":"1700000000"}"#).is_some());
        assert!(token(br#"{"access_token":"a.b-c","expires_on":1700000000}"#).is_some());
        for body in [
            r#"{"access_token":"","expires_on":"1"}"#,
            r#"{"access_token":"a\r\nX: y","expires_on":"1"}"#,
            r#"{"access_token":"a"}"#,
            r#"{"access_token":"a","expires_on":"soon"}"#,
            "<html>",
        ] {
            assert!(token(body.as_bytes()).is_none(), "{body}");
        }
    }
}
