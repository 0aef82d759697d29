//! What is rendered, read by the programs it is for: systemd, containerd 1.6 and 2.x from Debian, a YAML 1.1 reader.
//!
//! A program that cannot be had skips its test with a line that says so; in CI that is a failure.

mod containerd;
mod systemd;
mod yaml;

use std::io::Read as _;
use std::process::{Command, Output};

use flexnode_build::artifact::Arch;
use flexnode_build::overlay::{Entry, OverlayPath};
use flexnode_build::render::{Facts, Values, render};
use flexnode_build::target::Target;

pub(crate) fn tree(minor: u64, containerd: &str, values: &Values) -> Vec<(OverlayPath, Entry)> {
    let facts = Facts {
        kubernetes: semver::Version::new(1, minor, 0),
        containerd: containerd.parse().expect("a version"),
        arch: Arch::Amd64,
        target: Target::Ubuntu2204,
        pause_image: "registry.example/pause:3.9".into(),
    };
    render(&facts, values, None).expect("renders")
}

pub(crate) fn text(tree: &[(OverlayPath, Entry)], path: &str) -> String {
    match tree.iter().find(|(found, _)| found.as_str() == path) {
        Some((_, Entry::File(file))) => {
            let mut text = String::new();
            file.content.reader().read_to_string(&mut text).expect("UTF-8");
            text
        }
        other => panic!("{path}: {other:?}"),
    }
}

/// Says what is left out, and fails in CI, where everything must be there.
pub(crate) fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
    assert!(std::env::var_os("CI").is_none(), "CI must not skip: {why}");
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(stderr(&output)),
        Err(error) => Err(error.to_string()),
    }
}
