//! ARM: what every request must have, machines, clusters and credentials.

use base64::Engine as _;
use flexnode_vm::azure::{AKS_SERVER, ARM_AUDIENCES, Bucket, Clock, Limits, Throttle, contoso, role};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

use crate::bench::{Bench, cluster_path, contoso_bench, json_body, machine_body, machine_path};

#[test]
fn every_request_needs_an_api_version_that_the_type_has() {
    let bench = contoso_bench();
    let token = bench.operator();
    let cluster = contoso::cluster_id();
    assert_eq!(bench.get(&cluster, &token).refusal(), (400, "MissingApiVersionParameter"));
    let cases = [
        (cluster.clone(), "2024-10-01", "NoRegisteredProviderFound"),
        (cluster, "latest", "InvalidApiVersionParameter"),
        (contoso::machine_id("x"), "2024-09-01", "NoRegisteredProviderFound"),
        (
            format!("{}/providers/Microsoft.Authorization/roleAssignments", contoso::cluster_id()),
            "2015-07-01",
            "NoRegisteredProviderFound",
        ),
    ];
    for (path, version, code) in cases {
        assert_eq!(bench.get(&format!("{path}?api-version={version}"), &token).refusal(), (400, code), "{path}");
    }
}

#[test]
fn only_a_token_of_this_tenant_for_arm_that_still_holds_is_taken() {
    let bench = Bench::new(contoso::world().clock(Clock::standing()));
    let token = bench.operator();
    let refusal = |token: &str| {
        let answer = bench.get(&cluster_path(""), token);
        assert!(answer.status != 401 || answer.header("www-authenticate").starts_with("Bearer authorization_uri="));
        (answer.status, answer.refusal().1.to_owned())
    };
    let refused = |code: &str| (401, code.to_owned());
    assert_eq!(refusal(""), refused("AuthenticationFailed"));
    assert_eq!(refusal("nonsense"), refused("InvalidAuthenticationToken"));
    assert_eq!(refusal(&format!("{token}x")), refused("InvalidAuthenticationToken"));
    let foreign = contoso_bench().operator();
    assert_eq!(refusal(&foreign), refused("InvalidAuthenticationToken"), "signed by another key");
    let kubernetes = bench.azure.token(contoso::APP_OBJECT, AKS_SERVER).unwrap();
    assert_eq!(refusal(&kubernetes), refused("InvalidAuthenticationTokenAudience"));
    let other_audience = bench.azure.token(contoso::APP_OBJECT, ARM_AUDIENCES[1].trim_end_matches('/')).unwrap();
    assert_eq!(refusal(&other_audience).0, 200);
    let tenant = bench.azure.foreign_token(role::OWNER, contoso::APP_OBJECT, ARM_AUDIENCES[0]).unwrap();
    assert_eq!(refusal(&tenant), refused("InvalidAuthenticationTokenTenant"));
    let basic = bench.arm(Method::GET, &cluster_path(""), "").header("authorization", format!("Basic {token}"));
    assert_eq!(bench.send(basic).refusal(), (401, "AuthenticationFailed"));

    assert_eq!(refusal(&token).0, 200);
    bench.azure.with_clock(|clock| clock.advance(Duration::from_secs(3598)));
    assert_eq!(refusal(&token).0, 200);
    bench.azure.with_clock(|clock| clock.advance(Duration::from_secs(1)));
    assert_eq!(refusal(&token), refused("ExpiredAuthenticationToken"));
}

#[test]
fn subscriptions_groups_and_resources_that_are_not_there_are_told_apart() {
    let bench = contoso_bench();
    let token = bench.operator();
    let machine = |subscription: &str, group: &str| {
        let rest = "providers/Microsoft.HybridCompute/machines/x?api-version=2022-12-27";
        bench.get(&format!("/subscriptions/{subscription}/resourceGroups/{group}/{rest}"), &token)
    };
    assert_eq!(machine(role::OWNER, contoso::GROUP).refusal(), (404, "SubscriptionNotFound"));
    assert_eq!(machine("x", contoso::GROUP).refusal(), (400, "InvalidSubscriptionId"));
    assert_eq!(machine(contoso::SUBSCRIPTION, contoso::MACHINES).refusal(), (404, "ResourceNotFound"));
    let unauthorised = machine(contoso::SUBSCRIPTION, "nowhere");
    assert_eq!(unauthorised.refusal(), (403, "AuthorizationFailed"), "who may not look is not told what is there");
    let subscription = format!("/subscriptions/{}", contoso::SUBSCRIPTION);
    bench.azure.grant(contoso::APP_OBJECT, role::READER, &subscription).unwrap();
    assert_eq!(machine(contoso::SUBSCRIPTION, "nowhere").refusal(), (404, "ResourceGroupNotFound"));
    let other = format!("{subscription}/providers/Microsoft.Nothing/things/x?api-version=2022-12-27");
    assert_eq!(bench.get(&other, &token).refusal(), (404, "InvalidResourceType"));
}

