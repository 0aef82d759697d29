//! What is rendered: all files for each format of containerd's config, and what holds for every Kubernetes minor.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use flexnode_build::artifact::Arch;
use flexnode_build::failure::{Class, Failure};
use flexnode_build::overlay::{Entry, Overlay, OverlayPath};
use flexnode_build::render::{Facts, Values, render};
use flexnode_build::target::Target;
use flexnode_firstboot::paths;
use serde_json::{Value, json};

fn facts(kubernetes: &str, containerd: &str) -> Facts {
    Facts {
        kubernetes: kubernetes.parse().expect("a version"),
        containerd: containerd.parse().expect("a version"),
        arch: Arch::Amd64,
        target: Target::Ubuntu2204,
        pause_image: "registry.k8s.io/pause:3.9".into(),
    }
}

fn values(layer: Value) -> Values {
    Values::from_layers(&[layer], &[]).expect("good values")
}

fn tree(facts: &Facts, values: &Values, overrides: Option<&Path>) -> anyhow::Result<Overlay> {
    let mut overlay = Overlay::default();
    for (path, entry) in render(facts, values, overrides)? {
        overlay.insert(path, entry)?;
    }
    Ok(overlay)
}

fn text(overlay: &Overlay, path: &str) -> String {
    let path: OverlayPath = path.trim_start_matches('/').parse().expect("a path");
    match overlay.get(&path) {
        Some(Entry::File(file)) => {
            let mut text = String::new();
            file.content.reader().read_to_string(&mut text).expect("UTF-8");
            text
        }
        other => panic!("{path}: {other:?}"),
    }
}

/// The whole tree as text.
fn listing(overlay: &Overlay) -> String {
    let mut listing = String::new();
    for (path, entry) in overlay {
        match entry {
            Entry::Directory(mode) => writeln!(listing, "=== {mode} {path}/"),
            Entry::Link { target } => writeln!(listing, "=== link {path} -> {target}"),
            Entry::File(file) => writeln!(listing, "=== {} {path}\n{}", file.mode, text(overlay, path.as_str())),
        }
        .expect("a string takes everything");
    }
    listing
}

fn refusal(result: anyhow::Result<Overlay>) -> String {
    let error = result.expect_err("must be refused");
    let (class, hint) = Failure::describe(&error);
    assert_eq!(class, Class::Usage, "{error:#}");
    format!("{error:#}\n  hint: {}", hint.unwrap_or("none"))
}

#[test]
fn the_tree_for_containerd_1_7_and_kubernetes_1_28() {
    let overlay = tree(&facts("1.28.15", "1.7.34"), &Values::default(), None).expect("renders");
    insta::assert_snapshot!(listing(&overlay));
}

#[test]
fn the_tree_for_containerd_2_1_and_kubernetes_1_30_with_many_values() {
    let values = values(json!({
        "kubelet": {
            "clusterDns": ["10.2.0.10", "fd00::a"],
            "clusterDomain": "1.30",
            "evictionHard": {"memory.available": "500Mi"},
            "featureGates": {"NodeSwap": true},
            "kubeReserved": {"cpu": "100m", "memory": "1Gi"},
            "nodeLabels": {"example.com/pool": "edge"},
            "registerWithTaints": [{"key": "edge", "value": "on", "effect": "NoSchedule"}],
            "extraConfig": {"shutdownGracePeriod": "30s", "tlsMinVersion": null},
        },
        "containerd": {
            "maxConcurrentDownloads": 8,
            "metricsAddress": null,
            "mirrors": {
                "_default": {"endpoints": ["https://mirror.example:8443/v2/all"], "overridePath": true},
                "docker.io": {
                    "endpoints": ["https://one.example", "http://two.example:5000"],
                    "ca": "/etc/ssl/certs/mirror.pem",
                },
                "registry.local:5000": {"endpoints": ["https://registry.local:5000"], "skipVerify": true},
            },
        },
    }));
    let overlay = tree(&facts("1.30.14", "2.1.9"), &values, None).expect("renders");
    insta::assert_snapshot!(listing(&overlay));
}

#[test]
fn the_tree_for_containerd_2_3_and_kubernetes_1_37() {
    let overlay = tree(&facts("1.37.1", "2.3.4"), &Values::default(), None).expect("renders");
    insta::assert_snapshot!(listing(&overlay));
}

