//! The rendered token.sh against a loopback HIMDS that behaves, misbehaves and attacks.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use flexnode_build::artifact::Arch;
use flexnode_build::overlay::Entry;
use flexnode_build::render::{Facts, Values, render};
use flexnode_build::target::Target;
use serde_json::{Value, json};

const TOKEN: &str = "eyJ0eXAi.eyJvaWQi-_~+/.c2lnbmF0dXJl==";
const KEY: &str = "c2VjcmV0LWtleQ==";

/// A node: its tokens directory, its token.sh, and a curl that logs its arguments and environment first.
struct Node {
    root: tempfile::TempDir,
    tokens: PathBuf,
    script: String,
}

impl Node {
    fn new(endpoint: &str) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let tokens = root.path().join("tokens");
        fs::create_dir(&tokens).expect("a directory");
        let layer = json!({"himds": {
            "endpoint": endpoint,
            "tokensDirectory": tokens,
            "connectTimeoutSeconds": 1,
            "timeoutSeconds": 1,
            "retryDelaySeconds": 0,
        }});
        let script = rendered(&Values::from_layers(&[layer], &[]).expect("good values"));
        let bin = root.path().join("bin");
        fs::create_dir(&bin).expect("a directory");
        let wrapper = format!(
            "#!/bin/sh\n{{ printf '%s\\n' \"$@\"; /usr/bin/env; }} >>'{}'\nexec /usr/bin/curl \"$@\"\n",
            root.path().join("seen").display()
        );
        fs::write(bin.join("curl"), wrapper).expect("a file");
        fs::set_permissions(bin.join("curl"), fs::Permissions::from_mode(0o755)).expect("its mode");
        // The script sets its own PATH, so the environment cannot bring another curl in; the test has to write it there.
        let fixed = "\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n";
        assert!(script.contains(fixed), "token.sh trusts the PATH it is given");
        let script = script.replace(fixed, &format!("\nPATH={}:/usr/sbin:/usr/bin:/sbin:/bin\n", bin.display()));
        Self { root, tokens, script }
    }

    fn key_file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.tokens.join(name);
        fs::write(&path, content).expect("a file");
        path
    }

    /// Runs the script with each shell in turn and holds what must hold whatever happens.
    fn run(&self) -> Output {
        let mut outputs: Vec<Output> = shells().iter().map(|shell| self.run_with(shell)).collect();
        let last = outputs.pop().expect("dash at least");
        for output in outputs {
            assert_eq!(output, last, "every shell does the same");
        }
        last
    }

    fn run_with(&self, shell: &[&str]) -> Output {
        let script = self.root.path().join("token.sh");
        fs::write(&script, &self.script).expect("a file");
        let work = self.root.path().join("work");
        fs::create_dir_all(&work).expect("a directory");
        let output = Command::new(shell[0])
            .args(&shell[1..])
            .arg(&script)
            .current_dir(&work)
            .env_clear()
            // None of these may have a say.
            .envs([
                ("PATH", "/nonexistent"),
                ("TMPDIR", work.to_str().expect("UTF-8")),
                ("http_proxy", "http://127.0.0.1:9"),
                ("all_proxy", "http://127.0.0.1:9"),
                ("IDENTITY_ENDPOINT", "http://127.0.0.1:9"),
                ("HIMDS_ENDPOINT", "http://127.0.0.1:9"),
                ("endpoint", "http://127.0.0.1:9"),
                ("tokens", "/etc"),
                ("key", "from the environment"),
                ("token", "from the environment"),
                ("LC_ALL", "C.UTF-8"),
            ])
            .stdin(Stdio::null())
            .output()
            .expect("a shell");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let seen = fs::read_to_string(self.root.path().join("seen")).unwrap_or_default();
        for secret in [TOKEN, KEY] {
            assert!(!stderr.contains(secret), "stderr shows a secret: {stderr}");
            assert!(!seen.contains(secret), "curl's arguments or environment show a secret");
        }
        assert_eq!(fs::read_dir(&work).expect("a directory").count(), 0, "nothing is left behind");
        if output.status.success() {
            assert_eq!(stderr, "");
        } else {
            assert_eq!(String::from_utf8_lossy(&output.stdout), "", "stdout is empty on failure");
            assert_eq!(stderr.lines().count(), 1, "one line says why: {stderr}");
        }
        output
    }

    /// The exit status and stderr of a run that must fail.
    fn refuses(&self) -> (i32, String) {
        let output = self.run();
        (output.status.code().expect("an exit status"), String::from_utf8(output.stderr).expect("UTF-8"))
    }

    fn prints(&self) -> Value {
        let output = self.run();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    }
}

