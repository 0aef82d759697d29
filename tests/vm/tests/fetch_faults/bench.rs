//! The bench the tests work on: a site, a cache, and the test program itself as another process.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flexnode_build::artifact::{Artifact, Kind, Proof};
use flexnode_build::digest::Digest;
use flexnode_build::failure::{Class, Failure};
use flexnode_build::fetch::{Blob, Cache, Mirror, Options, fetch};
use flexnode_build::progress::Progress;
use flexnode_vm::faults::Server;

/// A site with one file, and an empty cache.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) server: Server,
    pub(crate) body: Vec<u8>,
    pub(crate) options: Options,
    said: Said,
}

/// Where the one file is.
pub(crate) const PATH: &str = "/release/kubelet";

impl Bench {
    /// A file of `size` bytes that nobody could guess, and a client that does not wait long.
    pub(crate) fn new(size: usize) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let server = Server::http(&dir.path().join("site")).expect("a server");
        let bench = Self { body: program(size), server, dir, options: hasty(), said: Said::default() };
        bench.publish(PATH, &bench.body);
        bench
    }

    pub(crate) fn publish(&self, path: &str, body: &[u8]) {
        let file = self.dir.path().join("site").join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
        fs::write(file, body).expect("a file");
    }

    pub(crate) fn cache_dir(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// The one file, with its length pinned.
    pub(crate) fn artifact(&self) -> Artifact {
        artifact(&format!("{}{PATH}", self.server.url()), &self.body)
    }

    /// The same without a pinned length.
    pub(crate) fn unsized_artifact(&self) -> Artifact {
        Artifact { size: None, ..self.artifact() }
    }

    pub(crate) async fn fetch(&self, artifacts: &[Artifact]) -> anyhow::Result<Vec<Blob>> {
        let cache = Cache::open(Some(&self.cache_dir()))?;
        fetch(artifacts, &cache, &self.options, &Progress::plain_to(self.said.clone())).await
    }

    /// Fetches the one file and compares it with what was published.
    pub(crate) async fn fetch_good(&self) -> Blob {
        let blobs = self.fetch(&[self.artifact()]).await.expect("the right bytes");
        assert!(bytes(&blobs[0]) == self.body, "other bytes than published");
        blobs[0].clone()
    }

    /// Fetches what cannot be fetched: the class, the message and the hint.
    pub(crate) async fn fetch_bad(&self, artifacts: &[Artifact]) -> (Class, String, String) {
        let error = self.fetch(artifacts).await.expect_err("a failure");
        let (class, hint) = Failure::describe(&error);
        (class, format!("{error:#}"), hint.unwrap_or_default().to_owned())
    }

    /// Everything that was said on standard error so far.
    pub(crate) fn said(&self) -> String {
        String::from_utf8(self.said.0.lock().expect("no panic").clone()).expect("text")
    }

    /// The `Range` headers of all requests for the one file.
    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        self.server.requests_for(PATH).iter().map(|request| request.header("range").map(str::to_owned)).collect()
    }

    pub(crate) fn entry(&self, sha256: Digest) -> PathBuf {
        let name = sha256.to_string();
        self.cache_dir().join("sha256").join(&name[..2]).join(name)
    }

    pub(crate) fn partial(&self) -> PathBuf {
        self.entry(Digest::of(&self.body)).with_extension("partial")
    }

    /// This test program, about to fetch the one file into the same cache as another process.
    pub(crate) fn child(&self, url: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("a name"));
        command
            .args(["--exact", "bench::fetch_as_a_child", "--ignored", "--nocapture"])
            .env("CHILD_URL", url)
            .env("CHILD_CACHE", self.cache_dir())
            .env("CHILD_SHA256", Digest::of(&self.body).to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command
    }
}

/// The other process.
#[tokio::test]
#[ignore = "it is run by other tests, as a process of its own"]
async fn fetch_as_a_child() {
    let variable = |name: &str| std::env::var(name).expect("set by the parent");
    let cache = Cache::open(Some(Path::new(&variable("CHILD_CACHE")))).expect("a cache");
    let artifact = Artifact {
        size: None,
        sha256: variable("CHILD_SHA256").parse().expect("a digest"),
        ..artifact(&variable("CHILD_URL"), b"")
    };
    let ca_certs = std::env::var_os("CHILD_CA").map(PathBuf::from).into_iter().collect();
    let options = Options { ca_certs, retries: 0, ..hasty() };
    fetch(&[artifact], &cache, &options, &Progress::detect(false)).await.expect("the right bytes");
}

/// An artifact that is `body`.
pub(crate) fn artifact(url: &str, body: &[u8]) -> Artifact {
    Artifact {
        name: "kubelet".to_owned(),
        version: "1.30.4".to_owned(),
        url: url.to_owned(),
        size: Some(body.len() as u64),
        sha256: Digest::of(body),
        license: "Apache-2.0".to_owned(),
        proof: Proof::Pinned { by: Vec::new() },
        purl: None,
        stand_in: false,
        kind: Kind::Binary,
        ownership: Default::default(),
        install: Vec::new(),
    }
}

pub(crate) fn mirror(text: &str) -> Mirror {
    text.parse().expect("a mirror")
}

pub(crate) fn bytes(blob: &Blob) -> Vec<u8> {
    let mut bytes = Vec::new();
    io::copy(&mut blob.content().reader(), &mut bytes).expect("a readable blob");
    bytes
}

/// Bytes that begin like a program and repeat nowhere (xorshift, so every run has the same).
pub(crate) fn program(size: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes = b"\x7fELF\x02\x01\x01\x00".to_vec();
    while bytes.len() < size {
        bytes.extend(next());
    }
    bytes.truncate(size);
    bytes
}

/// A client that does not wait long.
fn hasty() -> Options {
    Options { first_wait: Duration::from_millis(1), longest_wait: Duration::from_millis(50), ..Options::default() }
}

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