#[test]
fn containerds_config_has_the_format_and_keys_of_its_release() {
    let servers = "[plugins.\"io.containerd.server.v1.grpc\"]";
    for (version, format, has, has_not) in [
        ("1.6.39", 2, ["[grpc]", "bin_dir = ", "sandbox_image = "], servers),
        ("1.7.34", 2, ["[metrics]", "bin_dir = ", "io.containerd.grpc.v1.cri"], "io.containerd.cri.v1"),
        ("2.0.0", 3, ["[grpc]", "bin_dir = ", "sandbox = "], "io.containerd.transfer.v1"),
        ("2.1.0", 3, ["[grpc]", "bin_dirs = ", "io.containerd.transfer.v1"], "io.containerd.grpc.v1.cri"),
        ("2.2.5", 3, ["[metrics]", "bin_dirs = ", "io.containerd.cri.v1.images"], servers),
        ("2.3.0", 4, [servers, "bin_dirs = ", "sandbox = "], "[grpc]"),
        ("2.4.1", 4, [servers, "bin_dirs = ", "io.containerd.server.v1.metrics"], "[metrics]"),
    ] {
        let config = text(
            &tree(&facts("1.30.0", version), &Values::default(), None).expect("renders"),
            paths::CONTAINERD_CONFIG,
        );
        assert!(config.contains(&format!("\nversion = {format}\n")), "{version}: {config}");
        for key in has {
            assert!(config.contains(key), "{version} has {key}: {config}");
        }
        assert!(!config.contains(has_not), "{version} has no {has_not}: {config}");
        assert_eq!(config.matches("SystemdCgroup = true").count(), 1, "{version}");
    }
}

#[test]
fn every_field_of_the_kubelets_config_exists_in_its_minor() {
    for minor in 28..=37 {
        let facts = Facts { target: Target::Ubuntu2004, ..facts(&format!("1.{minor}.0"), "1.7.34") };
        let overlay = tree(&facts, &Values::default(), None).expect("renders, and every field is known");
        let config: Value = serde_json::from_str(&text(&overlay, paths::KUBELET_CONFIG)).expect("JSON");
        for (field, since) in ADDED_SINCE_1_28 {
            assert!(minor >= since || config.get(field).is_none(), "1.{minor} has no field {field}");
        }
        // Ubuntu 20.04 boots with cgroup v1, which the kubelet refuses by default from 1.35 on.
        assert_eq!(config.get("failCgroupV1"), (minor >= 35).then_some(&json!(false)), "1.{minor}");
    }
}

/// The catalog's research (`compat.json`, `kubelet_configuration_v1beta1.per_minor.*.added`), independent of the
/// list in the builder.
const ADDED_SINCE_1_28: [(&str, u64); 13] = [
    ("imageMaximumGCAge", 29),
    ("containerLogMaxWorkers", 30),
    ("containerLogMonitorInterval", 30),
    ("podLogsDir", 30),
    ("failCgroupV1", 31),
    ("crashLoopBackOff", 32),
    ("singleProcessOOMKill", 32),
    ("imagePullCredentialsVerificationPolicy", 33),
    ("mergeDefaultEvictionSettings", 33),
    ("preloadedImagesVerificationAllowlist", 33),
    ("userNamespaces", 33),
    ("memoryReservationPolicy", 36),
    ("tlsCurvePreferences", 36),
];

