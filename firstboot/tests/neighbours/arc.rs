//! The Arc agent: registered once, and the operator's secret in one place for as long as it takes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::lab::{CANARY, Lab, azure, holds_canary, wait_for};

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
