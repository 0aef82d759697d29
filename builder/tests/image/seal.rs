//! What `seal` promises: it finds what must not be cloned, clears it with `--fix`, and touches nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::good_root::GoodRoot;
use flexnode_build::seal::{Trace, clear, look};
use flexnode_firstboot::paths;

pub(super) fn found(root: &GoodRoot) -> Vec<Trace> {
    look(&root.open(), &[]).unwrap()
}

pub(super) fn names(traces: &[Trace]) -> Vec<&'static str> {
    traces.iter().map(|trace| trace.name).collect()
}

fn seal(root: &GoodRoot, args: &[&str]) -> Output {
    let path = root.path();
    let args = [&["seal", "--root", path.to_str().unwrap()], args].concat();
    Command::new(env!("CARGO_BIN_EXE_flexnode-build")).env_clear().args(args).output().unwrap()
}

/// Exit code and all that was said, with the root's own path taken out.
fn said(root: &GoodRoot, args: &[&str]) -> String {
    let output = seal(root, args);
    let words = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    format!("{}\n{words}", output.status.code().unwrap()).replace(root.path().to_str().unwrap(), "/mnt")
}

#[test]
fn a_root_that_never_ran_is_fit() {
    assert_eq!(names(&found(&GoodRoot::new())), [""; 0]);
}

const CONFIG: &str = "azure:\n  tenantId: contoso.onmicrosoft.com # ours\n  servicePrincipal:\n    \
                      clientId: 5c6a7d1e-0f0c-4b77-9a51-3f2d3f0a9b11\n";

type Leave = fn(&GoodRoot);