#[test]
fn a_field_is_accepted_from_its_minor_on_and_refused_before() {
    for (field, since) in ADDED_SINCE_1_28 {
        let values = values(json!({"kubelet": {"extraConfig": {field: "x"}}}));
        tree(&facts(&format!("1.{since}.0"), "2.2.0"), &values, None).expect(field);
        let refusal = refusal(tree(&facts(&format!("1.{}.0", since - 1), "2.2.0"), &values, None));
        assert!(refusal.contains(field) && refusal.contains(&format!("from 1.{since} on")), "{refusal}");
    }
    let values = values(json!({"kubelet": {"extraConfig": {"maxPod": 5}}}));
    insta::assert_snapshot!(refusal(tree(&facts("1.30.0", "1.7.0"), &values, None)), @r"
rendered `/var/lib/kubelet/config.yaml`: Kubernetes 1.30 has no field `maxPod`, its kubelet would not start
  hint: did you mean `maxPods`?
");
}

#[test]
fn the_kubelets_config_is_what_a_secure_node_needs() {
    let overlay = tree(&facts("1.30.0", "1.7.34"), &Values::default(), None).expect("renders");
    let config: Value = serde_json::from_str(&text(&overlay, paths::KUBELET_CONFIG)).expect("JSON");
    let must_be = json!({
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": paths::CLUSTER_CA},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "systemd",
        "containerRuntimeEndpoint": format!("unix://{}", paths::CONTAINERD_SOCKET),
        "failSwapOn": true,
        "imageGCHighThresholdPercent": 85,
        "imageGCLowThresholdPercent": 80,
        "protectKernelDefaults": true,
        "readOnlyPort": 0,
        "resolvConf": "/run/systemd/resolve/resolv.conf",
        "rotateCertificates": false,
        "staticPodPath": paths::STATIC_PODS,
        "tlsMinVersion": "VersionTLS12",
    });
    for (field, value) in must_be.as_object().expect("a map") {
        assert_eq!(config.get(field), Some(value), "{field}");
    }
    assert_eq!(config.get("evictionHard"), None, "left to the kubelet unless set");
    let debian = Facts { target: Target::Debian12, ..facts("1.30.0", "1.7.34") };
    let config = text(&tree(&debian, &Values::default(), None).expect("renders"), paths::KUBELET_CONFIG);
    assert!(config.contains("\"resolvConf\": \"/etc/resolv.conf\""), "Debian has no systemd-resolved");
}

#[test]
fn the_kubelets_unit_passes_no_removed_flag_and_has_a_watchdog_from_1_32_on() {
    for minor in 28..=37 {
        let overlay = tree(&facts(&format!("1.{minor}.0"), "1.7.34"), &Values::default(), None).expect("renders");
        let unit = text(&overlay, "etc/systemd/system/kubelet.service");
        let start = unit.lines().find(|line| line.starts_with("ExecStart=")).expect("it starts something");
        let flags: Vec<&str> = start.split_whitespace().filter(|word| word.starts_with("--")).collect();
        let names: Vec<&str> = flags.iter().filter_map(|flag| flag.split('=').next()).collect();
        assert_eq!(names, ["--config", "--kubeconfig", "--node-labels"], "flags that no minor removed");
        assert_eq!(unit.contains("WatchdogSec=60"), minor >= 32, "1.{minor}");
        assert!(unit.contains("FLEXNODE_NODE_LABELS=kubernetes.azure.com/managed=false\n"));
    }
}

#[test]
fn the_templates_and_the_agent_mean_the_same_paths() {
    let overlay = tree(&facts("1.30.0", "1.7.34"), &Values::default(), None).expect("renders");
    let kubelet = text(&overlay, "etc/systemd/system/kubelet.service");
    for path in [paths::KUBELET_CONFIG, paths::KUBECONFIG, paths::KUBELET_ENVIRONMENT, paths::CLUSTER_CA] {
        assert!(kubelet.contains(path), "kubelet.service: {path}");
    }
    for variable in [paths::KUBELET_LABELS_VARIABLE, paths::KUBELET_ARGS_VARIABLE] {
        assert!(kubelet.contains(&format!("Environment={variable}=")), "kubelet.service: {variable}");
    }
    let firstboot = text(&overlay, "etc/systemd/system/flexnode-firstboot.service");
    let permit = format!("\nConditionPathExists={}.%m\n", paths::KUBELET_PERMIT);
    assert!(kubelet.contains(&permit), "kubelet.service: {permit}");
    let marker = format!("\nConditionPathExists=!{}.%m\n", paths::MARKER);
    assert!(firstboot.contains(&marker) && firstboot.contains("RestartPreventExitStatus=1 2 77 78 "));
    for path in [paths::CONTAINERD_CONFIG, paths::TOKEN_SCRIPT, paths::MODULES, paths::SYSCTLS] {
        text(&overlay, path);
    }
    for unit in [paths::CONTAINERD_UNIT, paths::KUBELET_UNIT, paths::FIRSTBOOT_UNIT] {
        text(&overlay, &format!("etc/systemd/system/{unit}"));
    }
    for directory in [paths::CONFIG_DIRECTORY, paths::STATE_DIRECTORY, paths::STATIC_PODS] {
        let path = directory.trim_start_matches('/').parse().expect("a path");
        assert!(matches!(overlay.get(&path), Some(Entry::Directory(_))), "{directory}");
    }
    assert!(text(&overlay, paths::CONTAINERD_CONFIG).contains(paths::CONTAINERD_SOCKET));
}

#[test]
fn rendering_depends_on_nothing_else() {
    let odd = values(json!({"kubelet": {"clusterDomain": "\u{85}\u{2028}\u{7f}no: \"x\" # é 🦀"}}));
    let once = listing(&tree(&facts("1.30.0", "2.3.4"), &odd, None).expect("renders"));
    assert_eq!(once, listing(&tree(&facts("1.30.0", "2.3.4"), &odd, None).expect("renders")));
    assert!(once.contains(r#""clusterDomain": "\u0085\u2028\u007fno: \"x\" # é 🦀""#));
}

/// A directory of templates.
fn templates(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, body) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, body).expect("a file");
    }
    directory
}

