//! Azure CLI as the operator: its token is the secret then.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use flexnode_vm::azure::{ARM_AUDIENCES, contoso};
use rustix::process::Signal;

use crate::bench::Bench;
use crate::processes::{Pause, child, children, send};

/// A machine on which the application is logged in to Azure CLI.
fn logged_in() -> Bench {
    let mut bench = Bench::new();
    let token = bench.site.game.emulator.token(contoso::APP_OBJECT, ARM_AUDIENCES[0]).unwrap();
    let kept = bench.write("az-token", &format!("{token}\n"));
    bench.allowed.push(kept);
    bench.write("az-tenant", contoso::TENANT);
    let az = bench.site.game.programs.join("az");
    fs::write(&az, include_str!("az.sh")).unwrap();
    fs::set_permissions(&az, fs::Permissions::from_mode(0o755)).unwrap();
    let principal = format!("  servicePrincipal:\n    clientId: {}\n    {}\n", contoso::APP, bench.secret_line());
    bench.configure(|config| config.replace(&principal, ""));
    fs::remove_file(bench.path("client-secret")).unwrap();
    bench
}

#[test]
fn its_token_is_in_no_argument_environment_log_or_file() {
    let bench = logged_in();
    let ended = bench.join();
    assert_eq!(ended.code, Some(0), "{} {}", ended.said, ended.journal);
    assert!(ended.trace.calls(&["execve"]).any(|call| call.contains("[\"az\", \"account\", \"get-access-token\"")));
    bench.holds_no_secret();
}

#[test]
fn its_refusal_is_told_in_its_own_words() {
    let bench = logged_in();
    fs::remove_file(bench.path("az-tenant")).unwrap();
    let ended = bench.join();
    assert_eq!(ended.code, Some(77), "{}", ended.said);
    assert!(
        ended.said.contains("Please run 'az login'") && ended.said.contains("hint: `sudo az login`"),
        "{}",
        ended.said
    );
}

#[test]
fn one_that_hangs_does_not_outlive_a_join_that_is_told_to_end() {
    let bench = logged_in();
    let pause = Pause::at(bench.path("az-pause"));
    let run = bench.start(bench.site.join());
    let held = pause.reached();
    let agent = child(run.process.id());
    let running = children(agent);
    send(Signal::TERM, agent);
    // Were it left to itself, strace would wait for it, and this for strace.
    let ended = run.end();
    assert_eq!(ended.code, Some(75), "{}", ended.said);
    assert!(!running.is_empty());
    drop(held);
}
