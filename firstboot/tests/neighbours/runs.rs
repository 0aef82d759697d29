//! Runs that meet each other, and a run on a node that has joined.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use flexnode_firstboot::cloud::Authority;
use flexnode_firstboot::config;
use flexnode_firstboot::host::Host;
use flexnode_firstboot::marker::Marker;

use super::lab::{ID, Lab, PRINCIPAL, SUBSCRIPTION, azure, cluster, serve_himds, wait_for};

#[test]
fn two_runs_at_once_do_not_meet() {
    let lab = Lab::new(azure());
    lab.azcmagent("", "exec sleep 600");
    let mut first = lab.spawn();
    wait_for(&lab.path("seen.json"));
    let (code, said) = lab.run();
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("another flexnode-firstboot is at work"), "{said}");
}

#[test]
fn a_joined_node_is_asked_three_questions_and_nothing_else_happens_to_it() {
    let pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let authority = azure_core::base64::encode(pem);
    let user = format!(
        "clusters: [{{name: edge, cluster: {{server: 'https://edge.example', certificate-authority-data: {authority}}}}}]"
    );
    let credential = format!(r#"{{"kubeconfigs":[{{"value":"{}"}}]}}"#, azure_core::base64::encode(user));
    let token = r#"{"access_token":"machine","expires_on":"4102444800"}"#.to_owned();
    let (himds, asked) = serve_himds(token);
    let lab = Lab::new(vec![("listClusterUserCredential", 200, credential)]);
    lab.azcmagent("edge-1", "");
    fs::write(lab.path("state/active"), "").unwrap();
    fs::write(lab.path("tokens/a.key"), "key").unwrap();
    himds.send(lab.path("tokens/a.key")).unwrap();
    let address = asked.recv().unwrap();

    // What a join leaves behind.
    let host = Host::new(lab.root.path()).unwrap();
    let config = config::load(&lab.path("etc/flexnode/config.yaml"), None).unwrap();
    let machine =
        format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/edge/providers/Microsoft.HybridCompute/machines/edge-1");
    let authority_of_azure = Authority {
        login: "https://login.example".into(),
        audience: "https://arm.example".into(),
        scope: "https://arm.example/.default".into(),
        tenant: None,
    };
    let marker = Marker {
        version: 1,
        machine_id: ID.into(),
        config: config.digest,
        cluster: cluster(),
        machine,
        principal: PRINCIPAL.into(),
        authority: authority_of_azure,
    };
    marker.write_joined(&host).unwrap();
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "edge", "cluster": {
            "server": "https://edge.example",
            "certificate-authority-data": authority,
        }}],
        "users": [{ "name": "machine", "user": { "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": lab.path("var/lib/kubelet/token.sh"),
            "interactiveMode": "Never",
            "provideClusterInfo": false,
        }}}],
        "contexts": [{ "name": "edge", "context": { "cluster": "edge", "user": "machine" }}],
        "current-context": "edge",
    });
    let private = |path: &str, text: &str, mode| {
        fs::create_dir_all(lab.path(path).parent().unwrap()).unwrap();
        fs::write(lab.path(path), text).unwrap();
        fs::set_permissions(lab.path(path), Permissions::from_mode(mode)).unwrap();
    };
    private(&format!("var/lib/flexnode/kubelet-may-run.{ID}"), "", 0o600);
    private("var/lib/kubelet/kubeconfig", &format!("{kubeconfig:#}\n"), 0o600);
    private("etc/kubernetes/pki/ca.crt", pem, 0o644);
    private("etc/flexnode/kubelet.env", "X=1\n", 0o600);

    let run = || {
        let mut command = lab.command();
        command.args(["--himds-endpoint", &address]);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run();
    assert_eq!((code, lab.requests.lock().unwrap().len()), (Some(0), 1), "{said}");
    assert_eq!(asked.try_iter().count(), 2, "the challenge and the token");
    let log = lab.log();
    let changes = log.lines().filter(|line| !line.contains("systemctl is-") && !line.contains("azcmagent show"));
    assert_eq!(changes.count(), 0, "{log}");

    // A new CA is another matter: the file differs, so the steps run (and end at the API server, which is not there).
    private("etc/kubernetes/pki/ca.crt", "another", 0o644);
    let (code, said) = run();
    assert!(code != Some(0) && said.contains("registering with Azure Arc: begins"), "{said}");
}
