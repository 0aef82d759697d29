//! The API server: pods, as kubelets mirror them.

use flexnode_vm::azure::{ClusterRole, contoso};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bench::{contoso_bench, json_body};

#[test]
fn a_kubelet_mirrors_its_static_pods_and_nothing_else() {
    let bench = contoso_bench();
    bench.azure.bind(&contoso::cluster_id(), contoso::APP_OBJECT, ClusterRole::Node).unwrap();
    let token = bench.azure.token(contoso::APP_OBJECT, flexnode_vm::azure::AKS_SERVER).unwrap();
    let pods = "/api/v1/namespaces/default/pods";
    let create = |body: &Value| bench.send(json_body(bench.kubernetes(Method::POST, pods, &token), body));
    let metadata = json!({"name": "web-edge-1", "annotations": {"kubernetes.io/config.mirror": "00"}});
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-edge-1"}});
    pod["spec"] = json!({"nodeName": "edge-1"});
    assert_eq!(create(&pod).refusal(), (403, "Forbidden"), "no pod of its own");
    (pod["metadata"], pod["spec"]) = (metadata, json!({}));
    assert_eq!(create(&pod).refusal(), (403, "Forbidden"), "nor one that is bound to no node");
    pod["spec"]["nodeName"] = json!("edge-1");
    let created = create(&pod);
    assert_eq!((created.status, &created.body["status"]["phase"]), (201, &json!("Pending")), "{}", created.body);
    assert_eq!(create(&pod).refusal(), (409, "AlreadyExists"));

    let path = format!("{pods}/web-edge-1");
    let patch = |path: &str| {
        let media = "application/strategic-merge-patch+json";
        let change = json!({"status": {"phase": "Running"}, "spec": {"nodeName": "other"}});
        let request = bench.kubernetes(Method::PATCH, path, &token).header("content-type", media);
        bench.send(request.body(change.to_string()))
    };
    assert_eq!(patch(&path).refusal(), (405, "MethodNotAllowed"));
    let patched = patch(&format!("{path}/status")).body;
    assert_eq!((&patched["status"]["phase"], &patched["spec"]["nodeName"]), (&json!("Running"), &json!("edge-1")));
    let get = |path: &str| bench.send(bench.kubernetes(Method::GET, path, &token));
    for list in [pods, "/api/v1/pods"] {
        assert_eq!(get(list).body["items"][0]["metadata"]["namespace"], "default", "{list}");
    }
    assert_eq!(get("/api/v1/namespaces/other/pods").body["items"], json!([]));
    assert_eq!(bench.azure.pods(&contoso::cluster_id()).len(), 1);
    let remove = || bench.send(bench.kubernetes(Method::DELETE, &path, &token)).status;
    assert_eq!([remove(), remove()], [200, 404]);
}
