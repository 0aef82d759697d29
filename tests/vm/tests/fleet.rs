//! A thousand agents that power on together all join, without a storm and in about the time that ARM's buckets allow.

use std::path::Path;

use flexnode_vm::azure::Throttle;
use flexnode_vm::fleet::Fleet;

#[test]
fn a_thousand_agents_join_a_throttled_azure_without_a_storm() {
    let fleet = Fleet { agents: 1000, throttle: Throttle::arm(), speed: None };
    let report = fleet.report(Path::new(env!("CARGO_BIN_EXE_flexnode-vm")), &|_| {}).unwrap();
    eprintln!("{report}");
    let ended = report.ended();
    assert!(ended.failures.is_empty(), "{report}");
    // A second registration or assignment would be one of these too many.
    assert_eq!([ended.joined, ended.machines, ended.assignments, ended.ready], [1000, 1000, 2000, 1000], "{report}");
    // 28 is what one agent needs alone.
    assert!(report.requests_per_agent() < 100.0, "a storm:\n{report}");
    // By the emulator's clock, which is slower on a slow machine.
    assert!(report.ratio() < 3.0, "they wait in vain:\n{report}");
}

#[test]
fn a_fleet_that_cannot_join_says_so() {
    let closed = flexnode_vm::azure::Bucket::new(0.0, 1e-9);
    let throttle = Throttle { writes: closed, ..Throttle::none() };
    let fleet = Fleet { agents: 2, throttle, speed: Some(1000.0) };
    let report = fleet.report(Path::new(env!("CARGO_BIN_EXE_flexnode-vm")), &|_| {}).unwrap();
    let ended = report.ended();
    assert_eq!([ended.joined, ended.machines, ended.failures.len()], [0, 0, 2], "{report}");
    assert!(ended.failures.iter().all(|failure| failure.contains("SubscriptionRequestsThrottled")), "{report}");
}
