//! HIMDS: a challenge first, then a token; and what it takes for granted until it is restarted.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use flexnode_vm::azure::{AKS_SERVER, ARM_AUDIENCES, Clock, Operation, contoso, role};

use crate::bench::{ArcMachine, Bench, cluster_path, contoso_bench};

#[test]
fn whoever_can_read_the_file_gets_a_token_once() {
    let bench = contoso_bench();
    let machine = ArcMachine::new(&bench);
    let resource = ARM_AUDIENCES[0];
    let path = machine.challenge(&bench, resource);
    assert_eq!(path.parent().unwrap(), machine.home.path().join("tokens"));
    assert_eq!(path.extension().unwrap(), "key");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o440);
    let key = fs::read_to_string(&path).unwrap();
    let ask = |key: &str| {
        let request = bench.client.get(machine.url(resource)).header("Metadata", "true");
        bench.send(request.header("Authorization", format!("Basic {key}")))
    };
    assert_eq!(ask("wrong").status, 401);
    let granted = ask(&key);
    assert_eq!(granted.status, 200, "{}", granted.body);
    assert!(granted.body["expires_on"].as_str().unwrap().parse::<u64>().unwrap() > 1_700_000_000);
    assert_eq!((&granted.body["resource"], &granted.body["token_type"]), (&resource.into(), &"Bearer".into()));
    assert!(!path.exists(), "the file lives for one challenge");
    assert_eq!(ask(&key).status, 401);
    let recorded = bench.azure.requests_for(Operation::MachineToken);
    assert_eq!(recorded.iter().filter(|request| request.principal.as_deref() == Some(&machine.oid)).count(), 1);
}

#[test]
fn what_is_missing_from_a_request_is_refused() {
    let bench = contoso_bench();
    let machine = ArcMachine::new(&bench);
    let ask = |url: &str, header: &str| {
        let answer = bench.send(bench.client.get(url).header("Metadata", header));
        (answer.status, answer.refusal().1.to_owned())
    };
    let url = machine.url(AKS_SERVER);
    let refused = (400, "invalid_request".to_owned());
    assert_eq!(bench.send(bench.client.get(&url)).refusal(), (400, "invalid_request"));
    assert_eq!(ask(&url, "false"), refused);
    assert_eq!(ask(&url.replace("api-version=2020-06-01&", ""), "true"), refused);
    assert_eq!(ask(&url.replace("2020-06-01", "2018-02-01"), "true"), refused);
    assert_eq!(ask(url.split("&resource").next().unwrap(), "true"), refused);
    assert_eq!(ask(&url.replace("identity/oauth2", "instance"), "true"), (404, "not_found".to_owned()));
    let posted = bench.send(bench.client.post(&url).header("Metadata", "true"));
    assert_eq!(posted.refusal(), (405, "invalid_request"));
    let unknown = machine.answer(&bench, "https://elsewhere.test/");
    assert_eq!(unknown.refusal(), (400, "invalid_resource"));
}

#[test]
fn a_machine_that_is_not_connected_has_no_token() {
    let bench = contoso_bench();
    let machine = ArcMachine::new(&bench);
    assert!(bench.azure.delete_machine(&contoso::machine_id("edge-1")));
    assert_eq!(machine.answer(&bench, AKS_SERVER).refusal(), (500, "server_error"));
    fs::remove_file(machine.home.path().join("state/agentconfig.json")).unwrap();
    assert_eq!(machine.answer(&bench, AKS_SERVER).refusal(), (500, "server_error"));
}

#[test]
fn a_role_granted_after_a_token_is_seen_after_a_restart() {
    let bench = contoso_bench();
    let machine = ArcMachine::new(&bench);
    let read = |token: &str| bench.get(&cluster_path(""), token).status;
    let early = machine.arm_token(&bench);
    assert_eq!(read(&early), 403);
    bench.azure.grant(&machine.oid, role::CLUSTER_USER, &contoso::cluster_id()).unwrap();
    assert_eq!(machine.arm_token(&bench), early, "HIMDS hands out what it has");
    assert_eq!(read(&early), 403);
    let other = machine.kubernetes_token(&bench);
    assert_ne!(other, early, "one token for each resource");

    machine.himds.restart();
    let late = machine.arm_token(&bench);
    assert_ne!(late, early);
    assert_eq!((read(&early), read(&late)), (403, 200));

    // What takes the place of `systemctl restart himdsd`.
    fs::write(machine.home.path().join("state/himdsd"), "second start").unwrap();
    assert_ne!(machine.arm_token(&bench), late);

    let bench = Bench::new(contoso::world().cached_tokens_are_stale(false));
    let machine = ArcMachine::new(&bench);
    let early = machine.arm_token(&bench);
    bench.azure.grant(&machine.oid, role::CLUSTER_USER, &contoso::cluster_id()).unwrap();
    assert_eq!(bench.get(&cluster_path(""), &early).status, 200, "where that is switched off");
}

#[test]
fn a_cached_token_ends_and_an_old_challenge_is_forgotten() {
    let bench = Bench::new(contoso::world().clock(Clock::standing()));
    let machine = ArcMachine::new(&bench);
    let first = machine.arm_token(&bench);
    let forgotten = machine.challenge(&bench, AKS_SERVER);
    bench.azure.with_clock(|clock| clock.advance(Duration::from_secs(86_398)));
    assert_eq!(machine.arm_token(&bench), first);
    assert!(!forgotten.exists());
    bench.azure.with_clock(|clock| clock.advance(Duration::from_secs(1)));
    assert_ne!(machine.arm_token(&bench), first);
}

#[test]
fn a_stopped_one_gives_back_its_port() {
    let bench = contoso_bench();
    let machine = ArcMachine::new(&bench);
    let url = machine.url(AKS_SERVER);
    let port: u16 = machine.himds.url().rsplit(':').next().unwrap().parse().unwrap();
    drop(machine);
    // The port is free as soon as its task has been cancelled; binding it waits for that.
    let home = tempfile::tempdir().unwrap();
    let again = (0..1000).find_map(|_| {
        std::thread::yield_now();
        bench.azure.himds(home.path(), &home.path().join("tokens"), port).ok()
    });
    assert!(again.is_some());
    assert_eq!(bench.send(bench.client.get(url).header("Metadata", "true")).status, 401);
}

#[test]
fn a_himds_in_a_virtual_machine_gets_its_tokens_with_the_vm_id_of_its_machine() {
    let bench = contoso_bench();
    let machine = ArcMachine::new(&bench);
    let registered = bench.azure.machines().remove(0);
    let ask = |id: &str, vm_id: &str, resource: &str| {
        let asked = serde_json::json!({"machine": id, "vmId": vm_id, "resource": resource});
        bench.send(bench.client.post(format!("{}/flexnode-lab-himdsd", bench.azure.entra())).body(asked.to_string()))
    };
    let granted = ask(&registered.id, &registered.vm_id, AKS_SERVER);
    assert_eq!((granted.status, &granted.body["resource"]), (200, &AKS_SERVER.into()));
    let recorded = bench.azure.requests();
    assert_eq!(recorded.last().unwrap().principal.as_deref(), Some(machine.oid.as_str()));
    assert_eq!(ask(&registered.id, "another", AKS_SERVER).refusal(), (500, "server_error"));
    assert_eq!(ask("/subscriptions/none", &registered.vm_id, AKS_SERVER).refusal(), (500, "server_error"));
    assert_eq!(ask(&registered.id, &registered.vm_id, "https://elsewhere.test/").refusal(), (400, "invalid_resource"));
}
