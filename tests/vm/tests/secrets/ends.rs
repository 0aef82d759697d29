//! Joins that end badly: refused, told to end, killed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use flexnode_vm::azure::contoso;
use rustix::process::Signal;

use crate::bench::Bench;
use crate::processes::{FOREVER, child, children, leaves_no_core, send};

#[test]
fn a_wrong_secret_is_not_repeated() {
    let bench = Bench::new();
    bench.site.game.emulator.change_secret(contoso::APP, "another");
    let mut command = bench.site.join();
    // Where TLS libraries that know it would put the keys of every connection.
    command.env("SSLKEYLOGFILE", bench.path("tls-keys"));
    let ended = bench.start(command).end();
    assert_eq!(ended.code, Some(77), "{}", ended.said);
    assert!(ended.said.contains("AADSTS7000215") && ended.journal.contains("FLEXNODE_EXIT=77"), "{}", ended.said);
    bench.holds_no_secret();
    assert!(!bench.path("tls-keys").exists());
}

#[test]
fn an_arc_agent_that_repeats_its_config_is_not_quoted() {
    let bench = Bench::new();
    let program = bench.site.game.programs.join("azcmagent");
    let text = "#!/bin/sh\ncase $1 in\n  show) echo '{\"status\":\"Disconnected\"}' ;;\n  \
                connect) cat \"$3\" >&2; cat \"$3\"; echo AZCM0041: AADSTS7000215 >&2; exit 41 ;;\nesac\n";
    fs::remove_file(&program).unwrap();
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let ended = bench.join();
    assert_eq!(ended.code, Some(77), "{}", ended.said);
    assert!(ended.said.contains("(secret)") && ended.said.contains("AZCM0041"), "{}", ended.said);
    bench.holds_no_secret();
}

#[test]
fn a_join_that_is_told_to_end_takes_its_file_with_it() {
    let bench = Bench::new();
    let held = bench.hold_connect();
    let run = bench.start(bench.site.join());
    held.recv_timeout(FOREVER).unwrap();
    let agent = child(run.process.id());
    let connecting = child(agent);
    let file = bench.site.path("run/flexnode/azcmagent-connect.json");
    assert!(fs::read_to_string(&file).unwrap().contains(&bench.secret), "the moment that this is about");
    for process in [agent, connecting] {
        assert!(leaves_no_core(process));
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap();
        assert!(!environment.is_empty());
        assert_eq!(bench.canaries().found_in(&environment), None);
    }
    send(Signal::TERM, agent);
    // It comes to an end: what the agent ran, which would wait for ever, has been killed.
    let ended = run.end();
    assert_eq!(ended.code, Some(75), "{}", ended.said);
    assert!(!file.exists());
    bench.holds_no_secret();
}

#[test]
fn what_a_killed_join_leaves_is_private_and_goes_with_the_next_run() {
    let bench = Bench::new();
    let held = bench.hold_connect();
    let run = bench.start(bench.site.join());
    held.recv_timeout(FOREVER).unwrap();
    let agent = child(run.process.id());
    // The unit's other processes are killed by systemd.
    let others = children(agent);
    send(Signal::KILL, agent);
    others.into_iter().for_each(|other| send(Signal::KILL, other));
    assert_eq!(run.end().code, None);
    let file = bench.site.path("run/flexnode/azcmagent-connect.json");
    assert_eq!(bench.leaks(), std::slice::from_ref(&file));
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));

    bench.site.game.emulator.behave();
    bench.site.game.emulator.change_secret(contoso::APP, "another");
    assert_eq!(bench.join().code, Some(77));
    assert!(!file.exists(), "also a run that comes to nothing removes it");
    bench.site.game.emulator.change_secret(contoso::APP, &bench.secret);
    let ended = bench.join();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    bench.holds_no_secret();
}
