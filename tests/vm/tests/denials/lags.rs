//! What is new is not known everywhere: waited out, without haste and without harm.

use flexnode_vm::azure::{Lag, Operation, contoso};

use crate::bench::{Bench, ends_with};
use crate::hint;

#[test]
fn an_identity_that_shows_late_is_waited_for() {
    let bench = Bench::new(contoso::world().identity_lag(Lag::requests(3)));
    bench.joins();
    // One by azcmagent, three that meet the lag, one that does not.
    assert_eq!(bench.count(Operation::MachineRead), 5);
    assert_eq!(bench.restarts(), 0);
}

#[test]
fn an_identity_that_the_directory_finds_late_is_waited_for() {
    let bench = Bench::new(contoso::world().directory_lag(Lag::requests(3)));
    bench.joins();
    let writes = bench.azure().requests_for(Operation::RoleAssignmentWrite);
    let codes: Vec<_> = writes.iter().map(|write| write.error.as_deref().unwrap_or_default()).collect();
    assert_eq!(codes, ["PrincipalNotFound", "PrincipalNotFound", "PrincipalNotFound", "", ""]);
    assert_eq!(bench.restarts(), 0);
}

#[test]
fn a_directory_that_never_finds_it_is_left_for_another_time() {
    let bench = Bench::new(contoso::world().directory_lag(Lag::requests(u32::MAX)));
    let said = ends_with(&mut bench.site.join_at(0.0005), 75);
    assert!(said.contains("PrincipalNotFound") && hint::of(&said).contains("nothing to do"), "{said}");
}

#[test]
fn a_role_that_arrives_late_is_waited_for() {
    let bench = Bench::new(contoso::world().role_lag(Lag::requests(3)));
    bench.joins();
    let denied = bench.azure().requests_for(Operation::ClusterUserCredential);
    let statuses: Vec<_> = denied.iter().map(|request| request.status.unwrap()).collect();
    assert_eq!(statuses, [403, 403, 403, 200]);
    assert_eq!((bench.restarts(), bench.count(Operation::RoleAssignmentWrite)), (0, 2));
}

#[test]
fn a_token_from_before_the_role_is_told_by_its_sameness_and_himdsd_restarted_once() {
    let bench = Bench::new(contoso::world());
    bench.joins();
    assert_eq!(bench.restarts(), 0, "a first join has no old token");
    // Somebody takes the roles away; a changed config joins again and assigns them anew, after HIMDS's token.
    bench.azure().revoke_all(&bench.principal());
    bench.change_config("node:\n", "node:\n  maxPods: 60\n");
    bench.joins();
    assert_eq!(bench.restarts(), 1, "{}", bench.site.systemctl_log());
    bench.change_config("maxPods: 60", "maxPods: 61");
    bench.joins();
    assert_eq!(bench.restarts(), 1, "the new token holds");
}

#[test]
fn a_role_that_never_arrives_is_told_after_roles_have_had_their_time() {
    let bench = Bench::new(contoso::world().role_lag(Lag::requests(u32::MAX)));
    let said = ends_with(&mut bench.site.join_at(0.003), 77);
    assert!(hint::of(&said).contains("az role assignment list --scope"), "{said}");
    assert_eq!(bench.restarts(), 1);
}
