//! The program against stand-ins of its neighbours: what it runs, what it refuses, what it leaves behind.
//!
//! The stand-ins are shell scripts first on PATH; Azure is a loopback server with fixed answers. The strict emulator
//! has its own tests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flexnode_firstboot::cloud::Authority;
use flexnode_firstboot::config;
use flexnode_firstboot::host::Host;
use flexnode_firstboot::marker::Marker;

const ID: &str = "0123456789abcdef0123456789abcdef";
const TENANT: &str = "70a036f6-8e4d-4615-bad6-149c02e7720d";
const PRINCIPAL: &str = "0d0c2a5e-9a51-4f2d-8f0a-9b11aabbccdd";
const SUBSCRIPTION: &str = "44654aed-2753-4b88-9142-af7132933b6b";
const CANARY: &str = "canary-of-the-operator";

/// Answers of Azure by the first words of a request; the first that fits counts.
type Answers = Vec<(&'static str, u16, String)>;

struct Lab {
    root: tempfile::TempDir,
    azure: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Lab {
    fn new(answers: Answers) -> Self {
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

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// A stand-in that writes down its arguments and environment, then does `body`.
    fn program(&self, name: &str, body: &str) {
        let path = self.path("bin").join(name);
        let log = format!("echo \"{name} $*\" >>$LAB/log; env >>$LAB/environment\n");
        fs::write(&path, format!("#!/bin/sh\n{log}{body}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    /// azcmagent, registered as `resource_name`; `connect` does `on_connect` and then registers.
    fn azcmagent(&self, resource_name: &str, on_connect: &str) {
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

    fn command(&self) -> Command {
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

    fn run(&self) -> (Option<i32>, String) {
        let output = self.command().output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    }

    fn spawn(&self) -> Child {
        self.command().stderr(Stdio::piped()).spawn().unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn count(&self, of: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|request| request.contains(of)).count()
    }

    fn connect_file(&self) -> PathBuf {
        self.path("run/flexnode/azcmagent-connect.json")
    }
}

fn cluster() -> String {
    format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/edge/providers/Microsoft.ContainerService/managedClusters/edge"
    )
}

/// Serves fixed answers until the test ends; the address and the requests' first lines.
fn serve(answers: Answers) -> (String, Arc<Mutex<Vec<String>>>) {
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
fn azure() -> Answers {
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
fn serve_himds(token: String) -> (Sender<PathBuf>, Receiver<String>) {
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

fn holds_canary(directory: &Path) -> Vec<PathBuf> {
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

#[test]
fn a_connected_machine_is_not_connected_again() {
    let lab = Lab::new(azure());
    lab.azcmagent("Edge-1", "");
    let (code, said) = lab.run();
    assert_eq!(code, Some(77), "{said}");
    assert!(lab.log().contains("azcmagent show -j") && !lab.log().contains("connect --config"), "{}", lab.log());
}

#[test]
fn a_machine_registered_as_another_is_reported_and_left_alone() {
    let lab = Lab::new(azure());
    lab.azcmagent("somebody-else", "");
    let (code, said) = lab.run();
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("somebody-else") && said.contains("hint: ") && said.contains("azcmagent disconnect"),
        "{said}"
    );
    assert!(!lab.log().contains("connect --config") && !lab.log().contains("azcmagent disconnect"), "{}", lab.log());
    assert_eq!(lab.count("PUT"), 0);
}

#[test]
fn a_denied_assignment_fails_at_once_with_the_line_that_cures_it() {
    let lab = Lab::new(azure());
    let (code, said) = lab.run();
    assert_eq!((code, lab.count("PUT")), (Some(77), 1), "{said}");
    let line = format!("az role assignment create --assignee-object-id {PRINCIPAL} --assignee-principal-type");
    assert!(said.contains("error: ") && said.contains(&line), "{said}");
    let status = Command::new(env!("CARGO_BIN_EXE_flexnode-firstboot"));
    let mut status = status;
    let status = status.args(["status", "--json", "--root"]).arg(lab.root.path()).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(
        (&status["joined"], &status["steps"][0]["phase"], &status["steps"][1]["phase"]),
        (&false.into(), &"done".into(), &"failed".into())
    );
    assert!(status["steps"][1]["hint"].as_str().unwrap().contains(&line));
}

#[test]
fn an_assignment_that_somebody_else_made_is_enough() {
    let mut answers = azure();
    let assigned = format!(
        r#"{{"value":[{{"properties":{{"principalId":"{PRINCIPAL}","scope":"{}","roleDefinitionId":"/x/4abbcc35-e782-43d8-92c5-2d3f1bd2253f"}}}}]}}"#,
        cluster()
    );
    answers.insert(0, ("roleAssignments?", 200, assigned));
    let lab = Lab::new(answers);
    let (_, said) = lab.run();
    assert!(said.contains("assigning roles: done"), "{said}");
}

#[test]
fn the_secret_is_in_one_private_file_for_as_long_as_the_call_takes() {
    let lab = Lab::new(azure());
    let (_, said) = lab.run();
    assert_eq!(fs::read_to_string(lab.path("mode")).unwrap(), "600\n");
    let seen: serde_json::Value = serde_json::from_slice(&fs::read(lab.path("seen.json")).unwrap()).unwrap();
    assert_eq!((&seen["access-token"], &seen["resource-name"]), (&CANARY.into(), &"edge-1".into()));
    fs::remove_file(lab.path("seen.json")).unwrap();
    // The stand-in for Azure CLI has it in its own text.
    fs::remove_file(lab.path("bin/az")).unwrap();
    assert_eq!(holds_canary(lab.root.path()), Vec::<PathBuf>::new(), "logs of arguments and environments are in there");
    assert!(!said.contains(CANARY), "{said}");
}

#[test]
fn an_agent_that_repeats_the_secret_is_not_quoted() {
    let lab = Lab::new(azure());
    lab.azcmagent("", "cat \"$3\" >&2; echo AZCM0044 >&2; exit 44");
    let (code, said) = lab.run();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("(secret)") && !said.contains(CANARY), "{said}");
    assert!(!lab.connect_file().exists());
}

#[test]
fn sigterm_ends_it_cleanly_and_a_crash_is_cleaned_up_after() {
    let lab = Lab::new(azure());
    lab.azcmagent("", "exec sleep 600");
    for (signal, code, left) in [("-TERM", Some(75), false), ("-KILL", None, true)] {
        let child = lab.spawn();
        wait_for(&lab.connect_file());
        wait_for(&lab.path("seen.json"));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), lab.connect_file().exists()), (code, left), "{signal}");
        fs::remove_file(lab.path("seen.json")).unwrap();
    }
    lab.azcmagent("edge-1", "");
    assert_eq!(lab.run().0, Some(77));
    assert!(!lab.connect_file().exists());
}

#[test]
fn without_agent_and_package_it_says_so_and_with_one_installs_it_offline() {
    let lab = Lab::new(azure());
    fs::remove_file(lab.path("bin/azcmagent")).unwrap();
    let (code, said) = lab.run();
    assert_eq!(code, Some(1), "{said}");
    fs::create_dir_all(lab.path("usr/share/flexnode/debs")).unwrap();
    fs::write(lab.path("usr/share/flexnode/debs/azcmagent_1.40_amd64.deb"), "").unwrap();
    lab.program("dpkg", "mv $LAB/bin/.azcmagent $LAB/bin/azcmagent");
    lab.azcmagent("", "");
    fs::rename(lab.path("bin/azcmagent"), lab.path("bin/.azcmagent")).unwrap();
    let (code, said) = lab.run();
    assert_eq!(code, Some(77), "{said}");
    assert!(lab.log().contains("dpkg --install") && lab.log().contains("connect --config"), "{}", lab.log());
    let calls = lab.log().matches("dpkg ").count();
    lab.run();
    assert_eq!(lab.log().matches("dpkg ").count(), calls, "an installed package is not installed again");
}

#[test]
fn other_packages_of_the_bundle_are_installed_with_the_agent_if_dpkg_does_not_have_them() {
    let lab = Lab::new(azure());
    lab.azcmagent("", "");
    let packages = lab.path("usr/share/flexnode/debs");
    fs::create_dir_all(&packages).unwrap();
    for name in ["azcmagent_1.61.deb", "there_2.0.deb", "broken_1.0.deb", "newer_1.9.deb", "newer_1.10-1.deb"] {
        fs::write(packages.join(name), "").unwrap();
    }
    lab.program(
        "dpkg-query",
        "case $3 in there) printf installed ;; broken) printf half-configured ;; *) exit 1 ;; esac",
    );
    lab.program("dpkg", "");
    lab.run();
    let log = lab.log();
    let calls: Vec<&str> = log.lines().filter(|line| line.starts_with("dpkg --install")).collect();
    let at = |name: &str| packages.join(name).display().to_string();
    let expected = format!("dpkg --install --force-confold {} {}", at("broken_1.0.deb"), at("newer_1.10-1.deb"));
    assert_eq!(calls, [expected], "{log}");
}

#[test]
fn two_runs_at_once_do_not_meet() {
    let lab = Lab::new(azure());
    lab.azcmagent("", "exec sleep 600");
    let mut first = lab.spawn();
    wait_for(&lab.path("seen.json"));
    let (code, said) = lab.run();
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("another flexnode-firstboot is at work"), "{said}");
}

/// Waits for a file to appear with something in it.
fn wait_for(path: &Path) {
    let start = Instant::now();
    while !fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0) {
        assert!(start.elapsed() < Duration::from_secs(30), "{} does not appear", path.display());
        std::thread::yield_now();
    }
}

#[test]
fn a_joined_node_is_asked_three_questions_and_nothing_else_happens_to_it() {
    let pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let authority = azure_core::base64::encode(pem);
    let user = format!(
        "clusters: [{{name: edge, cluster: {{server: 'https://edge.example', certificate-authority-data: {authority}}}}}]"
    );
    let credential = format!(r#"{{"kubeconfigs":[{{"value":"{}"}}]}}"#, azure_core::base64::encode(user));
    let token = r#"{"access_token":"machine","expires_on":"4102444800"}"#.to_owned();
    let (himds, asked) = serve_himds(token);
    let lab = Lab::new(vec![("listClusterUserCredential", 200, credential)]);
    lab.azcmagent("edge-1", "");
    fs::write(lab.path("state/active"), "").unwrap();
    fs::write(lab.path("tokens/a.key"), "key").unwrap();
    himds.send(lab.path("tokens/a.key")).unwrap();
    let address = asked.recv().unwrap();

    // What a join leaves behind.
    let host = Host::new(lab.root.path()).unwrap();
    let config = config::load(&lab.path("etc/flexnode/config.yaml"), None).unwrap();
    let machine =
        format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/edge/providers/Microsoft.HybridCompute/machines/edge-1");
    let authority_of_azure = Authority {
        login: "https://login.example".into(),
        audience: "https://arm.example".into(),
        scope: "https://arm.example/.default".into(),
        tenant: None,
    };
    let marker = Marker {
        version: 1,
        machine_id: ID.into(),
        config: config.digest,
        cluster: cluster(),
        machine,
        principal: PRINCIPAL.into(),
        authority: authority_of_azure,
    };
    marker.write_joined(&host).unwrap();
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "edge", "cluster": {
            "server": "https://edge.example",
            "certificate-authority-data": authority,
        }}],
        "users": [{ "name": "machine", "user": { "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": lab.path("var/lib/kubelet/token.sh"),
            "interactiveMode": "Never",
            "provideClusterInfo": false,
        }}}],
        "contexts": [{ "name": "edge", "context": { "cluster": "edge", "user": "machine" }}],
        "current-context": "edge",
    });
    let private = |path: &str, text: &str, mode| {
        fs::create_dir_all(lab.path(path).parent().unwrap()).unwrap();
        fs::write(lab.path(path), text).unwrap();
        fs::set_permissions(lab.path(path), Permissions::from_mode(mode)).unwrap();
    };
    private(&format!("var/lib/flexnode/kubelet-may-run.{ID}"), "", 0o600);
    private("var/lib/kubelet/kubeconfig", &format!("{kubeconfig:#}\n"), 0o600);
    private("etc/kubernetes/pki/ca.crt", pem, 0o644);
    private("etc/flexnode/kubelet.env", "X=1\n", 0o600);

    let run = || {
        let mut command = lab.command();
        command.args(["--himds-endpoint", &address]);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run();
    assert_eq!((code, lab.requests.lock().unwrap().len()), (Some(0), 1), "{said}");
    assert_eq!(asked.try_iter().count(), 2, "the challenge and the token");
    let log = lab.log();
    let changes = log.lines().filter(|line| !line.contains("systemctl is-") && !line.contains("azcmagent show"));
    assert_eq!(changes.count(), 0, "{log}");

    // A new CA is another matter: the file differs, so the steps run (and end at the API server, which is not there).
    private("etc/kubernetes/pki/ca.crt", "another", 0o644);
    let (code, said) = run();
    assert!(code != Some(0) && said.contains("registering with Azure Arc: begins"), "{said}");
}
