//! Who we are to a registry: its challenge, what Docker's configuration holds for it, and a token to pull one repository
//! (the distribution specification's token authentication).
//!
//! A credential goes to the registry it is for, and to the token service that this registry names. Where either sends us
//! on to another host, it stays behind.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential};
use http_auth::{ChallengeParser, ChallengeRef, ParamValue};
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::problem::{Problem, chain};

/// What a registry may answer with when it is asked for a manifest.
pub(super) const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A token is a few kilobytes.
const LARGEST_ANSWER: usize = 1 << 20;

/// Logs in where registries ask for it, once for each repository.
#[derive(Debug)]
pub(super) struct Login {
    /// Follows no redirect: a refresh token in a body would go along.
    client: reqwest::Client,
    known: Mutex<HashMap<Repository, HeaderValue>>,
}

/// A repository of a registry, as a URL of one of its blobs or manifests names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Repository {
    origin: String,
    host: String,
    name: String,
    is_secure: bool,
}

impl Repository {
    /// The repository that `url` leads into; none if it is no URL of a registry's.
    pub(super) fn of(url: &Url) -> Option<Self> {
        let path = url.path().strip_prefix("/v2/")?;
        let (rest, digest) = path.rsplit_once('/')?;
        let name = rest.strip_suffix("/blobs").or_else(|| rest.strip_suffix("/manifests"))?;
        let host = url.host_str()?;
        digest.starts_with("sha256:").then(|| Self {
            origin: url.origin().ascii_serialization(),
            host: url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
            name: name.to_owned(),
            is_secure: url.scheme() == "https",
        })
    }

    /// The key of Docker's configuration; Docker's own registry has a historical one.
    fn key(&self) -> &str {
        if self.host == "registry-1.docker.io" { "https://index.docker.io/v1/" } else { &self.host }
    }
}

impl Login {
    /// `tls` with this run's certificates.
    pub(super) fn new(tls: rustls::ClientConfig, connect: Duration, stall: Duration) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("flexnode-build/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect)
            .read_timeout(stall)
            .redirect(Policy::none())
            .build()
            .context("set up the HTTP client for registries")?;
        Ok(Self { client, known: Mutex::default() })
    }

    /// What was good for this repository before.
    pub(super) async fn known(&self, repository: &Repository) -> Option<HeaderValue> {
        self.known.lock().await.get(repository).cloned()
    }

