//! Logging in to a registry that wants a token, as Docker's and most others do: who gets the credential, and who not.
//!
//! The registry and its token service are stand-ins; `registry` has the real one, whose log-in is the simple kind.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use flexnode_build::artifact::Arch;
use flexnode_build::failure::Failure;
use flexnode_build::fetch::{Cache, Options};
use flexnode_build::image::{Reference, Wanted, pull};
use flexnode_build::progress::Progress;
use serde_json::json;

use super::bench::Bench;
use super::registry::{PASSWORD, USER, docker_config};

/// How a pull ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With so many blobs.
    Pulled(usize),
    /// With this exit code; `said` is all that the process printed.
    Refused { class: u8, said: String },
}

/// Docker's configuration is named by a variable of the environment, and that is a process's.
pub(crate) fn pull_as_a_child(cache: &Path, reference: &Reference, docker_config: &Path) -> Answer {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "login::pull_here", "--ignored", "--nocapture"])
        .env("CHILD_CACHE", cache)
        .env("CHILD_REFERENCE", reference.to_string())
        .env("DOCKER_CONFIG", docker_config)
        .env("RUST_LOG", "trace")
        .env("PATH", format!("{}:/usr/bin:/bin", docker_config.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    let end = |mark: &str| said.split(mark).nth(1).and_then(|rest| rest.split_whitespace().next()).map(str::to_owned);
    match (end("CHILD PULLED "), end("CHILD REFUSED ")) {
        (Some(parts), None) => Answer::Pulled(parts.parse().unwrap()),
        (None, Some(class)) => Answer::Refused { class: class.parse().unwrap(), said },
        _ => panic!("{said}"),
    }
}

#[tokio::test]
#[ignore = "it is run by other tests, as a process of its own"]
async fn pull_here() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let cache = Cache::open(Some(Path::new(&variable("CHILD_CACHE")))).unwrap();
    let reference: Reference = variable("CHILD_REFERENCE").parse().unwrap();
    let wanted = [Wanted { reference: &reference, from: None }];
    let options = Options { retries: 0, ..Options::default() };
    match pull(&wanted, Arch::Amd64, &cache, &options, &Progress::detect(false)).await {
        Ok(images) => println!("CHILD PULLED {} ", images[0].parts.len()),
        Err(error) => println!("CHILD REFUSED {} {error:#}", Failure::describe(&error).0 as u8),
    }
}

/// A request that one of the servers got: its path, what authorized it, its body.
#[derive(Debug, Clone)]
struct Got {
    server: &'static str,
    path: String,
    authorization: Option<String>,
    body: String,
}

#[derive(Clone)]
struct Site {
    name: &'static str,
    layout: std::path::PathBuf,
    /// Where blobs are, if not here.
    store: Option<String>,
    own: String,
    log: Arc<Mutex<Vec<Got>>>,
}

const TOKEN: &str = "token-canary";

async fn serve(site: Site, listener: tokio::net::TcpListener) {
    axum::serve(listener, Router::new().fallback(answer).with_state(site)).await.unwrap();
}

