//! The API server: who gets in, what they may do, nodes and leases.

use flexnode_vm::azure::{ARM_AUDIENCES, Cluster, ClusterRole, contoso, role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bench::{Answer, ArcMachine, Bench, contoso_bench, json_body};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

fn review(bench: &Bench, token: &str, attributes: &Value) -> Answer {
    let body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                      "spec": {"resourceAttributes": attributes}});
    bench.send(json_body(bench.kubernetes(Method::POST, REVIEWS, token), &body))
}

fn may(bench: &Bench, token: &str, verb: &str, resource: &str) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let group = if resource == "leases" { "coordination.k8s.io" } else { "" };
    let answer =
        review(bench, token, &json!({"verb": verb, "group": group, "resource": resource, "subresource": subresource}));
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body["status"]["allowed"].as_bool().unwrap()
}

const KUBELET: [(&str, &str); 4] =
    [("create", "nodes"), ("get", "nodes"), ("patch", "nodes/status"), ("update", "leases")];

#[test]
fn a_review_tells_what_an_azure_role_gives() {
    let bench = contoso_bench();
    let machine = ArcMachine::new(&bench);
    bench.azure.grant(&machine.oid, role::CLUSTER_USER, &contoso::cluster_id()).unwrap();
    let token = machine.kubernetes_token(&bench);
    assert!(KUBELET.iter().all(|(verb, what)| !may(&bench, &token, verb, what)), "Cluster User is no node");
    bench.azure.grant(&machine.oid, role::RBAC_READER, &contoso::cluster_id()).unwrap();
    machine.himds.restart();
    let token = machine.kubernetes_token(&bench);
    assert!(may(&bench, &token, "list", "pods") && !may(&bench, &token, "list", "nodes"));
    bench.azure.grant(&machine.oid, role::FLEX_NODE_AGENT, &contoso::cluster_id()).unwrap();
    assert!(!may(&bench, &token, "get", "nodes"), "the token is older than the role");
    machine.himds.restart();
    let token = machine.kubernetes_token(&bench);
    assert!(KUBELET.iter().all(|(verb, what)| may(&bench, &token, verb, what)));
    assert!(!may(&bench, &token, "get", "secrets"));
}

#[test]
fn a_binding_gives_it_without_azure_rbac_and_roles_do_not() {
    let bench = Bench::new(contoso::with_cluster(Cluster::new(contoso::GROUP, contoso::CLUSTER).azure_rbac(false)));
    let machine = ArcMachine::new(&bench);
    bench.azure.grant(&machine.oid, role::RBAC_CLUSTER_ADMIN, &contoso::cluster_id()).unwrap();
    let token = machine.kubernetes_token(&bench);
    assert!(!may(&bench, &token, "get", "nodes"));
    bench.azure.bind(&contoso::cluster_id(), &machine.oid, ClusterRole::View).unwrap();
    assert!(may(&bench, &token, "list", "pods") && !may(&bench, &token, "get", "nodes"));
    bench.azure.bind(&contoso::cluster_id(), &machine.oid, ClusterRole::Node).unwrap();
    assert!(KUBELET.iter().all(|(verb, what)| may(&bench, &token, verb, what)));
    assert!(!may(&bench, &token, "delete", "services"));
    bench.azure.bind(&contoso::cluster_id(), &machine.oid, ClusterRole::ClusterAdmin).unwrap();
    assert!(may(&bench, &token, "delete", "services"));
}

#[test]
fn only_a_token_for_aks_of_this_tenant_is_taken() {
    let bench = contoso_bench();
    let version = |token: &str| {
        let answer = bench.send(bench.kubernetes(Method::GET, "/version", token));
        (answer.status, answer.refusal().1.to_owned())
    };
    let unauthorized = (401, "Unauthorized".to_owned());
    assert_eq!(version(""), unauthorized);
    assert_eq!(version("nonsense"), unauthorized);
    assert_eq!(version(&bench.operator()), unauthorized, "a token for ARM");
    let oid = contoso::APP_OBJECT;
    assert_eq!(version(&contoso_bench().azure.token(oid, flexnode_vm::azure::AKS_SERVER).unwrap()), unauthorized);
    let foreign = bench.azure.foreign_token(role::OWNER, oid, flexnode_vm::azure::AKS_SERVER).unwrap();
    assert_eq!(version(&foreign), unauthorized);
    let token = bench.azure.token(oid, flexnode_vm::azure::AKS_SERVER).unwrap();
    assert_eq!(version(&token).0, 200);
    bench.azure.upgrade(&contoso::cluster_id(), "1.31.4").unwrap();
    let answer = bench.send(bench.kubernetes(Method::GET, "/version", &token));
    assert_eq!((&answer.body["gitVersion"], &answer.body["minor"]), (&"v1.31.4".into(), &"31".into()));
    assert_eq!(bench.get("/version?api-version=2022-12-27", &token).status, 401);
    assert!(bench.azure.token(oid, ARM_AUDIENCES[0]).is_ok());
}

