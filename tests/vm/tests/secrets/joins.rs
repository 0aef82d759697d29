//! Joins that end well, with the secret wherever a config may have it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::bench::{Bench, Ended};

fn joined(bench: &Bench) -> Ended {
    let ended = bench.join();
    assert_eq!(ended.code, Some(0), "{} {}", ended.said, ended.journal);
    bench.holds_no_secret();
    ended
}

#[test]
fn a_secret_in_a_file_stays_there() {
    let bench = Bench::new();
    let ended = joined(&bench);
    assert!(ended.journal.contains("FLEXNODE_EVENT=joined"), "{}", ended.journal);
    assert!(ended.notified.contains("READY=1"), "{}", ended.notified);
    assert!(bench.canaries().files_below(&bench.path("")).contains(&bench.path("client-secret")));
    // The search was about something: programs of the join, tokens, keys.
    let programs: Vec<_> = ended.trace.calls(&["execve"]).filter(|call| call.ends_with("= 0")).collect();
    for program in
        ["azcmagent\", \"connect\", \"--config\"", "systemctl\"", "kubelet\", \"--version\"", "token.sh\"", "curl\""]
    {
        assert!(programs.iter().any(|call| call.contains(program)), "{program} is not among {}", programs.len());
    }
    assert!(bench.site.game.emulator.tokens().len() >= 4 && bench.site.game.himds.secrets().len() >= 3);
    let spilled = ended.trace.calls(&["write"]).filter(|call| call.contains(&bench.core)).count();
    assert_eq!(spilled, 1, "the file for `azcmagent connect` is the one write of the secret");
}

#[test]
fn a_secret_in_the_config_stays_there_also_when_joined_by_hand() {
    let mut bench = Bench::new();
    fs::remove_file(bench.path("client-secret")).unwrap();
    let line = format!("clientSecret: \"{}\"", bench.secret);
    bench.configure(|config| config.replace(&bench.secret_line(), &line));
    bench.allowed.push(bench.site.game.config.clone());
    bench.by_systemd = false;
    let ended = joined(&bench);
    assert!(ended.said.contains("has joined") && ended.journal.is_empty(), "{}", ended.said);
}

#[test]
fn a_systemd_credential_stays_where_systemd_put_it() {
    let mut bench = Bench::new();
    fs::remove_file(bench.path("client-secret")).unwrap();
    let credential = bench.write("credentials/operator", &bench.secret);
    fs::set_permissions(&credential, fs::Permissions::from_mode(0o400)).unwrap();
    bench.configure(|config| config.replace(&bench.secret_line(), "clientSecretCredential: operator"));
    bench.allowed.push(credential);
    let mut command = bench.site.join();
    command.env("CREDENTIALS_DIRECTORY", bench.path("credentials"));
    let ended = bench.start(command).end();
    assert_eq!(ended.code, Some(0), "{} {}", ended.said, ended.journal);
    bench.holds_no_secret();
}

#[test]
fn a_secret_that_is_to_be_removed_is_nowhere_after_the_join() {
    let mut bench = Bench::new();
    let line = format!("{}\n    removeSecretAfterJoin: true", bench.secret_line());
    bench.configure(|config| config.replace(&bench.secret_line(), &line));
    bench.allowed.clear();
    joined(&bench);
    assert!(!bench.path("client-secret").exists());
}

#[test]
fn a_joined_machine_that_runs_again_shows_no_more() {
    let bench = Bench::new();
    joined(&bench);
    let again = joined(&bench);
    assert!(again.journal.contains("FLEXNODE_EVENT=settled"), "{}", again.journal);
}
