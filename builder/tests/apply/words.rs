//! The words people read.

use std::fs;

use super::{NEW, OLD, applying, bundle, flexnode_build, installed, on_root, root, scratch};

#[test]
fn help_teaches_each_verb() {
    for verb in ["apply", "verify", "remove"] {
        let help = super::run(&mut flexnode_build(&[verb, "--help"]));
        insta::assert_snapshot!(format!("help_of_{verb}"), help);
    }
}

#[test]
fn the_plan_and_the_mistakes_are_told_in_words() {
    let dir = scratch();
    let (old, newer) = (bundle(dir.path(), "old.tar.zst", OLD), bundle(dir.path(), "new.tar.zst", NEW));
    let here = installed(dir.path(), "node", OLD);
    fs::write(here.join("etc/app/changes.conf"), "mine\n").unwrap();
    let foreign = root(dir.path(), "foreign");
    fs::write(foreign.join("usr/local/bin/runc"), "theirs").unwrap();
    fs::write(foreign.join("usr/local/bin/kubelet"), "theirs").unwrap();
    let mut dry = applying(&newer, &here);
    dry.arg("--dry-run");
    let mut said = String::new();
    for mut command in [
        dry,
        applying(&newer, &here),
        applying(&newer, &here),
        on_root("verify", &here),
        applying(&old, &foreign),
        flexnode_build(&["apply", "/dev/null", "--root", "/"]),
        flexnode_build(&["apply", "bundle.tar.zst"]),
        flexnode_build(&["verify"]),
        flexnode_build(&["verify", "bundle.tar.zst", "--root", "/"]),
    ] {
        let output = command.output().unwrap();
        let args: Vec<_> = command.get_args().map(|arg| arg.to_str().unwrap()).collect();
        let text = [output.stdout, output.stderr].concat();
        let (code, text) = (output.status.code().unwrap(), String::from_utf8(text).unwrap());
        said += &format!("$ flexnode-build {}\n{code}\n{text}\n", args.join(" "));
    }
    insta::assert_snapshot!(said.replace(dir.path().to_str().unwrap(), "[dir]"));
}