/// dash, and where they are installed the other shells that are `/bin/sh` somewhere.
fn shells() -> Vec<&'static [&'static str]> {
    let mut shells: Vec<&[&str]> = vec![&["/usr/bin/dash"]];
    for (program, shell) in
        [("/usr/bin/busybox", &["/usr/bin/busybox", "sh"][..]), ("/bin/bash", &["/bin/bash", "--posix"][..])]
    {
        if Path::new(program).exists() {
            shells.push(shell);
        } else {
            eprintln!("SKIPPED: {program} is not installed");
        }
    }
    shells
}

fn rendered(values: &Values) -> String {
    let facts = Facts {
        kubernetes: semver::Version::new(1, 30, 0),
        containerd: semver::Version::new(1, 7, 34),
        arch: Arch::Amd64,
        target: Target::Ubuntu2204,
        pause_image: "registry.k8s.io/pause:3.9".into(),
    };
    let tree = render(&facts, values, None).expect("renders");
    let (_, entry) = tree.iter().find(|(path, _)| path.as_str() == "var/lib/kubelet/token.sh").expect("token.sh");
    let Entry::File(file) = entry else { panic!("token.sh is a file") };
    let mut script = String::new();
    file.content.reader().read_to_string(&mut script).expect("UTF-8");
    script
}

/// A server whose answer to each request is `answer(request)`; an empty answer hangs until the client gives up.
struct Himds {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Himds {
    fn new(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        // The thread ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.expect("a connection"), &answer, &log);
            }
        });
        Self { endpoint, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

fn serve(mut stream: TcpStream, answer: &impl Fn(&str) -> String, log: &Mutex<Vec<String>>) {
    let mut request = String::new();
    let mut byte = [0];
    while !request.ends_with("\r\n\r\n") && stream.read(&mut byte).expect("a request") == 1 {
        request.push(char::from(byte[0]));
    }
    log.lock().expect("not poisoned").push(request.clone());
    let answer = answer(&request);
    if answer.is_empty() {
        // Read until the client hangs up.
        let _ = stream.read(&mut byte);
    }
    // The client may be gone.
    let _ = stream.write_all(answer.as_bytes());
}

fn response(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn challenge(realm: &str) -> String {
    response("401 Unauthorized", &format!("Www-Authenticate: Basic realm={realm}\r\n"), "")
}

fn grant() -> String {
    let body = json!({
        "access_token": TOKEN, "expires_on": "1893456000", "resource": "r", "token_type": "Bearer",
        "note": "a,\"access_token\":\"no\"} ",
    });
    response("200 OK", "Content-Type: application/json\r\n", &body.to_string())
}

/// Challenges with `realm`, which the test fills in once it knows the node, and grants what has the key.
fn himds(granted: impl Fn() -> String + Send + 'static) -> (Himds, Arc<Mutex<String>>) {
    let first = Arc::new(Mutex::new(String::new()));
    let challenges = Arc::clone(&first);
    let server = Himds::new(move |request| {
        if request.contains("\r\nAuthorization: ") {
            granted()
        } else {
            challenges.lock().expect("not poisoned").clone()
        }
    });
    (server, first)
}

fn set(answer: &Mutex<String>, to: String) {
    *answer.lock().expect("not poisoned") = to;
}

/// A node whose HIMDS behaves, with the answer to the second request given.
fn node_granted(granted: impl Fn() -> String + Send + 'static) -> (Node, Himds) {
    let (server, first) = himds(granted);
    let node = Node::new(&server.endpoint);
    let file = node.key_file("6f1d.key", KEY.as_bytes());
    set(&first, challenge(file.to_str().expect("UTF-8")));
    (node, server)
}

#[test]
fn the_challenge_is_answered_and_one_credential_printed() {
    let (node, server) = node_granted(grant);
    assert_eq!(
        node.prints(),
        json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": TOKEN, "expirationTimestamp": "2030-01-01T00:00:00Z"},
        })
    );
    let requests = server.requests();
    assert_eq!(requests.len(), 2 * shells().len());
    for (at, request) in requests.iter().enumerate() {
        let line = "GET /metadata/identity/oauth2/token?api-version=2020-06-01\
                    &resource=6dae42f8-4368-4678-94ff-3960e28e3630 HTTP/1.1\r\n";
        assert!(request.starts_with(line), "{request}");
        assert!(request.contains("\r\nMetadata: true\r\n"), "{request}");
        assert_eq!(request.contains(&format!("\r\nAuthorization: Basic {KEY}\r\n")), at % 2 == 1, "{request}");
    }
}

