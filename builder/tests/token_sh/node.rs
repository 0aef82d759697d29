//! A node with its token.sh.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flexnode_build::artifact::Arch;
use flexnode_build::overlay::Entry;
use flexnode_build::render::{Facts, Values, render};
use flexnode_build::target::Target;
use serde_json::{Value, json};

use crate::{KEY, TOKEN};

/// A node: its tokens directory, its token.sh, and a curl that logs its arguments and environment first.
pub(crate) struct Node {
    pub(crate) root: tempfile::TempDir,
    pub(crate) tokens: PathBuf,
    pub(crate) script: String,
}

impl Node {
    pub(crate) fn new(endpoint: &str) -> Self {
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

    pub(crate) fn key_file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.tokens.join(name);
        fs::write(&path, content).expect("a file");
        path
    }

    /// Runs the script with each shell in turn and holds what must hold whatever happens.
    pub(crate) fn run(&self) -> Output {
        let mut outputs: Vec<Output> = shells().iter().map(|shell| self.run_with(shell)).collect();
        let last = outputs.pop().expect("dash at least");
        for output in outputs {
            assert_eq!(output, last, "every shell does the same");
        }
        last
    }

    pub(crate) fn run_with(&self, shell: &[&str]) -> Output {
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
    pub(crate) fn refuses(&self) -> (i32, String) {
        let output = self.run();
        (output.status.code().expect("an exit status"), String::from_utf8(output.stderr).expect("UTF-8"))
    }

    pub(crate) fn prints(&self) -> Value {
        let output = self.run();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    }
}

/// dash, and where they are installed the other shells that are `/bin/sh` somewhere.
pub(crate) fn shells() -> Vec<&'static [&'static str]> {
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

pub(crate) fn rendered(values: &Values) -> String {
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