#[test]
fn a_users_templates_replace_single_files_and_add_others() {
    let own = templates(&[
        ("etc/crictl.yaml.j2", "timeout: {{ values.custom.timeout }}\n"),
        ("etc/containerd/config.toml", "version = {{ left alone }}\n"),
        ("var/lib/kubelet/token.sh", "#!/bin/sh\nexit 1\n"),
        ("opt/site/check", "#!/bin/sh\n"),
        ("opt/site/{registry}.txt.j2", "{{ registry }} {{ mirror.endpoints|first }}\n"),
    ]);
    fs::set_permissions(own.path().join("opt/site/check"), fs::Permissions::from_mode(0o700)).expect("its mode");
    let values = values(json!({
        "custom": {"timeout": 7},
        "containerd": {"mirrors": {"docker.io": {"endpoints": ["https://m.example"]}}},
    }));
    let overlay = tree(&facts("1.30.0", "1.7.34"), &values, Some(own.path())).expect("renders");
    assert_eq!(text(&overlay, "etc/crictl.yaml"), "timeout: 7\n");
    assert_eq!(text(&overlay, "etc/containerd/config.toml"), "version = {{ left alone }}\n");
    assert_eq!(text(&overlay, "opt/site/docker.io.txt"), "docker.io https://m.example\n");
    let listing = listing(&overlay);
    assert!(listing.contains("=== 0700 var/lib/kubelet/token.sh\n"), "a replaced file keeps the mode it needs");
    assert!(listing.contains("=== 0755 opt/site/check\n") && listing.contains("=== 0644 opt/site/docker.io.txt\n"));
    assert!(text(&overlay, "etc/systemd/system/kubelet.service").contains("ExecStart=/usr/local/bin/kubelet"));
}

