//! A node that has joined, and its `token.sh`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flexnode_vm::azure::{Operation, contoso};
use flexnode_vm::join::Site;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const DASH: &[&str] = &["/usr/bin/dash"];
pub(crate) const BUSYBOX: &[&str] = &["/usr/bin/busybox", "sh"];

pub(crate) struct Node {
    pub(crate) site: Site,
    pub(crate) script: PathBuf,
    /// What is in the files of all challenges so far.
    keys: Arc<Mutex<Vec<String>>>,
    dir: TempDir,
}

/// What the script printed on success.
pub(crate) struct Credential {
    pub(crate) token: String,
    pub(crate) claims: Value,
}

/// How a run of the script ended.
pub(crate) struct Ended(pub(crate) Output);

impl Node {
    pub(crate) fn joined() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let agent = std::env::current_exe().unwrap().with_file_name("../flexnode-firstboot").canonicalize().unwrap();
        let site = Site::open(dir.path(), Path::new(env!("CARGO_BIN_EXE_flexnode-vm")), &agent).unwrap();
        let joined = site.join().output().unwrap();
        assert!(joined.status.success(), "{}", String::from_utf8_lossy(&joined.stderr));

        // Out of the root, which is for root alone.
        let script = dir.path().join("token.sh");
        fs::copy(site.path("var/lib/kubelet/token.sh"), &script).unwrap();

        let keys = Arc::new(Mutex::new(Vec::new()));
        let (tokens, seen) = (site.game.tokens.clone(), Arc::clone(&keys));
        site.game.emulator.observe(move |request| {
            if request.operation == Operation::Challenge {
                // The file has been made, and the answer that names it has not been sent.
                let files = fs::read_dir(&tokens).unwrap().map(|entry| entry.unwrap().path());
                let files = files.filter(|file| file.symlink_metadata().is_ok_and(|metadata| metadata.is_file()));
                let keys = files.filter_map(|file| fs::read_to_string(file).ok()).filter(|key| !key.is_empty());
                seen.lock().unwrap().extend(keys);
            }
        });
        Self { site, script, keys, dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap().clone()
    }

    pub(crate) fn runs(&self, shell: &[&str]) -> Ended {
        self.runs_as(&[shell, &[self.script.to_str().unwrap()]].concat())
    }

    /// Runs a whole command line, and holds what must hold whatever happens.
    pub(crate) fn runs_as(&self, line: &[&str]) -> Ended {
        let mut command = Command::new(line[0]);
        let output = command.args(&line[1..]).env_clear().stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8(output.stderr.clone()).unwrap();
        // Tokens are JWTs, and those begin like this.
        assert!(!stderr.contains("eyJ"), "stderr shows a token: {stderr}");
        for key in self.keys() {
            assert!(!stderr.contains(&key), "stderr shows a key: {stderr}");
        }
        if output.status.success() {
            assert_eq!(stderr, "");
        } else {
            assert!(output.stdout.is_empty(), "stdout on failure: {}", String::from_utf8_lossy(&output.stdout));
            assert_eq!(stderr.lines().count(), 1, "one line says why: {stderr}");
            assert!(stderr.starts_with("token.sh: "), "{stderr}");
        }
        Ended(output)
    }

    /// Whether a request with this token is let in.
    pub(crate) fn api_server_takes(&self, token: &str) -> bool {
        let (server, ca) = self.site.game.emulator.api_server(&contoso::cluster_id()).unwrap();
        let authority = self.dir().join("cluster.pem");
        fs::write(&authority, ca).unwrap();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--config", "-", "--cacert"]);
        curl.arg(authority).arg(format!("{server}/api/v1/nodes")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut curl = curl.spawn().unwrap();
        writeln!(curl.stdin.take().unwrap(), "header = \"Authorization: Bearer {token}\"").unwrap();
        curl.wait_with_output().unwrap().stdout == b"200"
    }
}

impl Ended {
    pub(crate) fn status(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// What it printed: one line, one JSON document, nothing else in it, and the expiry that is in the token.
    pub(crate) fn credential(&self) -> Credential {
        assert!(self.0.status.success(), "{}", self.stderr());
        let text = String::from_utf8(self.0.stdout.clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let printed: Value = serde_json::from_str(&text).unwrap();
        let token = printed["status"]["token"].as_str().unwrap().to_owned();
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        let expires = jiff::Timestamp::from_second(claims["exp"].as_i64().unwrap()).unwrap();
        let expected = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": token, "expirationTimestamp": expires.to_string()},
        });
        assert_eq!(printed, expected);
        Credential { token, claims }
    }
}
