//! Upstream's real kubectl 1.30 against the API server, with a machine's token.

use std::fs;
use std::process::{Command, Output};

use flexnode_build::artifact::Arch;
use flexnode_vm::azure::{ClusterRole, contoso, role};
use flexnode_vm::lab::{Cache, Wheel};
use reqwest::Method;
use serde_json::json;

use crate::bench::{ArcMachine, Bench, contoso_bench, json_body};

/// kubectl, with nothing of this machine's environment and the cluster's CA alone.
fn kubectl(bench: &Bench, machine: &ArcMachine, token: &str, arguments: &[&str]) -> Output {
    let cache = Cache::open(&Cache::default_dir().unwrap()).unwrap();
    let kubectl = Wheel::with("1.30.0", Arch::Amd64).unwrap().program(&cache).unwrap();
    let home = machine.home.path();
    let program = home.join("kubectl");
    if !program.exists() {
        fs::copy(kubectl, &program).unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let (server, ca) = bench.azure.api_server(&contoso::cluster_id()).unwrap();
    fs::write(home.join("cluster-ca.pem"), ca).unwrap();
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).arg("--server").arg(server).args(["--token", token]);
    command.arg("--certificate-authority").arg(home.join("cluster-ca.pem")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn get_nodes_works_with_the_role_and_is_forbidden_without() {
    let bench = contoso_bench();
    let machine = ArcMachine::new(&bench);
    let token = machine.kubernetes_token(&bench);
    let refused = kubectl(&bench, &machine, &token, &["get", "nodes"]);
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && said.contains("Error from server (Forbidden)"), "{said}");
    assert!(said.contains(&format!("User \"{}\" cannot list resource \"nodes\"", machine.oid)), "{said}");

    bench.azure.grant(&machine.oid, role::RBAC_CLUSTER_ADMIN, &contoso::cluster_id()).unwrap();
    machine.himds.restart();
    let token = machine.kubernetes_token(&bench);
    let none = kubectl(&bench, &machine, &token, &["get", "nodes"]);
    assert!(text(&none.stderr).contains("No resources found"), "{none:?}");
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge-1"}, "status": {
        "conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.30.0"},
    }});
    let created = bench.send(json_body(bench.kubernetes(Method::POST, "/api/v1/nodes", &token), &node));
    assert_eq!(created.status, 201);
    let listed = kubectl(&bench, &machine, &token, &["get", "nodes"]);
    let lines: Vec<Vec<&str>> = text(&listed.stdout).lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "STATUS", "ROLES", "AGE", "VERSION"], "{listed:?}");
    assert_eq!((&lines[1][..3], lines[1][4]), (&["edge-1", "Ready", "<none>"][..], "v1.30.0"));
    let named = kubectl(&bench, &machine, &token, &["get", "node/edge-1", "-o", "name"]);
    assert_eq!(text(&named.stdout), "node/edge-1\n", "{named:?}");
    let version = kubectl(&bench, &machine, &token, &["version"]);
    assert!(text(&version.stdout).contains("Server Version: v1.30.0"), "{version:?}");
}

#[test]
fn can_i_says_what_the_server_says() {
    let bench = contoso_bench();
    let machine = ArcMachine::new(&bench);
    let token = machine.kubernetes_token(&bench);
    let can = || kubectl(&bench, &machine, &token, &["auth", "can-i", "create", "nodes"]);
    assert!(text(&can().stdout).starts_with("no - User does not have access"), "{:?}", can());
    bench.azure.bind(&contoso::cluster_id(), &machine.oid, ClusterRole::Node).unwrap();
    assert_eq!(text(&can().stdout), "yes\n", "{:?}", can());
    let wrong = kubectl(&bench, &machine, "nonsense", &["get", "nodes"]);
    assert!(text(&wrong.stderr).contains("Unauthorized"), "{wrong:?}");
}