#[test]
fn a_templates_mistake_is_named_with_its_line_and_a_cure() {
    let refuse = |files: &[(&str, &str)]| {
        let own = templates(files);
        refusal(tree(&facts("1.30.0", "1.7.34"), &Values::default(), Some(own.path())))
            .replace(own.path().to_str().expect("UTF-8"), "DIR")
    };
    insta::assert_snapshot!([
        refuse(&[("a.j2", "one\n{{ values.kubelet.maxPod }}\n")]),
        refuse(&[("a.j2", "{{ value.kubelet.maxPods }}")]),
        refuse(&[("a.j2", "\n\n{% if values.custom.x %}{% endif %}")]),
        refuse(&[("a.j2", "{{ {\"a\": values.custom.x}|json }}")]),
        refuse(&[("a.j2", "{{ registry }}")]),
        refuse(&[("a.j2", "\n{% if %}")]),
        refuse(&[("a.j2", "{{ 1|nope }}")]),
        refuse(&[("a.j2", "{% include \"b.j2\" %}")]),
        refuse(&[("a.j2", "x"), ("a", "y")]),
        refuse(&[("etc/crictl.yaml", "- a\n")]),
        refuse(&[("etc/crictl.yaml", "a: [\n")]),
        refuse(&[("var/lib/kubelet/config.yaml", "kind: KubeletConfiguration\n")]),
        refuse(&[("var/lib/kubelet/token.sh", "exit 1\n")]),
        refuse(&[("var/lib/kubelet/token.sh", "#!/bin/sh\r\nexit 1\r\n")]),
        refuse(&[("etc/containerd", "x")]),
        refuse(&[]),
    ]
    .join("\n"), @r#"
template `DIR/a.j2`, line 2: `values.kubelet.maxPod` is undefined
  hint: did you mean `values.kubelet.maxPods`?
template `DIR/a.j2`, line 1: `value` is undefined: `value.kubelet`
  hint: did you mean `values.kubelet`?
template `DIR/a.j2`, line 3: `values.custom.x` is undefined
  hint: docs/templates.md lists what templates see; own values go under `custom`
template `DIR/a.j2`, line 1: undefined value for the key `a`: `json`
  hint: docs/templates.md lists what templates see; own values go under `custom`
template `DIR/a.j2`, line 1: `registry` is undefined
  hint: docs/templates.md lists what templates see; own values go under `custom`
template `DIR/a.j2`, line 2: unexpected end of block: `%}`
  hint: docs/templates.md describes the template language
template `DIR/a.j2`, line 1: filter nope is unknown
  hint: docs/templates.md describes the template language
template `DIR/a.j2`, line 1: tried to include non-existing template 'b.j2': `include "b.j2"`
  hint: docs/templates.md describes the template language
two templates install `/a`
  hint: keep one of `DIR/a` and its `.j2` form
rendered `/etc/crictl.yaml` is YAML, but no mapping
  hint: none
rendered `/etc/crictl.yaml` is not YAML: line 1 column 4: unclosed bracket '['
  hint: none
rendered `/var/lib/kubelet/config.yaml` is no KubeletConfiguration
  hint: it needs `apiVersion: kubelet.config.k8s.io/v1beta1` and `kind: KubeletConfiguration`
rendered `/var/lib/kubelet/token.sh` has no `#!` line, so the kubelet could not run it
  hint: start it with `#!/bin/sh`
rendered `/var/lib/kubelet/token.sh` is a script with Windows line ends
  hint: save the template with Unix line ends
cannot install `/etc/containerd/certs.d`: `etc/containerd` is a file
  hint: give the extra file or component another path, or leave one of the two out
`DIR` holds no template
  hint: a template's name is the path it installs, as in `etc/containerd/config.toml.j2`
"#);
}

#[test]
fn what_is_no_template_is_refused_by_name() {
    let own = templates(&[]);
    std::os::unix::fs::symlink("/etc/shadow", own.path().join("shadow")).expect("a link");
    let link = refusal(tree(&facts("1.30.0", "1.7.34"), &Values::default(), Some(own.path())));
    assert!(link.contains("shadow") && link.contains("neither a file nor a directory"), "{link}");

    let own = templates(&[]);
    fs::write(own.path().join("binary.j2"), b"\xff\xfe").expect("a file");
    let binary = refusal(tree(&facts("1.30.0", "1.7.34"), &Values::default(), Some(own.path())));
    assert!(binary.contains("binary.j2` is not UTF-8"), "{binary}");

    let own = templates(&[]);
    fs::write(own.path().join("line\nbreak"), "x").expect("a file");
    let name = refusal(tree(&facts("1.30.0", "1.7.34"), &Values::default(), Some(own.path())));
    assert!(name.contains("control character"), "{name}");

    let missing = render(&facts("1.30.0", "1.7.34"), &Values::default(), Some(Path::new("/nonexistent")));
    let error = missing.expect_err("there is no such directory");
    assert_eq!(Failure::describe(&error).0, Class::Local);
    assert!(format!("{error:#}").contains("/nonexistent"), "{error:#}");
}

#[test]
fn the_documentation_lists_every_value_and_file() {
    let docs =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/templates.md")).expect("the page");
    let defaults = serde_json::to_value(Values::default()).expect("JSON");
    for (group, keys) in defaults.as_object().expect("a map") {
        for key in keys.as_object().into_iter().flatten().map(|(key, _)| key) {
            assert!(docs.contains(&format!("| `{group}.{key}` |")), "docs/templates.md lacks `{group}.{key}`");
        }
    }
    for (path, entry) in &tree(&facts("1.30.0", "1.7.34"), &Values::default(), None).expect("renders") {
        let mode = match entry {
            Entry::Directory(mode) => mode.to_string(),
            Entry::File(file) => file.mode.to_string(),
            Entry::Link { .. } => "link".into(),
        };
        assert!(docs.contains(&format!("| `{path}` | {mode} |")), "docs/templates.md lacks `{path}` | {mode}");
    }
}