#[test]
fn a_header_in_any_case_and_a_quoted_realm_are_understood() {
    let (server, first) = himds(grant);
    let node = Node::new(&server.endpoint);
    let file = node.key_file("a.key", format!("{KEY}\n").as_bytes());
    for header in [
        format!("WWW-AUTHENTICATE: BASIC REALM={}", file.display()),
        format!("www-authenticate:basic  realm=\"{}\"", file.display()),
    ] {
        set(&first, response("401 Unauthorized", &format!("X-Other: 1\r\n{header}  \r\n"), ""));
        assert_eq!(node.prints()["status"]["token"], TOKEN, "{header}");
    }
}

#[test]
fn a_token_without_a_challenge_is_refused() {
    let server = Himds::new(|_| grant());
    let (status, why) = Node::new(&server.endpoint).refuses();
    assert_eq!(status, 76);
    assert!(why.contains("without a challenge"), "{why}");
}

#[test]
fn a_challenge_that_points_elsewhere_is_not_followed() {
    let (server, first) = himds(grant);
    let node = Node::new(&server.endpoint);
    let (root, tokens) = (node.root.path().display().to_string(), node.tokens.display().to_string());
    fs::write(node.root.path().join("other.key"), KEY).expect("a file");
    node.key_file("a.txt", KEY.as_bytes());
    node.key_file(".key", KEY.as_bytes());
    node.key_file("odd name.key", KEY.as_bytes());
    node.key_file("large.key", &[b'a'; 4097]);
    node.key_file("empty.key", b"");
    node.key_file("binary.key", b"a\x01b\xffc");
    node.key_file("lines.key", b"a\r\nX-Injected: 1");
    fs::create_dir(node.tokens.join("directory.key")).expect("a directory");
    fs::create_dir(node.tokens.join("sub")).expect("a directory");
    fs::write(node.tokens.join("sub/a.key"), KEY).expect("a file");
    symlink(node.root.path().join("other.key"), node.tokens.join("link.key")).expect("a link");
    for (realm, why) in [
        (format!("{tokens}/a.txt"), "no .key"),
        (format!("{root}/other.key"), "outside"),
        ("/etc/shadow".into(), "outside"),
        ("other.key".into(), "outside"),
        (format!("{tokens}/../other.key"), "outside"),
        (format!("{tokens}/sub/a.key"), "outside"),
        (format!("{tokens}//sub/a.key"), "outside"),
        (format!("{tokens}/.key"), "outside"),
        (format!("{tokens}/odd name.key"), "outside"),
        (format!("{tokens}/$(touch x).key"), "outside"),
        (format!("{tokens}/*.key"), "outside"),
        (format!("{tokens}s/a.key"), "outside"),
        (tokens.clone(), "outside"),
        (format!("{tokens}/link.key"), "a link"),
        (format!("{tokens}/large.key"), "more than 4096 bytes"),
        (format!("{tokens}/empty.key"), "an empty file"),
        (format!("{tokens}/binary.key"), "no text"),
        (format!("{tokens}/lines.key"), "no text"),
        (format!("{tokens}/directory.key"), "no regular file"),
        (format!("{tokens}/gone.key"), "no regular file"),
    ] {
        set(&first, challenge(&realm));
        let (status, said) = node.refuses();
        assert_eq!(status, 77, "{realm}: {said}");
        assert!(said.contains(why), "{realm}: {said}");
    }
    for (header, why) in [
        ("", "names no file"),
        ("Www-Authenticate: Bearer realm=/x.key\r\n", "names no file"),
        ("Www-Authenticate: Basic realm=\r\n", "names no file"),
    ] {
        set(&first, response("401 Unauthorized", header, ""));
        let (status, said) = node.refuses();
        assert_eq!((status, said.contains(why)), (76, true), "{header}: {said}");
    }
    assert!(server.requests().iter().all(|request| !request.contains("Authorization")), "no file was ever sent");
}

