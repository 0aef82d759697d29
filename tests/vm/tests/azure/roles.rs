//! Role assignments and definitions.

use flexnode_vm::azure::{Limits, contoso, role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bench::{Bench, assignment_body, assignment_path, cluster_path, contoso_bench, json_body};

const NAME: &str = "11111111-2222-4333-8444-555555555555";
const OTHER: &str = "99999999-2222-4333-8444-555555555555";

fn put(bench: &Bench, name: &str, body: &Value) -> (u16, String) {
    let answer = bench.put(&assignment_path(name), &bench.operator(), body);
    (answer.status, answer.refusal().1.to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn an_assignment_is_made_once_and_never_changed() {
    let bench = contoso_bench();
    let machine = bench.register("edge-1");
    let body = assignment_body(role::CLUSTER_USER, &machine);
    let created = bench.put(&assignment_path(NAME), &bench.operator(), &body);
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(created.body["properties"]["principalId"], machine.as_str());
    assert_eq!(created.body["properties"]["scope"], contoso::cluster_id());
    assert_eq!(put(&bench, NAME, &body).0, 200, "the same again is success");

    let again = bench.put(&assignment_path(OTHER), &bench.operator(), &body);
    assert_eq!(again.refusal(), (409, "RoleAssignmentExists"));
    let end = format!("The ID of the existing role assignment is {}.", NAME.replace('-', ""));
    assert!(again.message().ends_with(&end), "{}", again.message());

    let changed = assignment_body(role::READER, &machine);
    assert_eq!(put(&bench, NAME, &changed), refused(400, "RoleAssignmentUpdateNotPermitted"));
    let changed = assignment_body(role::CLUSTER_USER, contoso::APP_OBJECT);
    assert_eq!(put(&bench, NAME, &changed), refused(400, "RoleAssignmentUpdateNotPermitted"));
    assert_eq!(bench.azure.assignments(&machine).len(), 1);
}

#[test]
fn what_cannot_be_assigned_is_refused() {
    let bench = Bench::new(contoso::world().limits(Limits { role_assignments: 3, ..Limits::default() }));
    let machine = bench.register("edge-1");
    let good = assignment_body(role::CLUSTER_USER, &machine);
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body["properties"][key] = value;
        body
    };
    let definition = good["properties"]["roleDefinitionId"].as_str().unwrap();
    let unknown = definition.replace(role::CLUSTER_USER, OTHER);
    let cases = [
        (NAME, with("principalId", json!(OTHER)), (400, "PrincipalNotFound")),
        (NAME, with("principalId", json!("edge-1")), (400, "InvalidPrincipalId")),
        (NAME, with("principalType", json!("User")), (400, "UnmatchedPrincipalType")),
        (NAME, with("roleDefinitionId", json!(role::CLUSTER_USER)), (400, "InvalidRoleDefinitionId")),
        (NAME, with("roleDefinitionId", json!(unknown)), (404, "RoleDefinitionDoesNotExist")),
        (NAME, with("principalId", Value::Null), (400, "InvalidCreateRoleAssignmentRequest")),
        (NAME, json!({}), (400, "InvalidCreateRoleAssignmentRequest")),
        (NAME, json!({"principalId": machine}), (400, "InvalidRequestContent")),
        (NAME, with("principal", json!("x")), (400, "InvalidRequestContent")),
        ("not-a-guid", good.clone(), (400, "InvalidRoleAssignmentId")),
    ];
    for (name, body, (status, code)) in cases {
        assert_eq!(put(&bench, name, &body), refused(status, code), "{body}");
    }
    assert_eq!(put(&bench, NAME, &good), refused(400, "RoleAssignmentLimitExceeded"), "the operator has three");
    let plain = bench.arm(Method::PUT, &assignment_path(NAME), &bench.operator()).body("{}");
    assert_eq!(bench.send(plain).refusal(), (415, "UnsupportedMediaType"));
    assert!(bench.azure.assignments(&machine).is_empty());
}

#[test]
fn only_who_may_assign_roles_assigns_them() {
    let bench = contoso_bench();
    let machine = bench.register("edge-1");
    bench.azure.revoke_all(contoso::APP_OBJECT);
    bench.azure.grant(contoso::APP_OBJECT, role::CONTRIBUTOR, &contoso::cluster_id()).unwrap();
    let body = assignment_body(role::CLUSTER_USER, &machine);
    let answer = bench.put(&assignment_path(NAME), &bench.operator(), &body);
    assert_eq!(answer.refusal(), (403, "AuthorizationFailed"));
    let message = answer.message();
    assert!(message.contains("'Microsoft.Authorization/roleAssignments/write'"), "{message}");
    assert!(message.contains(contoso::APP_OBJECT) && message.contains("If access was recently granted"), "{message}");
    let reader = bench.azure.token(&machine, flexnode_vm::azure::ARM_AUDIENCES[0]).unwrap();
    assert_eq!(bench.get(&assignment_path(NAME), &reader).refusal(), (403, "AuthorizationFailed"));
}

#[test]
fn assignments_are_listed_read_and_deleted() {
    let bench = contoso_bench();
    let token = bench.operator();
    let machine = bench.register("edge-1");
    let list = |filter: &str| {
        let filter: String = form_urlencoded::byte_serialize(filter.as_bytes()).collect();
        let path = assignment_path("").replace("/?", "?");
        bench.get(&format!("{path}&$filter={filter}"), &token)
    };
    let names = |filter: &str| {
        let found = list(filter).body["value"].as_array().unwrap().clone();
        found.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(put(&bench, NAME, &assignment_body(role::CLUSTER_USER, &machine)).0, 201);
    assert_eq!(names(&format!("principalId eq '{machine}'")), [NAME]);
    assert_eq!(names(&format!("atScope() and assignedTo('{machine}')")), [NAME]);
    assert_eq!(names("").len(), 3, "the operator's own on the cluster and on its group, and the new one");
    assert_eq!(list("roleName eq 'x'").refusal(), (400, "UnsupportedQuery"));

    assert_eq!(bench.get(&assignment_path(NAME), &token).body["name"], NAME);
    assert_eq!(bench.get(&assignment_path(OTHER), &token).refusal(), (404, "RoleAssignmentNotFound"));
    let delete = || bench.send(bench.arm(Method::DELETE, &assignment_path(NAME), &token)).status;
    assert_eq!([delete(), delete()], [200, 204]);
    let posted = json_body(bench.arm(Method::POST, &assignment_path(NAME), &token), &json!({}));
    assert_eq!(bench.send(posted).refusal(), (405, "MethodNotAllowed"));
}

#[test]
fn a_role_is_found_by_its_name() {
    let bench = contoso_bench();
    let token = bench.operator();
    let path = format!("{}/providers/Microsoft.Authorization/roleDefinitions", contoso::cluster_id());
    let get = |rest: &str| bench.get(&format!("{path}{rest}"), &token);
    let found =
        get("?api-version=2022-04-01&$filter=roleName%20eq%20'Azure%20Kubernetes%20Service%20RBAC%20Cluster%20Admin'");
    assert_eq!(found.body["value"].as_array().unwrap().len(), 1);
    assert_eq!(found.body["value"][0]["name"], role::RBAC_CLUSTER_ADMIN);
    let none = get("?api-version=2022-04-01&$filter=roleName%20eq%20'Nobody'");
    assert_eq!((none.status, &none.body["value"]), (200, &json!([])));
    assert!(get("?api-version=2022-04-01").body["value"].as_array().unwrap().len() > 5);
    assert_eq!(get("?api-version=2022-04-01&$filter=x").refusal(), (400, "UnsupportedQuery"));
    let one = get(&format!("/{}?api-version=2022-04-01", role::READER));
    assert_eq!(one.body["properties"]["roleName"], "Reader");
    assert_eq!(get(&format!("/{OTHER}?api-version=2022-04-01")).refusal(), (404, "RoleDefinitionDoesNotExist"));
}

#[test]
fn a_role_reaches_what_is_below_its_scope_and_nothing_beside_it() {
    let bench = contoso_bench();
    let machine = bench.register("edge-1");
    let token = || bench.azure.token(&machine, flexnode_vm::azure::ARM_AUDIENCES[0]).unwrap();
    let read = || bench.get(&cluster_path(""), &token()).status;
    bench.azure.grant(&machine, role::READER, &format!("{}-2", contoso::cluster_id())).unwrap();
    assert_eq!(read(), 403);
    bench.azure.grant(&machine, role::READER, &contoso::group_id(contoso::GROUP).to_uppercase()).unwrap();
    assert_eq!(read(), 200);
    bench.azure.revoke_all(&machine);
    assert_eq!(read(), 403);
}
