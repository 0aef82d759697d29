//! What the operator may not do, or is not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use flexnode_vm::azure::{ARM_AUDIENCES, App, Operation, contoso, role};

use crate::bench::{Bench, ends_with, onboarder};
use crate::hint::{self, follow};

#[test]
fn an_operator_who_may_not_assign_roles_is_told_the_line_that_does() {
    let bench = Bench::new(contoso::world().app(onboarder()));
    let said = bench.ends_with(77);
    let line = format!(
        "az role assignment create --assignee-object-id {} --assignee-principal-type ServicePrincipal --role \"Azure \
         Kubernetes Service Cluster User Role\" --scope \"{}\"",
        bench.principal(),
        contoso::cluster_id()
    );
    assert!(said.contains("AuthorizationFailed") && hint::of(&said).ends_with(&line), "{said}");
    assert_eq!((bench.count(Operation::RoleAssignmentWrite), bench.count(Operation::RoleAssignmentRead)), (1, 1));
    assert!(bench.azure().requests().len() <= 10, "{:#?}", bench.azure().requests());

    // The config asks for two roles.
    follow(&bench, &said);
    let said = bench.ends_with(77);
    assert!(said.contains("Azure Kubernetes Service RBAC Cluster Admin"), "{said}");
    follow(&bench, &said);
    bench.joins();
    assert_eq!(bench.azure().assignments(&bench.principal()).len(), 2);
}

#[test]
fn what_somebody_else_has_assigned_needs_no_right_to_assign() {
    let bench = Bench::new(contoso::world().app(onboarder()));
    bench.ends_with(77);
    // A cluster's roles may be given further up.
    bench.azure().grant(&bench.principal(), role::CLUSTER_USER, &contoso::group_id(contoso::GROUP)).unwrap();
    bench.azure().grant(&bench.principal(), role::RBAC_CLUSTER_ADMIN, &contoso::cluster_id()).unwrap();
    bench.joins();
    assert_eq!(bench.azure().assignments(&bench.principal()).len(), 2);
    assert_eq!(bench.restarts(), 0);
}

#[test]
fn an_operator_who_may_not_register_machines_is_told_the_line_that_lets_them() {
    let app = App::new(contoso::APP, contoso::SECRET).object_id(contoso::APP_OBJECT);
    let bench = Bench::new(contoso::world().app(app.grant(role::RBAC_ADMINISTRATOR, &contoso::cluster_id())));
    let said = bench.ends_with(77);
    let line = format!(
        "az role assignment create --assignee {} --role \"Azure Connected Machine Onboarding\" --scope \"{}\"",
        contoso::APP,
        contoso::group_id(contoso::MACHINES)
    );
    assert_eq!(hint::of(&said), line);
    assert!(bench.azure().machines().is_empty() && bench.azure().requests().len() <= 7);
    follow(&bench, &said);
    bench.joins();
}

#[test]
fn an_operator_who_may_not_even_see_the_cluster_is_told_the_line_that_lets_them() {
    let app = App::new(contoso::APP, contoso::SECRET).object_id(contoso::APP_OBJECT);
    let app = app.grant(role::ONBOARDING, &contoso::group_id(contoso::MACHINES));
    let bench = Bench::new(contoso::world().app(app));
    let said = bench.ends_with(77);
    let line = format!(
        "az role assignment create --assignee {} --role \"Role Based Access Control Administrator\" --scope \"{}\"",
        contoso::APP,
        contoso::cluster_id()
    );
    assert_eq!(hint::of(&said), line);
    assert!(bench.azure().machines().is_empty() && bench.azure().requests().len() <= 3);
    follow(&bench, &said);
    bench.joins();
}

#[test]
fn a_wrong_or_expired_secret_is_told_at_once() {
    for (app, code) in
        [(contoso::app("another"), "AADSTS7000215"), (contoso::app(contoso::SECRET).expired(), "AADSTS7000222")]
    {
        let bench = Bench::new(contoso::world().app(app));
        let said = bench.ends_with(77);
        assert!(said.contains(code) && hint::of(&said).contains("`az ad app credential reset --id APPID`"), "{said}");
        assert!(bench.azure().requests().len() <= 2, "{:#?}", bench.azure().requests());
    }
    let bench = Bench::new(contoso::world().app(contoso::app("another")));
    bench.ends_with(77);
    bench.azure().change_secret(contoso::APP, contoso::SECRET);
    bench.joins();
}

/// A machine whose operator is the account of Azure CLI; `az` does what the script says.
fn with_azure_cli(script: &str) -> Bench {
    let bench = Bench::new(contoso::world());
    let config = fs::read_to_string(&bench.site.game.config).unwrap();
    let (before, rest) = config.split_once("  servicePrincipal:\n").unwrap();
    let (_, after) = rest.split_once("  arc:\n").unwrap();
    fs::write(&bench.site.game.config, format!("{before}  arc:\n{after}")).unwrap();
    let token = bench.azure().token(contoso::APP_OBJECT, ARM_AUDIENCES[0]).unwrap();
    let answer = format!(r#"{{"accessToken":"{token}","expires_on":4102444800,"tokenType":"Bearer"}}"#);
    let az = bench.site.game.programs.join("az");
    fs::write(&az, format!("#!/bin/sh\n{script}\necho '{answer}'\n")).unwrap();
    fs::set_permissions(&az, Permissions::from_mode(0o755)).unwrap();
    bench
}

const NO_NETWORK: &str = "echo \"ERROR: HTTPSConnectionPool(host='login.example', port=443): Max retries exceeded with url: \
                          /x (Caused by NameResolutionError: Temporary failure in name resolution)\" >&2; exit 1";

#[test]
fn azure_cli_that_nobody_has_logged_in_is_told_at_once() {
    let bench = with_azure_cli("echo \"ERROR: Please run 'az login' to setup account.\" >&2; exit 1");
    let said = bench.ends_with(77);
    assert!(said.contains("Please run 'az login'") && hint::of(&said).starts_with("`sudo az login`"), "{said}");
    assert!(bench.azure().requests().len() <= 1, "{:#?}", bench.azure().requests());
}

#[test]
fn azure_cli_without_a_network_is_asked_again() {
    let bench = with_azure_cli(&format!("mkdir \"$0.once\" 2>/dev/null && {{ {NO_NETWORK}; }}"));
    bench.joins();
    let bench = with_azure_cli(&format!("[ -e \"$0.network\" ] || {{ {NO_NETWORK}; }}"));
    let said = ends_with(&mut bench.site.join_at(0.0005), 75);
    assert!(said.contains("Temporary failure in name resolution"), "{said}");
    fs::write(bench.site.game.programs.join("az.network"), "").unwrap();
    bench.joins();
}
