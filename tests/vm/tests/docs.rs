//! What README and docs/ show is true: transcripts are run, commands are parsed, examples are read.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser as _;
use flexnode_build::cli::Cli;
use flexnode_build::spec::Spec;
use flexnode_vm::lab;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every page, with its name.
fn pages() -> Vec<(String, String)> {
    let docs = fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.chain([repository().join("README.md")]).filter(|path| path.extension().is_some_and(|e| e == "md"));
    pages
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The fenced blocks of `language` on a page.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_transcript_is_what_the_program_prints() {
    let page = fs::read_to_string(repository().join("README.md")).unwrap();
    let transcripts = blocks(&page, "console");
    assert_eq!(transcripts.len(), 1);
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(lab::shared().unwrap().dir(), dir.path().join("lab")).unwrap();
    let programs = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    for step in transcripts[0].split("$ ").skip(1) {
        let (command, expected) = step.split_once('\n').unwrap();
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1; {command}")])
            .current_dir(dir.path())
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
            .env("FLEXNODE_CACHE_DIR", dir.path().join("cache"))
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(
            matches(expected, &printed),
            "$ {command}\nREADME.md shows:\n{expected}\nthe program prints:\n{printed}"
        );
    }
}

/// `…` stands for anything, line ends included. Digits and the width of columns may differ: Debian's versions move, and
/// a debug build's sizes are not a release's.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (without_figures(pattern), without_figures(text));
    let mut rest = text.as_str();
    for (n, part) in pattern.split('…').enumerate() {
        match rest.find(part.trim_matches(' ')) {
            Some(at) if n > 0 || at == 0 => rest = &rest[at + part.trim_matches(' ').len()..],
            _ => return false,
        }
    }
    rest.is_empty() || pattern.ends_with('…')
}

fn without_figures(text: &str) -> String {
    let word = |word: &str| {
        let digest = word.len() >= 12 && word.bytes().all(|b| b.is_ascii_hexdigit());
        let parts = word.split(|c: char| c.is_ascii_digit() || c == '.');
        if digest { "#".to_owned() } else { parts.collect::<Vec<_>>().join("#") }
    };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    let mut text = text.lines().map(line).collect::<Vec<_>>().join("\n");
    while text.contains("##") {
        text = text.replace("##", "#");
    }
    text
}

#[test]
fn the_comparison_is_no_blank_cheque() {
    assert!(matches("a…c\n", "abc\n") && matches("…b\n", "ab\n") && matches("runc  1.1.5\n", "runc 1.1.12\n"));
    assert!(!matches("a…c\n", "ab\n") && !matches("abc\n", "abcd\n") && !matches("b…", "ab\n"));
}

#[test]
fn every_command_on_every_page_parses() {
    let mut commands = 0;
    for (name, page) in pages() {
        let lines = ["sh", "yaml"].iter().flat_map(|language| blocks(&page, language)).flat_map(str::lines);
        for line in lines.map(str::trim).filter(|line| line.starts_with("flexnode-build ")) {
            let words =
                line.split(['>', '|']).next().unwrap().split_whitespace().map(|word| word.trim_matches(['"', '\'']));
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{name}: {line}\n{error}");
            }
            commands += 1;
        }
    }
    assert!(commands >= 15, "only {commands} commands were found");
}

#[test]
fn the_spec_example_is_a_spec() {
    let page = fs::read_to_string(repository().join("docs/spec.md")).unwrap();
    let spec = Spec::parse(blocks(&page, "yaml")[0], "docs/spec.md").unwrap();
    assert_eq!(
        spec.request().flags(),
        "--k8s 1.30 --containerd '~2.0' --arch amd64 --target ubuntu-22.04 --image docker.io/library/busybox:1.37@sha256:0000000000000000000000000000000000000000000000000000000000000000 --image registry.example.com/edge/agent:2@sha256:0000000000000000000000000000000000000000000000000000000000000000 --with kube-proxy"
    );
    assert_eq!((spec.components.len(), spec.files.len(), spec.values.len()), (1, 2, 2));
}

#[test]
fn links_between_pages_lead_somewhere() {
    for (name, page) in pages() {
        let base = if name == "README.md" { repository() } else { repository().join("docs") };
        for target in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            let elsewhere = path.is_empty() || path.contains("://");
            assert!(elsewhere || base.join(path).exists(), "{name} links to {target}");
        }
    }
}