#[test]
fn reviews_of_the_wrong_shape_are_refused() {
    let bench = contoso_bench();
    let token = bench.azure.token(contoso::APP_OBJECT, flexnode_vm::azure::AKS_SERVER).unwrap();
    let post = |body: &Value| bench.send(json_body(bench.kubernetes(Method::POST, REVIEWS, &token), body));
    let mut body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {}});
    assert_eq!(post(&body).refusal(), (422, "Invalid"));
    body["spec"] = json!({"resourceAttributes": {"verb": 1}});
    assert_eq!(post(&body).refusal(), (400, "BadRequest"));
    body["kind"] = json!("SubjectAccessReview");
    assert_eq!(post(&body).refusal(), (400, "BadRequest"));
    let plain = bench.kubernetes(Method::POST, REVIEWS, &token).header("content-type", "text/plain").body("{}");
    assert_eq!(bench.send(plain).refusal(), (415, "UnsupportedMediaType"));
    assert_eq!(bench.send(bench.kubernetes(Method::GET, REVIEWS, &token)).refusal(), (405, "MethodNotAllowed"));
    assert_eq!(bench.send(bench.kubernetes(Method::GET, "/api/v1/secrets", &token)).refusal(), (404, "NotFound"));
    assert_eq!(bench.send(bench.kubernetes(Method::GET, "/apis/apps", &token)).refusal(), (404, "NotFound"));
    let groups = bench.send(bench.kubernetes(Method::GET, "/apis/coordination.k8s.io", &token));
    assert_eq!(groups.body["kind"], "APIGroup");
}

/// The token of somebody who may act as a node.
fn node_token(bench: &Bench) -> String {
    bench.azure.bind(&contoso::cluster_id(), contoso::APP_OBJECT, ClusterRole::Node).unwrap();
    bench.azure.token(contoso::APP_OBJECT, flexnode_vm::azure::AKS_SERVER).unwrap()
}

#[test]
fn a_node_is_created_gets_ready_and_is_seen() {
    let bench = contoso_bench();
    let path = "/api/v1/nodes/edge-1";
    let denied = bench.azure.token(contoso::APP_OBJECT, flexnode_vm::azure::AKS_SERVER).unwrap();
    let refused = bench.send(bench.kubernetes(Method::GET, path, &denied));
    assert_eq!(refused.refusal(), (403, "Forbidden"));
    assert!(refused.message().contains(&format!("User \"{}\" cannot get resource \"nodes\"", contoso::APP_OBJECT)));

    let token = node_token(&bench);
    let get = |path: &str| bench.send(bench.kubernetes(Method::GET, path, &token));
    assert_eq!(get(path).refusal(), (404, "NotFound"));
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge-1", "labels": {"a": "b"}}});
    let create = |body: &Value| bench.send(json_body(bench.kubernetes(Method::POST, "/api/v1/nodes", &token), body));
    let created = create(&node);
    assert_eq!(created.status, 201, "{}", created.body);
    assert!(created.body["metadata"]["uid"].is_string() && created.body["metadata"]["creationTimestamp"].is_string());
    assert_eq!(create(&node).refusal(), (409, "AlreadyExists"));
    assert_eq!(create(&json!({"apiVersion": "v1", "kind": "Pod"})).refusal(), (400, "BadRequest"));
    let named = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "Edge_1"}});
    assert_eq!(create(&named).refusal(), (422, "Invalid"));

    let patch = |path: &str, media: &str, body: &Value| {
        let request = bench.kubernetes(Method::PATCH, path, &token).header("content-type", media);
        bench.send(request.body(body.to_string()))
    };
    let strategic = "application/strategic-merge-patch+json";
    let ready =
        json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}, "spec": {"unschedulable": true}});
    let patched = patch("/api/v1/nodes/edge-1/status", strategic, &ready);
    assert_eq!((patched.status, &patched.body["spec"]), (200, &Value::Null), "a status patch is only that");
    let labels = json!({"metadata": {"labels": {"c": "d"}}, "status": {"conditions": []}});
    let patched = patch(path, "application/merge-patch+json", &labels);
    assert_eq!(patched.body["metadata"]["labels"], json!({"a": "b", "c": "d"}));
    assert_eq!(patched.body["status"]["conditions"][0]["status"], "True");
    assert_eq!(patch(path, "application/json", &labels).refusal(), (415, "UnsupportedMediaType"));
    let stale = json!({"metadata": {"resourceVersion": "1"}});
    assert_eq!(patch(path, strategic, &stale).refusal(), (409, "Conflict"));
    assert_eq!(patch("/api/v1/nodes/nobody", strategic, &ready).refusal(), (404, "NotFound"));

    assert_eq!(get("/api/v1/nodes").body["items"][0]["metadata"]["name"], "edge-1");
    assert_eq!(get("/api/v1/nodes?watch=true").refusal(), (501, "NotImplemented"));
    assert_eq!(get("/api/v1/nodes/edge-1/other").refusal(), (404, "NotFound"));
    assert_eq!(bench.azure.nodes(&contoso::cluster_id()).len(), 1);
    let remove = || bench.send(bench.kubernetes(Method::DELETE, path, &token)).status;
    assert_eq!([remove(), remove()], [200, 404]);
    assert_eq!(bench.send(bench.kubernetes(Method::PUT, path, &token)).refusal(), (405, "MethodNotAllowed"));
}