/// A kind of trace, and a machine that leaves it and nothing else.
const TRACES: [(&str, Leave); 34] = [
    ("machine-id", |root| root.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n")),
    ("machine-id-of-dbus", |root| {
        root.remove("var/lib/dbus/machine-id");
        root.write("var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef\n");
    }),
    ("arc-registration", |root| root.write("var/opt/azcmagent/agentconfig.json", "{\"resourceName\": \"edge-1\"}")),
    ("arc-state", |root| root.write("var/opt/azcmagent/certs/myCert.cer", "x")),
    ("arc-state", |root| root.write("var/opt/azcmagent/log/himds.log", "x")),
    ("client-secret", |root| {
        root.write("etc/flexnode/config.yaml", &format!("{CONFIG}    clientSecretFile: /etc/flexnode/client-secret\n"));
        root.write("etc/flexnode/client-secret", "hunter2");
    }),
    ("client-secret", |root| root.write("etc/flexnode/client-secret.txt", "hunter2")),
    ("client-secret-in-config", |root| {
        root.write("etc/flexnode/config.yaml", &format!("{CONFIG}    clientSecret: hunter2\n"));
    }),
    ("client-secret-in-config", |root| {
        root.write(
            "etc/flexnode/config.d/50-site.json",
            "{\"azure\": {\"servicePrincipal\": {\n\"clientSecret\": \"hunter2\"\n}}}\n",
        );
    }),
    ("ssh-host-keys", |root| root.write("etc/ssh/ssh_host_ed25519_key", "x")),
    ("ssh-host-keys", |root| root.write("etc/ssh/ssh_host_rsa_key.pub", "x")),
    ("kubelet-identity", |root| root.write("var/lib/kubelet/kubeconfig", "x")),
    ("kubelet-identity", |root| {
        root.write("var/lib/kubelet/pki/kubelet-client-2026.pem", "x");
        root.link("var/lib/kubelet/pki/kubelet-client-current.pem", "/var/lib/kubelet/pki/kubelet-client-2026.pem");
    }),
    ("kubelet-identity", |root| root.write("etc/kubernetes/admin.conf", "x")),
    ("kubelet-identity", |root| root.write("etc/cni/net.d/calico-kubeconfig", "x")),
    ("kubelet-state", |root| root.write("var/lib/kubelet/pods/1f/volumes/kubernetes.io~secret/a/token", "x")),
    ("kubelet-state", |root| root.write("var/lib/kubelet/cpu_manager_state", "{}")),
    ("flexnode-state", |root| root.write("var/lib/flexnode/joined.0123456789abcdef0123456789abcdef", "{}")),
    ("flexnode-state", |root| root.write("var/lib/flexnode/kubelet-restart-due", "")),
    ("systemd-credentials", |root| root.write("etc/credstore.encrypted/azure", "x")),
    ("systemd-credential-key", |root| root.write("var/lib/systemd/credential.secret", "x")),
    ("azure-cli", |root| root.write("root/.azure/msal_token_cache.json", "{}")),
    ("azure-cli", |root| root.write("home/ann/.azure/commands/a.log", "{}")),
    ("private-keys", |root| root.write("home/ann/.ssh/id_ed25519", "x")),
    ("histories", |root| root.write("root/.bash_history", "az login -p hunter2\n")),
    ("histories", |root| root.write("home/ann/.bash_history", "x")),
    ("cloud-init", |root| {
        root.write("var/lib/cloud/instances/i-1/user-data.txt", "#cloud-config\n");
        root.link("var/lib/cloud/instance", "/var/lib/cloud/instances/i-1");
    }),
    ("network", |root| root.write("etc/udev/rules.d/70-persistent-net.rules", "x")),
    ("dhcp-leases", |root| root.write("var/lib/dhcp/dhclient.eth0.leases", "lease {}")),
    ("random-seed", |root| root.write("var/lib/systemd/random-seed", "x")),
    ("journal", |root| root.write("var/log/journal/0123456789abcdef0123456789abcdef/system.journal", "x")),
    ("iscsi-initiator", |root| {
        root.write("etc/iscsi/initiatorname.iscsi", "# a\nInitiatorName=iqn.1993-08.org.debian:01:a\n");
    }),
    ("private-keys", |root| root.write("root/.kube/config", "x")),
    ("private-keys", |root| root.write("root/.docker/config.json", "x")),
];

#[test]
fn each_trace_is_found_told_cleared_and_gone() {
    let mut told = String::new();
    for (name, leave) in TRACES {
        let root = GoodRoot::new();
        leave(&root);
        let traces = found(&root);
        assert_eq!(names(&traces), [name]);
        assert!(!traces[0].cure.is_empty() && !traces[0].why.is_empty(), "{name}");
        let text = traces[0].to_string().replace(root.path().to_str().unwrap(), "/mnt");
        if !told.contains(&text) {
            told += &format!("{text}\n");
        }
        let before = root.listing();
        assert_eq!(found(&root).len(), 1);
        assert_eq!(root.listing(), before, "{name}: looking changes nothing");

        let cleared = clear(&root.open(), &[]).unwrap();
        assert!(cleared.left.is_empty() && !cleared.paths.is_empty(), "{name}: {:?}", cleared.left);
        assert_eq!(names(&found(&root)), [""; 0], "{name}");
        let sealed = root.listing();
        assert!(clear(&root.open(), &[]).unwrap().paths.is_empty(), "{name}: once is enough");
        assert_eq!(root.listing(), sealed, "{name}");
    }
    insta::assert_snapshot!(told);
}

#[test]
fn the_commands_of_the_hints_clear_as_well() {
    for (name, leave) in TRACES {
        let root = GoodRoot::new();
        leave(&root);
        let cure = found(&root).remove(0).cure;
        let command = cure.strip_suffix('`').and_then(|cure| cure.rsplit('`').next()).unwrap_or(&cure);
        // These ask for a chroot with `rm` in it, since a link is among them.
        let astray = command.starts_with("chroot ");
        if name != "client-secret-in-config" && !astray {
            assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
            assert_eq!(names(&found(&root)), [""; 0], "{command}");
        }
    }
}

#[test]
fn everything_that_the_agent_writes_is_found() {
    let marker = format!("{}.0123456789abcdef0123456789abcdef", paths::MARKER);
    let farewell = format!("{}.0123456789abcdef0123456789abcdef", paths::FAREWELL);
    let certificate = format!("{}/kubelet.crt", paths::KUBELET_PKI);
    let written = [
        &marker,
        &farewell,
        &certificate,
        paths::LOCK,
        paths::RESTART_NOTE,
        paths::INSTALL_NOTE,
        paths::STATE,
        paths::KUBELET_ENVIRONMENT,
        paths::KUBECONFIG,
        paths::CLUSTER_CA,
    ];
    for path in written {
        let root = GoodRoot::new();
        root.write(path.trim_start_matches('/'), "x");
        let traces = found(&root);
        assert!(traces.iter().any(|trace| trace.paths.contains(&PathBuf::from(path))), "{path}");
    }
}

/// A machine that has run, with what an image is made for among what it left.
fn used() -> GoodRoot {
    let root = GoodRoot::new();
    for (_, leave) in TRACES {
        leave(&root);
    }
    for wanted in WANTED {
        root.write(wanted, "wanted");
    }
    root
}

const WANTED: [&str; 9] = [
    "var/lib/flexnode/applied.json",
    "var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/ab",
    "var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db",
    "var/lib/kubelet/token.sh",
    "usr/local/bin/kubelet",
    "etc/ssh/sshd_config",
    "var/lib/cloud/seed/nocloud/meta-data",
    "root/.ssh/authorized_keys",
    "etc/kubernetes/manifests/proxy.yaml",
];

#[test]
fn a_used_machine_is_told_cleared_and_then_fit() {
    let root = used();
    fs::set_permissions(root.at("etc/machine-id"), fs::Permissions::from_mode(0o444)).unwrap();
    let mut told = format!("$ flexnode-build seal --root /mnt\n{}", said(&root, &[]));
    told += &format!("$ flexnode-build seal --root /mnt --fix\n{}", said(&root, &["--fix"]));
    told += &format!("$ flexnode-build seal --root /mnt\n{}", said(&root, &[]));
    insta::assert_snapshot!(told);

    let id = fs::metadata(root.at("etc/machine-id")).unwrap();
    assert_eq!((id.len(), id.permissions().mode() & 0o777), (0, 0o444), "empty, not removed");
    for wanted in WANTED {
        assert_eq!(fs::read_to_string(root.at(wanted)).unwrap(), "wanted", "{wanted}");
    }
    // Directories of packages stay: their owners and modes come from maintainer scripts.
    for directory in ["var/opt/azcmagent/certs", "var/log/journal", "var/lib/dhcp", "var/lib/kubelet/pki"] {
        assert!(root.at(directory).is_dir(), "{directory}");
    }
    assert_eq!(fs::read_to_string(root.at("etc/iscsi/initiatorname.iscsi")).unwrap(), "GenerateName=yes\n");
}

#[test]
fn a_run_that_was_cut_short_is_completed_by_the_next() {
    let whole = used();
    clear(&whole.open(), &[]).unwrap();
    let relative = |root: &GoodRoot| -> Vec<String> {
        let path = root.path();
        root.listing().iter().map(|line| line.replace(path.parent().unwrap().to_str().unwrap(), "")).collect()
    };
    // Half done in every order: any one of the traces gone, and a file that a kill left half written.
    for path in clear(&used().open(), &[]).unwrap().paths {
        let root = used();
        root.remove(path.to_str().unwrap().trim_start_matches('/'));
        root.write("etc/.machine-id.partial", "half");
        if path.ends_with("machine-id") {
            root.write("etc/machine-id", "");
        }
        assert!(clear(&root.open(), &[]).unwrap().left.is_empty(), "{}", path.display());
        let mut left = relative(&root);
        left.retain(|line| !line.contains("/.machine-id.partial "));
        let expected = relative(&whole);
        // What was removed whole may have taken its file's name with it; all that is there is the same.
        assert!(left.iter().all(|line| expected.contains(line)), "{}", path.display());
    }
}

#[test]
fn a_killed_run_is_completed_by_the_next() {
    let whole = used();
    clear(&whole.open(), &[]).unwrap();
    for watched in ["etc/ssh/ssh_host_rsa_key.pub", "var/lib/kubelet/pods/1f", "root/.bash_history"] {
        let root = used();
        for file in 0..500 {
            root.write(&format!("var/log/journal/0123456789abcdef0123456789abcdef/{file}.journal"), "x");
        }
        let mut run = Command::new(env!("CARGO_BIN_EXE_flexnode-build"))
            .args(["seal", "--fix", "--quiet", "--root"])
            .arg(root.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while root.at(watched).exists() && run.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        run.kill().unwrap();
        run.wait().unwrap();
        assert_eq!(seal(&root, &["--fix"]).status.code(), Some(0));
        let below = |root: &GoodRoot| -> Vec<String> {
            let path = root.path().display().to_string();
            root.listing().iter().map(|line| line.replace(&path, "")).collect()
        };
        assert_eq!(below(&root), below(&whole), "{watched}");
    }
}

#[test]
fn a_root_that_cannot_be_written_is_told_with_the_reason() {
    let root = GoodRoot::new();
    root.write("root/.bash_history", "x");
    root.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    let before = root.listing();
    let script =
        "set -e; mount --bind \"$1\" \"$1\"; mount -o remount,ro,bind \"$1\"; exec \"$2\" seal --root \"$1\" --fix";
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh"])
        .arg(root.path())
        .arg(env!("CARGO_BIN_EXE_flexnode-build"))
        .output()
        .unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(8), "{told}");
    assert_eq!(told.matches("(left alone: Read-only file system").count(), 2, "{told}");
    assert_eq!(root.listing(), before);
}

#[test]
fn only_the_secret_leaves_the_config() {
    let root = GoodRoot::new();
    root.write("etc/flexnode/config.yaml", CONFIG);
    root.append("etc/flexnode/config.yaml", "    clientSecret: hunter2\nnode: {maxPods: 60}\n");
    fs::set_permissions(root.at("etc/flexnode/config.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
    clear(&root.open(), &[]).unwrap();
    let config = root.at("etc/flexnode/config.yaml");
    assert_eq!(fs::read_to_string(&config).unwrap(), CONFIG.to_owned() + "node: {maxPods: 60}\n");
    assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_only_a_person_can_take_out_is_left_and_told() {
    let root = GoodRoot::new();
    root.write("etc/flexnode/config.yaml", "azure: {servicePrincipal: {clientId: a, clientSecret: hunter2}}\n");
    root.write("etc/flexnode/config.d/10-typo.yaml", "azure:\n  servicePrincipal:\n    clientsecret: hunter2\n");
    root.write("etc/flexnode/config.d/20-broken.yaml", "azure: [\n");
    root.write("var/lib/containerd/io.containerd.runtime.v2.task/k8s.io/3fa1/config.json", "{}");
    let before = root.listing();
    let told = said(&root, &["--fix"]);
    assert!(!told.contains("hunter2"));
    insta::assert_snapshot!(told);
    assert_eq!(root.listing(), before);
}

#[test]
fn a_secret_that_is_meant_to_be_there_is_allowed_by_its_path() {
    let root = GoodRoot::new();
    root.write(
        "etc/flexnode/config.yaml",
        &(CONFIG.to_owned() + "    clientSecretFile: /etc/flexnode/client-secret\n"),
    );
    root.write("etc/flexnode/client-secret", "hunter2");
    assert_eq!(seal(&root, &["--fix", "--allow-secret", "/etc/flexnode/client-secret"]).status.code(), Some(0));
    assert!(root.at("etc/flexnode/client-secret").exists());
    assert_eq!(seal(&root, &["--allow-secret", "/etc/flexnode/another"]).status.code(), Some(8));
}

#[test]
fn the_running_system_is_sealed_on_request_only() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_flexnode-build")).args(["seal", "--root", "/", "--fix"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap());
}

#[test]
fn json_says_what_was_cleared_and_what_is_left() {
    let root = GoodRoot::new();
    root.write("etc/ssh/ssh_host_rsa_key", "x");
    let json = |args: &[&str]| -> serde_json::Value { serde_json::from_slice(&seal(&root, args).stdout).unwrap() };
    let before = json(&["--json"]);
    assert_eq!(
        (&before["ok"], &before["findings"][0]["paths"][0]),
        (&false.into(), &"/etc/ssh/ssh_host_rsa_key".into())
    );
    let after = json(&["--json", "--fix"]);
    assert_eq!((&after["ok"], &after["cleared"][0]), (&true.into(), &"/etc/ssh/ssh_host_rsa_key".into()));
    assert_eq!(after["findings"], serde_json::json!([]));
}