#[test]
fn ids_are_taken_in_any_case() {
    let bench = contoso_bench();
    let token = bench.operator();
    let (path, version) = (contoso::cluster_id(), "?Api-Version=2024-09-01");
    let lower = bench.get(&format!("{}{version}", path.to_lowercase()), &token);
    let upper = bench.get(&format!("{}{version}", path.to_uppercase()), &token);
    assert_eq!((lower.status, upper.status), (200, 200));
    assert_eq!((&lower.body["id"], &upper.body["id"]), (&path.as_str().into(), &path.as_str().into()));
}

#[test]
fn answers_carry_ids_and_what_is_left() {
    let bench = Bench::new(contoso::world().throttle(Throttle::arm()));
    let token = bench.operator();
    let request = bench.arm(Method::GET, &cluster_path(""), &token).header("x-ms-correlation-request-id", "mine");
    let answer = bench.send(request);
    assert_eq!(answer.header("x-ms-correlation-request-id"), "mine");
    assert_eq!(answer.header("x-ms-request-id").len(), 36);
    assert_eq!(answer.header("x-ms-ratelimit-remaining-subscription-reads"), "249");
    let answer = bench.put(&machine_path("x"), &token, &machine_body("a"));
    assert_eq!(answer.header("x-ms-ratelimit-remaining-subscription-writes"), "199");
}

#[test]
fn an_empty_bucket_says_when_to_come_back() {
    let throttle = Throttle { reads: Bucket::new(2.0, 0.5), ..Throttle::none() };
    let bench = Bench::new(contoso::world().throttle(throttle).clock(Clock::standing()));
    let token = bench.operator();
    let read = || bench.get(&cluster_path(""), &token);
    assert_eq!([read().status, read().status], [200, 200]);
    let refused = read();
    assert_eq!(refused.refusal(), (429, "SubscriptionRequestsThrottled"));
    assert_eq!(refused.header("retry-after"), "2");
    assert_eq!(refused.header("x-ms-ratelimit-remaining-subscription-reads"), "0");
    assert_eq!(bench.put(&machine_path("x"), &token, &machine_body("a")).status, 201, "writes have their own");
    bench.azure.with_clock(|clock| clock.advance(Duration::from_secs(2)));
    assert_eq!([read().status, read().status], [200, 429]);
}

#[test]
fn a_machine_is_registered_read_and_deleted() {
    let bench = contoso_bench();
    let token = bench.operator();
    let path = machine_path("Edge_1");
    assert_eq!(bench.get(&path, &token).refusal(), (404, "ResourceNotFound"));
    let created = bench.put(&path, &token, &machine_body("a"));
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!((&created.body["location"], &created.body["tags"]["site"]), (&"westeurope".into(), &"hall 4".into()));
    assert_eq!(bench.put(&path, &token, &machine_body("a")).status, 200, "the same again");
    let read = bench.get(&path, &token);
    assert_eq!(read.body["identity"]["type"], "SystemAssigned");
    assert_eq!(read.body["identity"]["principalId"].as_str().unwrap().len(), 36);
    assert_eq!(read.body["identity"]["tenantId"], contoso::TENANT);
    assert_eq!((&read.body["properties"]["status"], &read.body["name"]), (&"Connected".into(), &"Edge_1".into()));
    let delete = || bench.send(bench.arm(Method::DELETE, &path, &token));
    assert_eq!(delete().refusal(), (403, "AuthorizationFailed"), "onboarding does not delete");
    bench.azure.grant(contoso::APP_OBJECT, role::CONTRIBUTOR, &contoso::group_id(contoso::MACHINES)).unwrap();
    assert_eq!([delete().status, delete().status], [200, 204]);
    assert_eq!(bench.get(&path, &token).status, 404);
}

#[test]
fn a_machine_of_the_wrong_shape_is_refused() {
    let bench = Bench::new(contoso::world().limits(Limits { machines: 1, ..Limits::default() }));
    let token = bench.operator();
    let put = |name: &str, body| {
        let answer = bench.put(&machine_path(name), &token, &body);
        (answer.status, answer.refusal().1.to_owned())
    };
    let without = |pointer: &str| {
        let mut body = machine_body("a");
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
        body
    };
    let refused = |status, code: &str| (status, code.to_owned());
    assert_eq!(put("x", without("/location")), refused(400, "LocationRequired"));
    let mars = json!({"location": "mars", "identity": {"type": "SystemAssigned"}});
    assert_eq!(put("x", mars), refused(400, "LocationNotAvailableForResourceType"));
    assert_eq!(put("x", without("/identity")), refused(400, "HCRP400"));
    assert_eq!(put("x", without("/properties/vmId")), refused(400, "HCRP400"));
    assert_eq!(put("x", json!({"locatoin": "westeurope"})), refused(400, "InvalidRequestContent"));
    assert_eq!(put("x", json!({"location": 1})), refused(400, "InvalidRequestContent"));
    assert_eq!(put("x y", machine_body("a")), refused(400, "InvalidResourceName"));
    let plain = bench.arm(Method::PUT, &machine_path("x"), &token).header("content-type", "text/plain").body("{}");
    assert_eq!(bench.send(plain).refusal(), (415, "UnsupportedMediaType"));
    let broken = bench.arm(Method::PUT, &machine_path("x"), &token).header("content-type", "application/json");
    assert_eq!(bench.send(broken.body("{")).refusal(), (400, "InvalidRequestContent"));
    assert!(bench.azure.machines().is_empty());

    assert_eq!(put("x", machine_body("a")).0, 201);
    assert_eq!(put("x", machine_body("b")), refused(409, "HCRP409"));
    let mut moved = machine_body("a");
    moved["location"] = json!("eastus");
    assert_eq!(put("x", moved), refused(409, "InvalidResourceLocation"));
    assert_eq!(put("y", machine_body("c")), refused(409, "ResourceQuotaExceeded"));
    let patched = json_body(bench.arm(Method::PATCH, &machine_path("x"), &token), &json!({}));
    assert_eq!(bench.send(patched).refusal(), (405, "MethodNotAllowed"));
}

