//! What is new is not seen everywhere at once: in requests, and in time.

use std::time::Duration;

use flexnode_vm::azure::{AKS_SERVER, ARM_AUDIENCES, Clock, Lag, contoso, role};
use reqwest::Method;

use crate::bench::{Bench, assignment_body, assignment_path, cluster_path, machine_path};

const NAME: &str = "11111111-2222-4333-8444-555555555555";

#[test]
fn an_identity_shows_late() {
    let bench = Bench::new(contoso::world().identity_lag(Lag::requests(2)));
    bench.register("edge-1");
    let token = bench.operator();
    let shown = || bench.get(&machine_path("edge-1"), &token).body["identity"]["principalId"].is_string();
    assert_eq!([shown(), shown(), shown()], [false, false, true]);

    let lag = Lag::time(Duration::from_secs(60));
    let bench = Bench::new(contoso::world().identity_lag(lag).clock(Clock::standing()));
    bench.register("edge-1");
    let token = bench.operator();
    let shown = || bench.get(&machine_path("edge-1"), &token).body["identity"]["principalId"].is_string();
    assert!(!shown());
    bench.azure.with_clock(|clock| clock.advance(Duration::from_secs(59)));
    assert!(!shown());
    bench.azure.with_clock(|clock| clock.advance(Duration::from_secs(1)));
    assert!(shown());
}

#[test]
fn the_directory_finds_an_identity_late() {
    let lag = Lag { requests: 1, time: Duration::from_secs(60) };
    let bench = Bench::new(contoso::world().directory_lag(lag).clock(Clock::standing()));
    let body = assignment_body(role::CLUSTER_USER, &bench.register("edge-1"));
    let put = || {
        let answer = bench.put(&assignment_path(NAME), &bench.operator(), &body);
        (answer.status, answer.refusal().1.to_owned())
    };
    let not_found = (400, "PrincipalNotFound".to_owned());
    assert_eq!(put(), not_found);
    assert_eq!(put(), not_found, "the minute is not over");
    bench.azure.with_clock(|clock| clock.advance(Duration::from_secs(60)));
    assert_eq!(put().0, 201);
}

#[test]
fn a_role_grants_late_in_arm_and_in_the_cluster() {
    let bench = Bench::new(contoso::world().role_lag(Lag::requests(2)));
    let machine = bench.register("edge-1");
    let put = |name: &str, role: &str| {
        assert_eq!(bench.put(&assignment_path(name), &bench.operator(), &assignment_body(role, &machine)).status, 201);
    };
    put(NAME, role::CLUSTER_USER);
    let token = bench.azure.token(&machine, ARM_AUDIENCES[0]).unwrap();
    let fetch = || bench.post(&cluster_path("/listClusterUserCredential"), &token).status;
    assert_eq!([fetch(), fetch(), fetch()], [403, 403, 200]);
    assert_eq!(bench.get(&assignment_path(NAME), &bench.operator()).status, 200, "it is listed from the beginning");

    put("22222222-2222-4333-8444-555555555555", role::RBAC_CLUSTER_ADMIN);
    let token = bench.azure.token(&machine, AKS_SERVER).unwrap();
    let nodes = || bench.send(bench.kubernetes(Method::GET, "/api/v1/nodes", &token)).status;
    assert_eq!([nodes(), nodes(), nodes()], [403, 403, 200]);

    let lag = Lag::time(Duration::from_secs(240));
    let bench = Bench::new(contoso::world().role_lag(lag).clock(Clock::standing()));
    let machine = bench.register("edge-1");
    let body = assignment_body(role::CLUSTER_USER, &machine);
    assert_eq!(bench.put(&assignment_path(NAME), &bench.operator(), &body).status, 201);
    let token = bench.azure.token(&machine, ARM_AUDIENCES[0]).unwrap();
    let read = || bench.get(&cluster_path(""), &token).status;
    assert_eq!(read(), 403);
    bench.azure.with_clock(|clock| clock.advance(Duration::from_secs(240)));
    assert_eq!(read(), 200);
}