async fn answer(State(site): State<Site>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let authorization = head.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let path = head.uri.to_string();
    let body = String::from_utf8(axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
    let got = Got { server: site.name, path: path.clone(), authorization: authorization.clone(), body };
    site.log.lock().unwrap().push(got);
    if path.starts_with("/token") {
        return json!({"token": TOKEN}).to_string().into_response();
    }
    if site.name == "registry" && authorization.as_deref() != Some(&format!("Bearer {TOKEN}")) {
        let challenge =
            format!(r#"Bearer realm="{}/token",service="lab registry",scope="repository:other:push""#, site.own);
        return (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response();
    }
    match (&site.store, path.contains("/blobs/")) {
        (Some(store), true) => {
            (StatusCode::TEMPORARY_REDIRECT, [("location", format!("{store}{path}"))]).into_response()
        }
        _ => {
            let mut blob = Vec::new();
            let digest = path.rsplit_once("sha256:").unwrap().1;
            let file = std::fs::File::open(site.layout.join("blobs/sha256").join(digest));
            file.unwrap().read_to_end(&mut blob).unwrap();
            blob.into_response()
        }
    }
}

/// A registry whose blobs are on another host; pulls once, and tells all requests and how it ended.
fn pulled_with(config: impl FnOnce(&Path, &str)) -> (Answer, Vec<Got>) {
    let bench = Bench::new();
    let log = Arc::new(Mutex::new(Vec::new()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let bind = || runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let (registry, store) = (bind(), bind());
    let port = registry.local_addr().unwrap().port();
    let site = |name, store| Site {
        name,
        layout: bench.layout(),
        store,
        own: format!("http://127.0.0.1:{port}"),
        log: Arc::clone(&log),
    };
    // Another name for the same machine is another host.
    let elsewhere = format!("http://localhost:{}", store.local_addr().unwrap().port());
    runtime.spawn(serve(site("registry", Some(elsewhere)), registry));
    runtime.spawn(serve(site("store", None), store));

    let host = format!("127.0.0.1:{port}");
    let reference = bench.named(&format!("{host}/edge/image:1"), &bench.manifest("amd64"));
    let docker = bench.dir.path().join("docker");
    config(&docker, &host);
    let answer = pull_as_a_child(&bench.cache(), &reference, &docker);
    let cached = Command::new("grep").args(["-r", "canary"]).arg(bench.cache()).output().unwrap();
    assert!(cached.stdout.is_empty(), "a secret is in the cache");
    let got = log.lock().unwrap().clone();
    (answer, got)
}

#[test]
fn a_password_goes_to_the_token_service_and_a_token_to_the_registry_and_neither_further() {
    let (answer, got) = pulled_with(|dir, host| docker_config(dir, host, PASSWORD));
    assert_eq!(answer, Answer::Pulled(3));
    let tokens: Vec<&Got> = got.iter().filter(|got| got.path.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 2, "one log-in for the manifest, one for all that it names");
    for token in tokens {
        assert_eq!(token.path, "/token?service=lab+registry&scope=repository%3Aedge%2Fimage%3Apull");
        assert!(token.authorization.as_ref().unwrap().starts_with("Basic "));
    }
    let stored: Vec<&Got> = got.iter().filter(|got| got.server == "store").collect();
    assert_eq!(stored.len(), 2, "config and layer come from the other host");
    assert!(stored.iter().all(|got| got.authorization.is_none()), "{stored:?}");
}

#[test]
fn without_a_credential_an_anonymous_token_is_asked_for() {
    let (answer, got) = pulled_with(|_, _| {});
    assert_eq!(answer, Answer::Pulled(3));
    let token = got.iter().find(|got| got.path.starts_with("/token")).unwrap();
    assert_eq!(token.authorization, None);
}

#[test]
fn an_identity_token_is_exchanged_in_a_body_and_not_in_a_url() {
    let (answer, got) = pulled_with(|dir, host| {
        std::fs::create_dir_all(dir).unwrap();
        let auths = json!({"auths": {host: {"auth": "", "identitytoken": "refresh-canary"}}});
        std::fs::write(dir.join("config.json"), auths.to_string()).unwrap();
    });
    assert_eq!(answer, Answer::Pulled(3));
    let token = got.iter().find(|got| got.path.starts_with("/token")).unwrap();
    assert_eq!(token.path, "/token");
    assert!(token.body.contains("grant_type=refresh_token") && token.body.contains("refresh_token=refresh-canary"));
}

#[test]
fn a_helper_of_dockers_is_asked_and_its_words_are_not_repeated() {
    let helper = |dir: &Path, host: &str, script: &str| {
        std::fs::create_dir_all(dir).unwrap();
        let helpers = json!({"credHelpers": {host: "lab"}});
        std::fs::write(dir.join("config.json"), helpers.to_string()).unwrap();
        let program = dir.join("docker-credential-lab");
        let source = dir.join("helper.sh");
        std::fs::write(&source, script).unwrap();
        // Written by another process: this one forks, and a program that somebody holds open for writing does not run.
        let installed = Command::new("install").args(["-m", "755"]).args([&source, &program]).status().unwrap();
        assert!(installed.success());
    };
    let told = format!(
        "#!/bin/sh\ncat >/dev/null\nprintf '{{\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\",\"ServerURL\":\"x\"}}'\n"
    );
    let (answer, got) = pulled_with(|dir, host| helper(dir, host, &told));
    assert_eq!(answer, Answer::Pulled(3));
    assert!(got.iter().any(|got| got.path.starts_with("/token?") && got.authorization.is_some()));
    let broken = "#!/bin/sh\ncat >/dev/null\necho helper-canary\necho helper-canary >&2\nexit 1\n";
    let (answer, _) = pulled_with(|dir, host| helper(dir, host, broken));
    let Answer::Refused { said, .. } = answer else { panic!("{answer:?}") };
    assert!(said.contains("docker-credential-lab failed") && !said.contains("canary"), "{said}");
}
