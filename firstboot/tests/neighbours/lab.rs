//! The machine, its stand-ins, and an Azure of fixed answers.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(super) const ID: &str = "0123456789abcdef0123456789abcdef";
pub(super) const TENANT: &str = "70a036f6-8e4d-4615-bad6-149c02e7720d";
pub(super) const PRINCIPAL: &str = "0d0c2a5e-9a51-4f2d-8f0a-9b11aabbccdd";
pub(super) const SUBSCRIPTION: &str = "44654aed-2753-4b88-9142-af7132933b6b";
pub(super) const CANARY: &str = "canary-of-the-operator";

/// Answers of Azure by the first words of a request; the first that fits counts.
pub(super) type Answers = Vec<(&'static str, u16, String)>;

pub(super) struct Lab {
    pub(super) root: tempfile::TempDir,
    pub(super) azure: String,
    pub(super) requests: Arc<Mutex<Vec<String>>>,
}

impl Lab {
    pub(super) fn new(answers: Answers) -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in ["etc/flexnode", "var/lib/flexnode", "var/lib/kubelet", "bin", "tokens", "state"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        fs::write(root.path().join("etc/hostname"), "edge-1").unwrap();
        fs::write(root.path().join("etc/machine-id"), ID).unwrap();
        let (azure, requests) = serve(answers);
        let lab = Self { root, azure, requests };
        // Azure CLI needs no Entra ID, which would need TLS. Its token is the canary.
        let token = format!(r#"{{"accessToken":"{CANARY}","expires_on":4102444800,"tokenType":"Bearer"}}"#);
        lab.program("az", &format!("echo '{token}'"));
        lab.program("kubelet", "echo Kubernetes v1.30.0");
        lab.program("journalctl", "");
        lab.program("systemctl", "case $1 in is-*) test -e $LAB/state/active;; esac");
        lab.azcmagent("", "");
        let config = format!(
            "azure: {{tenantId: {TENANT}, resourceManagerEndpoint: '{}', targetCluster: {{resourceId: {}}}}}",
            lab.azure,
            cluster()
        );
        fs::write(lab.path("etc/flexnode/config.yaml"), config).unwrap();
        lab
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// A stand-in that writes down its arguments and environment, then does `body`.
    pub(super) fn program(&self, name: &str, body: &str) {
        let path = self.path("bin").join(name);
        let log = format!("echo \"{name} $*\" >>$LAB/log; env >>$LAB/environment\n");
        fs::write(&path, format!("#!/bin/sh\n{log}{body}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    /// azcmagent, registered as `resource_name`; `connect` does `on_connect` and then registers.
    pub(super) fn azcmagent(&self, resource_name: &str, on_connect: &str) {
        fs::write(self.path("state/name"), resource_name).unwrap();
        let show = format!(
            r#"name=$(cat $LAB/state/name); status=Connected; test -n "$name" || status=Disconnected
            echo "{{\"status\":\"$status\",\"resourceName\":\"$name\",\"resourceGroup\":\"edge\",\"subscriptionId\":\"{SUBSCRIPTION}\",\"tenantId\":\"{TENANT}\"}}""#
        );
        let connect = format!(
            "stat -c %a \"$3\" >$LAB/mode; cp \"$3\" $LAB/seen.json; {on_connect}\nprintf edge-1 >$LAB/state/name"
        );
        self.program("azcmagent", &format!("case $1 in show) {show};; connect) {connect};; esac"));
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flexnode-firstboot"));
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        command
            .env("PATH", path)
            .env("LAB", self.root.path())
            .args(["--retry-scale", "0.001"])
            .arg("--himds-tokens")
            .arg(self.path("tokens"))
            .arg("--root")
            .arg(self.root.path());
        command
    }

    pub(super) fn run(&self) -> (Option<i32>, String) {
        let output = self.command().output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    }

    pub(super) fn spawn(&self) -> Child {
        self.command().stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(super) fn count(&self, of: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|request| request.contains(of)).count()
    }

    pub(super) fn connect_file(&self) -> PathBuf {
        self.path("run/flexnode/azcmagent-connect.json")
    }
}

pub(super) fn cluster() -> String {
    format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/edge/providers/Microsoft.ContainerService/managedClusters/edge"
    )
}

/// Serves fixed answers until the test ends; the address and the requests' first lines.
pub(super) fn serve(answers: Answers) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut first, mut length) = (String::new(), 0);
            reader.read_line(&mut first).unwrap();
            let mut header = String::new();
            while reader.read_line(&mut header).unwrap() > 2 {
                if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                header.clear();
            }
            std::io::copy(&mut reader.take(length), &mut std::io::sink()).unwrap();
            let found = answers.iter().find(|(words, ..)| first.contains(words));
            let (status, body) = found.map_or((404, "{}"), |(_, status, body)| (*status, body.as_str()));
            seen.lock().unwrap().push(first.trim().to_owned());
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = (&stream).write_all((head + body).as_bytes());
        }
    });
    (address, requests)
}

/// Azure up to the roles, which are denied: there each of these joins ends.
pub(super) fn azure() -> Answers {
    let denied = r#"{"error":{"code":"AuthorizationFailed","message":"no"}}"#;
    vec![
        (
            "/metadata/endpoints",
            200,
            r#"{"authentication":{"loginEndpoint":"https://login.example","audiences":["https://arm.example"]}}"#
                .into(),
        ),
        (
            "GET /subscriptions/44654aed-2753-4b88-9142-af7132933b6b/resourceGroups/edge/providers/Microsoft.ContainerService/managedClusters/edge?",
            200,
            r#"{"location":"westeurope"}"#.into(),
        ),
        ("Microsoft.HybridCompute/machines", 200, format!(r#"{{"identity":{{"principalId":"{PRINCIPAL}"}}}}"#)),
        ("roleAssignments", 403, denied.into()),
    ]
}

/// HIMDS, whose challenge names the file that is sent; what comes back is its address, then each request.
pub(super) fn serve_himds(token: String) -> (Sender<PathBuf>, Receiver<String>) {
    let (key, named) = channel::<PathBuf>();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let key = named.recv().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        tell.send(format!("http://{}", listener.local_addr().unwrap())).unwrap();
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty());
            let request = lines.collect::<Vec<_>>().join("\n").to_ascii_lowercase();
            let challenge = format!("WWW-Authenticate: Basic realm={}\r\n", key.display());
            let (status, header, body) =
                match (request.contains("metadata: true"), request.contains("authorization: basic key")) {
                    (true, true) => (200, "", token.as_str()),
                    (true, false) => (401, challenge.as_str(), ""),
                    _ => (400, "", ""),
                };
            let head =
                format!("HTTP/1.1 {status} X\r\n{header}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = (&stream).write_all((head + body).as_bytes());
            // The test may be over.
            let _ = tell.send(request);
        }
    });
    (key, told)
}

pub(super) fn holds_canary(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holds_canary(&path));
        } else if String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(CANARY) {
            found.push(path);
        }
    }
    found
}

/// Waits for a file to appear with something in it.
pub(super) fn wait_for(path: &Path) {
    let start = Instant::now();
    while !fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0) {
        assert!(start.elapsed() < Duration::from_secs(30), "{} does not appear", path.display());
        std::thread::yield_now();
    }
}
