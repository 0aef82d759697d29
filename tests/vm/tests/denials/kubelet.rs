//! A kubelet that does not fit the cluster, and one whose Node does not get ready.

use std::fs;

use flexnode_vm::azure::{Cluster, Operation, contoso};

use crate::bench::{Bench, ends_with};
use crate::hint;

#[test]
fn a_kubelet_that_is_newer_or_too_old_is_not_started() {
    for (version, words, cure) in
        [("1.29.9", "it must not be newer", "`--k8s 1.29`"), ("1.34.1", "it is too old", "`--k8s 1.34`")]
    {
        let cluster = Cluster::new(contoso::GROUP, contoso::CLUSTER).version(version);
        let bench = Bench::new(contoso::with_cluster(cluster));
        let said = bench.ends_with(78);
        assert!(said.contains(words) && hint::of(&said).contains(cure), "{said}");
        assert!(!bench.site.systemctl_log().contains("kubelet"), "{}", bench.site.systemctl_log());
        assert!(!bench.site.path("var/lib/kubelet/kubeconfig").exists());
        assert_eq!((bench.count(Operation::ServerVersion), bench.count(Operation::AccessReview)), (1, 0));
        bench.azure().upgrade(&contoso::cluster_id(), "1.31.0").unwrap();
        bench.joins();
    }
}

#[test]
fn a_node_that_does_not_get_ready_says_which_condition_and_what_its_kubelet_says() {
    let bench = Bench::new(contoso::world());
    let environment = bench.site.root().with_file_name("kubelet.env");
    let why = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:cni plugin not initialized";
    let ready = format!(r#""type":"Ready","status":"False","reason":"KubeletNotReady","message":"{why}""#);
    fs::write(&environment, format!("READY='{ready}'\n")).unwrap();
    let said = ends_with(&mut bench.site.join_at(0.01), 75);
    let condition = format!("the Node edge-node-01 is not ready: Ready is False (KubeletNotReady): {why}");
    assert!(said.contains(&condition), "{said}");
    assert!(hint::of(&said).contains("`kubectl get pods -A -o wide`"), "{said}");
    assert!(said.contains("kubelet.service: a kubelet starts: "), "no line of the kubelet: {said}");

    fs::remove_file(&environment).unwrap();
    assert!(bench.site.systemctl().args(["restart", "kubelet.service"]).status().unwrap().success());
    bench.joins();
}
