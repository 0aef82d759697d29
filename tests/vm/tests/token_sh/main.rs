//! `token.sh` as the builder renders it, against the emulated HIMDS: what it prints, survives, refuses and never shows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod attacks;
mod faults;
mod node;
mod secrets;

use std::path::Path;

use flexnode_vm::azure::AKS_SERVER;

use node::{BUSYBOX, DASH, Node};

#[test]
fn under_dash_and_busybox_it_prints_one_credential_that_the_api_server_takes() {
    let node = Node::joined();
    for shell in [DASH, BUSYBOX] {
        if !Path::new(shell[0]).exists() {
            eprintln!("SKIPPED: {} is not installed; .ci/setup installs it", shell[0]);
            continue;
        }
        let credential = node.runs(shell).credential();
        let machine = &node.site.game.emulator.machines()[0];
        assert_eq!(credential.claims["oid"], machine.principal_id.as_str());
        assert_eq!(credential.claims["aud"], AKS_SERVER);
        assert!(node.api_server_takes(&credential.token), "{shell:?}");
        let other = credential.token.replace(|c: char| c.is_ascii_digit(), "x");
        assert!(!node.api_server_takes(&other), "the API server takes anything");
    }
}