#[test]
fn an_action_must_say_that_it_has_no_content() {
    let bench = contoso_bench();
    bench.azure.grant(contoso::APP_OBJECT, role::CLUSTER_USER, &contoso::cluster_id()).unwrap();
    let token = bench.operator();
    let path = cluster_path("/listClusterUserCredential");
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n");
    assert!(bench.raw(&format!("{head}\r\n")).starts_with("HTTP/1.1 411 "));
    assert!(bench.raw(&format!("{head}Content-Length: 0\r\n\r\n")).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_cluster_tells_what_a_node_needs() {
    let bench = contoso_bench();
    let answer = bench.get(&cluster_path(""), &bench.operator());
    let properties = &answer.body["properties"];
    assert_eq!(properties["networkProfile"]["dnsServiceIP"], "10.0.0.10");
    assert_eq!(
        (&properties["kubernetesVersion"], &properties["currentKubernetesVersion"]),
        (&"1.30.0".into(), &"1.30.0".into())
    );
    assert_eq!(
        (&properties["aadProfile"]["managed"], &properties["aadProfile"]["enableAzureRBAC"]),
        (&true.into(), &true.into())
    );
    assert_eq!((&answer.body["location"], &properties["disableLocalAccounts"]), (&"westeurope".into(), &true.into()));
}

#[test]
fn a_role_gates_the_credential_and_nobody_gets_the_admins() {
    let bench = contoso_bench();
    let token = bench.operator();
    let (user, admin) = (cluster_path("/listClusterUserCredential"), cluster_path("/listClusterAdminCredential"));
    assert_eq!(bench.post(&user, &token).refusal(), (403, "AuthorizationFailed"));
    assert_eq!(bench.post(&admin, &token).refusal(), (403, "AuthorizationFailed"));
    for role in [role::CLUSTER_USER, role::CLUSTER_ADMIN] {
        bench.azure.grant(contoso::APP_OBJECT, role, &contoso::cluster_id()).unwrap();
    }
    let answer = bench.post(&user, &token);
    assert_eq!((answer.status, &answer.body["kubeconfigs"][0]["name"]), (200, &"clusterUser".into()));
    let value = answer.body["kubeconfigs"][0]["value"].as_str().unwrap();
    let kubeconfig = base64::engine::general_purpose::STANDARD.decode(value).unwrap();
    let kubeconfig: serde_json::Value = serde_yaml::from_str(std::str::from_utf8(&kubeconfig).unwrap()).unwrap();
    let (server, ca) = bench.azure.api_server(&contoso::cluster_id()).unwrap();
    let cluster = &kubeconfig["clusters"][0]["cluster"];
    assert_eq!(cluster["server"], server);
    let found = cluster["certificate-authority-data"].as_str().unwrap();
    assert_eq!(base64::engine::general_purpose::STANDARD.decode(found).unwrap(), ca.as_bytes());
    assert_eq!(kubeconfig["users"][0]["user"]["exec"]["command"], "kubelogin");

    let refused = bench.post(&admin, &token);
    assert_eq!(refused.refusal(), (400, "BadRequest"));
    assert!(refused.message().contains("set to disable local accounts"));

    assert_eq!(bench.get(&user, &token).refusal(), (405, "MethodNotAllowed"));
    let filled = bench.send(json_body(bench.arm(Method::POST, &user, &token), &json!({})));
    assert_eq!(filled.refusal(), (400, "InvalidRequestContent"));
    assert_eq!(bench.post(&cluster_path("/listClusterNothing"), &token).refusal(), (404, "InvalidResourceType"));
    let missing = cluster_path("").replace("/edge?", "/nowhere?");
    bench.azure.grant(contoso::APP_OBJECT, role::READER, &contoso::group_id(contoso::GROUP)).unwrap();
    assert_eq!(bench.get(&missing, &token).refusal(), (404, "ResourceNotFound"));
}