#[test]
fn a_tokens_directory_that_is_a_link_is_not_followed() {
    let (server, first) = himds(grant);
    let node = Node::new(&server.endpoint);
    let elsewhere = node.root.path().join("elsewhere");
    fs::rename(&node.tokens, &elsewhere).expect("moved");
    symlink(&elsewhere, &node.tokens).expect("a link");
    let file = node.key_file("a.key", KEY.as_bytes());
    set(&first, challenge(file.to_str().expect("UTF-8")));
    let (status, why) = node.refuses();
    assert_eq!((status, why.contains("is a link")), (77, true), "{why}");
}

#[test]
fn a_key_of_4096_bytes_and_odd_characters_arrives_unchanged() {
    let (server, first) = himds(grant);
    let node = Node::new(&server.endpoint);
    let odd = r#"a"b\c'd $e `f` %g #h"#;
    let key = format!("{odd}{}", "x".repeat(4096 - odd.len()));
    let file = node.key_file("a.key", key.as_bytes());
    set(&first, challenge(file.to_str().expect("UTF-8")));
    node.prints();
    let requests = server.requests();
    assert!(requests[1].contains(&format!("\r\nAuthorization: Basic {key}\r\n")), "{}", requests[1]);
}

#[test]
fn a_busy_endpoint_is_asked_three_times() {
    for busy in ["500 Oops", "503 Later", "429 Slow down", "408 Timeout"] {
        // Twice busy, then well: the counter starts over with each shell.
        let count = Mutex::new(0);
        let (node, _server) = node_granted(move || {
            let mut count = count.lock().expect("not poisoned");
            *count += 1;
            if *count % 3 == 0 { grant() } else { response(busy, "", "busy") }
        });
        assert_eq!(node.prints()["status"]["token"], TOKEN, "{busy}");

        let server = Himds::new(move |_| response(busy, "", "busy"));
        let node = Node::new(&server.endpoint);
        let (status, why) = node.refuses();
        assert_eq!((status, why.contains("three times")), (69, true), "{why}");
        assert_eq!(server.requests().len(), 3 * shells().len(), "{busy}");
    }
}

#[test]
fn what_a_retry_cannot_cure_is_not_retried() {
    for (answer, expected) in
        [("400 Bad", 78), ("404 Not here", 78), ("403 Forbidden", 77), ("301 Moved", 76), ("204 Nothing", 76)]
    {
        let server = Himds::new(move |_| response(answer, "Location: http://127.0.0.1:9/\r\n", ""));
        let (status, why) = Node::new(&server.endpoint).refuses();
        assert_eq!(status, expected, "{answer}: {why}");
        assert_eq!(server.requests().len(), shells().len(), "{answer}: asked once");
    }
    let (node, server) = node_granted(|| response("401 Unauthorized", "", ""));
    assert_eq!(node.refuses().0, 77);
    assert_eq!(server.requests().len(), 2 * shells().len());
}

#[test]
fn an_answer_that_is_no_token_is_refused() {
    for body in [
        "",
        "not json",
        "{}",
        "[]",
        r#"{"access_token":"abc"#,
        r#"{"access_token":"abc"}"#,
        r#"{"expires_on":"1893456000"}"#,
        r#"{"access_token":"","expires_on":"1893456000"}"#,
        r#"{"access_token":null,"expires_on":"1893456000"}"#,
        r#"{"access_token":"a b","expires_on":"1893456000"}"#,
        r#"{"access_token":"a\"b","expires_on":"1893456000"}"#,
        r#"{"access_token":"a\u0022b","expires_on":"1893456000"}"#,
        r#"{"access_token":"a\nb","expires_on":"1893456000"}"#,
        r#"{"access_token":"$(id)","expires_on":"1893456000"}"#,
        r#"{"access_token":"abc","expires_on":"soon"}"#,
        r#"{"access_token":"abc","expires_on":"-1"}"#,
        r#"{"access_token":"abc","expires_on":"99999999999999999999"}"#,
        r#"{"access_token":"abc","expires_on":"010"}"#,
        r#"{"x":"\"access_token\":\"abc\"","expires_on":"1893456000"}"#,
    ] {
        let (node, _server) = node_granted(move || response("200 OK", "", body));
        let (status, why) = node.refuses();
        assert_eq!(status, 76, "{body}: {why}");
    }
}

