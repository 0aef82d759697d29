//! Static pods on a machine that really boots: the kubelet's stand-in asks the bundle's containerd, which runs them with
//! the bundle's runc and CNI plugins.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use flexnode_vm::azure::{Operation, contoso};
use flexnode_vm::lab;
use flexnode_vm::node::{Guest, NAME, Node};
use serde_json::Value;

use super::node;
use super::unit::{firstboot, journal, show};

/// Where the bundle's image of busybox comes from.
const IMAGE: &str = "docker.io/library/busybox";
const MANIFESTS: &str = "/etc/kubernetes/manifests";

/// Each request for which `of` holds.
fn requests(node: &Node, of: fn(Operation) -> bool) -> Receiver<()> {
    let (tell, told) = channel();
    node.azure.observe(move |request| {
        if of(request.operation) {
            // Who no longer listens needs not be told.
            let _ = tell.send(());
        }
    });
    told
}

/// Waits until `found` finds something; it is asked again after each request.
fn until<T>(guest: &Guest, requests: &Receiver<()>, mut found: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = found() {
            return found;
        }
        let patience = Duration::from_secs(120);
        assert!(requests.recv_timeout(patience).is_ok(), "nothing more is heard:\n{}", journal(guest));
    }
}

fn pod(node: &Node, name: &str) -> Option<Value> {
    let pods = node.azure.pods(&contoso::cluster_id());
    pods.into_iter().find(|pod| pod["metadata"]["name"] == format!("{name}-{NAME}"))
}

/// The pod, once its only container runs.
fn running(node: &Node, name: &str) -> Option<Value> {
    pod(node, name).filter(|pod| pod["status"]["phase"] == "Running")
}

fn manifest(name: &str, image: &str, policy: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - name: main\n    image: {image}\n\
         \x20   command: [tail, -f, /dev/null]\n    imagePullPolicy: {policy}\n"
    )
}

/// The ids of the running tasks.
fn tasks(guest: &Guest) -> Vec<String> {
    let listed = guest.ask("ctr", &["-n", "k8s.io", "tasks", "ls"]).unwrap();
    let running = listed.lines().filter(|line| line.ends_with("RUNNING"));
    let mut ids: Vec<_> = running.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    ids.sort();
    ids
}

#[test]
fn a_static_pod_runs_with_an_address_survives_the_kubelet_and_goes_with_its_manifest() {
    let node = node(contoso::world());
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest), "{}", journal(&guest));
    let told = requests(&node, |operation| operation == Operation::PodWrite);
    let image = &lab::shared().unwrap().images().busybox;
    node.write(&format!("{MANIFESTS}/web.yaml"), &manifest("web", image, "Never"), 0o644).unwrap();
    let web = until(&guest, &told, || running(&node, "web"));
    let address = web["status"]["podIP"].as_str().unwrap();
    assert!(address.starts_with("10.85.0."), "{web}");
    let id = web["status"]["containerStatuses"][0]["containerID"].as_str().unwrap();
    let id = id.strip_prefix("containerd://").unwrap();
    let before = tasks(&guest);
    assert!(before.len() == 2 && before.contains(&id.to_owned()), "{before:?}");
    let containers = guest.ask("ctr", &["-n", "k8s.io", "containers", "ls"]).unwrap();
    assert!(containers.contains(id) && containers.contains(IMAGE), "{containers}");
    let crictl =
        |what: &str| -> Value { serde_json::from_str(&guest.ask("crictl", &[what, "-o", "json"]).unwrap()).unwrap() };
    assert_eq!(crictl("ps")["containers"][0]["id"], id);
    assert_eq!(crictl("pods")["items"][0]["metadata"]["name"], format!("web-{NAME}"));
    assert!(crictl("images")["images"].to_string().contains(IMAGE));
    assert!(guest.ask("ip", &["-brief", "address", "show", "cni0"]).unwrap().contains("10.85.0.1/24"));

    // The kubelet of before has said all it had to say.
    guest.ask("systemctl", &["stop", "kubelet.service"]).unwrap();
    assert_eq!(show(&guest, "kubelet.service", "Result"), "success");
    assert_eq!(tasks(&guest), before, "containers go on without a kubelet");
    while told.try_recv().is_ok() {}
    guest.ask("systemctl", &["start", "kubelet.service"]).unwrap();
    told.recv_timeout(Duration::from_secs(120)).unwrap();
    let again = running(&node, "web").unwrap();
    assert_eq!(again["status"]["containerStatuses"], web["status"]["containerStatuses"]);
    assert_eq!(tasks(&guest), before, "a restarted kubelet restarts nothing");

    for (name, policy, reason) in [("never", "Never", "ErrImageNeverPull"), ("pull", "IfNotPresent", "ErrImagePull")] {
        node.write(&format!("{MANIFESTS}/{name}.yaml"), &manifest(name, "lab.test/none:1", policy), 0o644).unwrap();
        let waits = until(&guest, &told, || {
            let waiting = pod(&node, name)?["status"]["containerStatuses"][0]["state"]["waiting"].clone();
            (waiting["reason"] == reason).then_some(waiting)
        });
        assert!(waits["message"].as_str().unwrap().contains("lab.test/none:1"), "{waits}");
    }

    for name in ["web", "never", "pull"] {
        std::fs::remove_file(node.path(&format!("{MANIFESTS}/{name}.yaml"))).unwrap();
    }
    until(&guest, &told, || node.azure.pods(&contoso::cluster_id()).is_empty().then_some(()));
    assert_eq!(tasks(&guest), [""; 0]);
}

#[test]
fn a_node_is_ready_only_with_a_network_and_its_kubelet_dies_of_a_field_that_it_does_not_know() {
    let node = node(contoso::world());
    let network = node.path("/etc/cni/net.d/10-lab.conflist");
    let plugins = std::fs::read_to_string(&network).unwrap();
    std::fs::remove_file(&network).unwrap();
    let told = requests(&node, |operation| operation == Operation::NodeWrite);
    let guest = node.boot().unwrap();
    let ready = || {
        let nodes = node.azure.nodes(&contoso::cluster_id());
        let conditions = nodes.first()?["status"]["conditions"].as_array()?.clone();
        conditions.into_iter().find(|condition| condition["type"] == "Ready")
    };
    let condition = until(&guest, &told, ready);
    assert_eq!(condition["status"], "False");
    let words = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network \
                 plugin returns error: cni plugin not initialized";
    assert_eq!(condition["message"], words);
    node.write("/etc/cni/net.d/10-lab.conflist", &plugins, 0o644).unwrap();
    until(&guest, &told, || ready().filter(|condition| condition["status"] == "True"));
    assert!(firstboot(&guest), "{}", journal(&guest));

    let config = node.path("/var/lib/kubelet/config.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replacen("\"maxPods\"", "\"maxPodz\"", 1)).unwrap();
    guest.ask("systemctl", &["restart", "kubelet.service"]).unwrap();
    // It ends when systemd has started it again, and its second complaint finds nobody who listens.
    let listen =
        "timeout 120 journalctl --follow --lines=all --unit=kubelet --output=cat --grep='unknown field' | head -n 1";
    let said = guest.ask("sh", &["-c", listen]).unwrap();
    assert!(said.contains("maxPodz"), "{said}");
    assert_eq!(show(&guest, "kubelet.service", "ExecMainStatus"), "1");
    assert_eq!(show(&guest, "containerd.service", "ActiveState"), "active");
}
