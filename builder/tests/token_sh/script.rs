//! The script itself: what it needs, what it shows.

use std::fs;
use std::process::Command;

use flexnode_build::render::Values;

use crate::himds::{grant, node_granted};
use crate::node::{Node, rendered};
use crate::{KEY, TOKEN};

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