#[test]
fn a_token_is_found_however_the_json_is_laid_out() {
    for body in [
        "{\r\n  \"expires_on\" : 1893456000,\r\n\t\"access_token\" : \"a.b-c_d\"\r\n}\r\n".to_owned(),
        r#"{"a":{"b":[1,{}]},"access_token":"a.b-c_d","c":"}","expires_on":"1893456000"}"#.to_owned(),
    ] {
        let (node, _server) = node_granted(move || response("200 OK", "", &body));
        assert_eq!(node.prints()["status"]["token"], "a.b-c_d");
    }
    let (node, _server) =
        node_granted(|| response("200 OK", "", r#"{"access_token":"a\/b","expires_on":"1893456000"}"#));
    assert_eq!(node.prints()["status"]["token"], "a/b", "JSON may escape a slash");
}

#[test]
fn the_expiry_is_the_right_date() {
    for (seconds, date) in [
        (951_782_400_i64, "2000-02-29T00:00:00Z"),
        (1_709_251_199, "2024-02-29T23:59:59Z"),
        (1_709_251_200, "2024-03-01T00:00:00Z"),
        (1_798_761_599, "2026-12-31T23:59:59Z"),
        (1_798_761_600, "2027-01-01T00:00:00Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
    ] {
        let body = format!(r#"{{"access_token":"abc","expires_on":"{seconds}"}}"#);
        let (node, _server) = node_granted(move || response("200 OK", "", &body));
        assert_eq!(node.prints()["status"]["expirationTimestamp"], date, "{seconds}");
    }
}

#[test]
fn an_endpoint_that_hangs_or_is_gone_ends_in_time_and_is_named() {
    let server = Himds::new(|_| String::new());
    let (status, why) = Node::new(&server.endpoint).refuses();
    assert_eq!((status, why.contains("in time")), (69, true), "{why}");

    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let (status, why) = Node::new(&format!("http://{gone}")).refuses();
    assert_eq!((status, why.contains(&format!("nothing listens at http://{gone}"))), (69, true), "{why}");

    let server = Himds::new(|_| "garbage\r\n\r\n".into());
    assert_eq!(Node::new(&server.endpoint).refuses().0, 69, "no HTTP at all");
}

#[test]
fn without_curl_it_says_so() {
    let mut node = Node::new("http://127.0.0.1:9");
    let bin = node.root.path().join("empty");
    fs::create_dir(&bin).expect("a directory");
    let path = node.script.lines().find(|line| line.starts_with("PATH=")).expect("it sets its PATH").to_owned();
    node.script = node.script.replace(&path, &format!("PATH={}", bin.display()));
    let (status, why) = node.refuses();
    assert_eq!((status, why.as_str()), (78, "token.sh: curl is not installed\n"));
}

#[test]
fn xtrace_from_outside_shows_no_secret() {
    let (node, _server) = node_granted(grant);
    // What `-x` prints before the script switches it off may not count as an error line: checked by hand here.
    let script = node.root.path().join("traced.sh");
    fs::write(&script, &node.script).expect("a file");
    let output = Command::new("/usr/bin/dash").arg("-x").arg(&script).output().expect("dash");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !stderr.contains(TOKEN) && !stderr.contains(KEY), "{stderr}");
}

#[test]
fn the_script_is_plain_posix_shell() {
    let script = rendered(&Values::default());
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token.sh");
    fs::write(&file, &script).expect("a file");
    let checked = Command::new("/usr/bin/dash").arg("-n").arg(&file).status().expect("dash");
    assert!(checked.success());
    match Command::new("shellcheck")
        .args(["--shell=sh", "--enable=all"])
        .arg("--exclude=SC2250,SC2248,SC2310,SC2312,SC2249")
        .arg(&file)
        .output()
    {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => eprintln!("SKIPPED: shellcheck is not installed ({error}); .ci/run installs it"),
    }
    for builtin in ["jq", "python", "[[ ", "local ", "echo "] {
        assert!(!script.contains(builtin), "{builtin}");
    }
}