#[test]
fn a_lease_is_taken_and_renewed() {
    let bench = contoso_bench();
    let token = node_token(&bench);
    let one = format!("{LEASES}/edge-1");
    let get = |path: &str| bench.send(bench.kubernetes(Method::GET, path, &token));
    let send = |method, path: &str, body: &Value| bench.send(json_body(bench.kubernetes(method, path, &token), body));
    let mut lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "edge-1"},
                           "spec": {"holderIdentity": "edge-1"}});
    assert_eq!(get(&one).refusal(), (404, "NotFound"));
    assert_eq!(send(Method::PUT, &one, &lease).refusal(), (404, "NotFound"));
    assert_eq!(send(Method::POST, LEASES, &lease).status, 201);
    assert_eq!(send(Method::POST, LEASES, &lease).refusal(), (409, "AlreadyExists"));
    lease = get(&one).body;
    lease["spec"]["renewTime"] = json!("2026-11-23T18:00:00.000000Z");
    assert_eq!(send(Method::PUT, &one, &lease).status, 200);
    assert_eq!(send(Method::PUT, &one, &lease).refusal(), (409, "Conflict"), "it has changed since");
    assert_eq!(get(&one).body["spec"]["renewTime"], lease["spec"]["renewTime"]);
    lease["metadata"]["name"] = json!("edge-2");
    assert_eq!(send(Method::PUT, &one, &lease).refusal(), (400, "BadRequest"));
    assert_eq!(get(LEASES).refusal(), (403, "Forbidden"), "a node does not list them");
    bench.azure.bind(&contoso::cluster_id(), contoso::APP_OBJECT, ClusterRole::ClusterAdmin).unwrap();
    assert_eq!(get(LEASES).body["items"].as_array().unwrap().len(), 1);
    assert_eq!(send(Method::DELETE, &one, &lease).refusal(), (405, "MethodNotAllowed"));
    assert_eq!(get(&format!("{one}/x")).refusal(), (404, "NotFound"));
}

#[test]
fn a_new_authority_shows_in_certificate_and_kubeconfig() {
    let bench = contoso_bench();
    let (server, before) = bench.azure.api_server(&contoso::cluster_id()).unwrap();
    bench.azure.rotate_cluster_ca(&contoso::cluster_id()).unwrap();
    let (same, after) = bench.azure.api_server(&contoso::cluster_id()).unwrap();
    assert!(server == same && before != after);
    let reach = |ca: &str| {
        let client = flexnode_vm::azure::client::client(ca, std::time::Duration::from_secs(5)).unwrap();
        bench.try_send(client.get(format!("{server}/version"))).map(|answer| answer.status)
    };
    assert!(reach(&before).is_err());
    assert_eq!(reach(&after).unwrap(), 401);
}