    /// Answers the challenge of a refusal; `None` where there is none that could be answered. `refused` is what was sent.
    pub(super) async fn answer(
        &self,
        repository: &Repository,
        refusal: &HeaderMap,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Problem> {
        let mut known = self.known.lock().await;
        // Another download of this repository may have logged in while this one was refused.
        if let Some(fresh) = known.get(repository).filter(|fresh| Some(*fresh) != refused) {
            return Ok(Some(fresh.clone()));
        }
        let headers = refusal.get_all(header::WWW_AUTHENTICATE);
        let headers: Vec<&str> = headers.iter().filter_map(|value| value.to_str().ok()).collect();
        let challenges: Vec<ChallengeRef<'_>> =
            headers.iter().flat_map(|value| ChallengeParser::new(value)).filter_map(Result::ok).collect();
        let of = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme));
        let answer = if let Some(challenge) = of("Bearer") {
            let credential = credential(repository).await?;
            Some(self.token(repository, challenge, credential).await?)
        } else if of("Basic").is_some() {
            match credential(repository).await? {
                Some(DockerCredential::UsernamePassword(user, password)) => Some(basic(&user, &password)?),
                _ => None,
            }
        } else {
            None
        };
        if let Some(answer) = &answer {
            known.insert(repository.clone(), answer.clone());
        }
        Ok(answer)
    }

    async fn token(
        &self,
        repository: &Repository,
        challenge: &ChallengeRef<'_>,
        credential: Option<DockerCredential>,
    ) -> Result<HeaderValue, Problem> {
        let parameter = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value): &(&str, ParamValue<'_>)| value.to_unescaped())
        };
        let refuse = |why: &str| Problem::Refused(format!("its token service {why}"));
        let realm = parameter("realm").and_then(|realm| Url::parse(&realm).ok());
        let realm = realm.filter(|realm| matches!(realm.scheme(), "https" | "http") && realm.has_host());
        let mut realm = realm.ok_or_else(|| refuse("is not named by a URL"))?;
        if repository.is_secure && realm.scheme() != "https" {
            return Err(refuse("is named without https"));
        }
        let scope = format!("repository:{}:pull", repository.name);
        let service = parameter("service").unwrap_or_default();
        let request = match credential {
            Some(DockerCredential::IdentityToken(token)) => {
                let form = [
                    ("grant_type", "refresh_token"),
                    ("service", service.as_str()),
                    ("client_id", "flexnode-build"),
                    ("scope", scope.as_str()),
                    ("refresh_token", token.as_str()),
                ];
                let body = Url::parse_with_params("form:", form).map_err(|_| refuse("cannot be asked"))?;
                let body = body.query().unwrap_or_default().to_owned();
                self.client.post(realm).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
            }
            other => {
                realm.query_pairs_mut().append_pair("service", &service).append_pair("scope", &scope);
                match other {
                    Some(DockerCredential::UsernamePassword(user, password)) => {
                        self.client.get(realm).header(header::AUTHORIZATION, basic(&user, &password)?)
                    }
                    _ => self.client.get(realm),
                }
            }
        };
        let failed = |error: reqwest::Error| Problem::Interrupted(format!("token: {}", chain(&error.without_url())));
        let response = request.send().await.map_err(failed)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(refuse(&format!("says HTTP {}: log in with `docker login`", response.status())));
            }
            status if super::retry::is_passing(status) => return Err(Problem::Busy { status, retry_after: None }),
            status => return Err(refuse(&format!("says HTTP {status}"))),
        }
        // What is wrong with it would be told with a piece of it, which may be the token.
        let token = serde_json::from_slice::<Token>(&limited(response).await.map_err(failed)?).ok();
        let token = token.and_then(|token| token.token.or(token.access_token));
        let token = token.ok_or_else(|| refuse("gives no token"))?;
        secret(&format!("Bearer {token}"))
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

async fn limited(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What `docker login` left for the registry, or a helper of Docker's tells.
async fn credential(repository: &Repository) -> Result<Option<DockerCredential>, Problem> {
    // The crate tells a missing file and a broken one apart only where there is no home either.
    let config = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let config = config.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".docker")));
    if !config.is_some_and(|config| config.join("config.json").exists()) {
        return Ok(None);
    }
    let key = repository.key().to_owned();
    let found = tokio::task::spawn_blocking(move || get_credential(&key)).await.context("ask for a credential")?;
    match found {
        Ok(credential) => Ok(Some(credential)),
        Err(CredentialRetrievalError::ConfigNotFound | CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
        // What a helper prints may be a secret.
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
            Err(Problem::Refused(format!("the credential helper {helper} failed")))
        }
        Err(error) => Err(Problem::Refused(format!("Docker's configuration: {error}"))),
    }
}

fn basic(user: &str, password: &str) -> Result<HeaderValue, Problem> {
    use base64::Engine as _;
    let both = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    secret(&format!("Basic {both}"))
}

/// A header that no log shows.
fn secret(value: &str) -> Result<HeaderValue, Problem> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| Problem::Refused("its token or credential is no text for a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_registrys_blobs_and_manifests_are_logged_in_for() {
        let of = |url: &str| Repository::of(&Url::parse(url).expect("a URL")).map(|found| (found.host, found.name));
        let both = |host: &str, name: &str| Some((host.to_owned(), name.to_owned()));
        assert_eq!(of("https://h.test/v2/a/b/blobs/sha256:12"), both("h.test", "a/b"));
        assert_eq!(of("http://h.test:5000/v2/a/manifests/sha256:12"), both("h.test:5000", "a"));
        for other in ["https://h.test/v2/a/tags/list", "https://h.test/m/r.test/v2/a/blobs/sha256:12", "file:///v2/a"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_credential_is_not_shown() {
        let header = basic("robot", "s3cret").expect("a header");
        assert!(header.is_sensitive());
        assert!(!format!("{header:?}").contains("czNjcmV0"));
    }
}
