//! What is taken and what is refused.

use semver::Version;

use flexnode_build::artifact::Arch;
use flexnode_build::overlay::Entry;
use flexnode_build::render::{Facts, Values, render};
use flexnode_build::target::Target;

use super::*;

const MINORS: std::ops::RangeInclusive<u64> = 28..=37;

fn read(text: &str, minor: u64) -> Result<Config> {
    let head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
    Config::of(&parse(&format!("{head}{text}"), minor)?, minor)
}

fn refusal(text: &str, minor: u64) -> String {
    format!("{:#}", read(text, minor).unwrap_err())
}

/// What the builder renders, without the file of client CAs, which first boot writes.
fn rendered(minor: u64, target: Target, values: &[Value]) -> String {
    let facts = Facts {
        kubernetes: Version::new(1, minor, 0),
        containerd: Version::new(2, 1, 9),
        arch: Arch::Amd64,
        target,
        pause_image: "registry.k8s.io/pause:3.9".to_owned(),
    };
    let tree = render(&facts, &Values::from_layers(values, &[]).unwrap(), None).unwrap();
    let mut files = tree.into_iter().filter(|(path, _)| path.as_str() == "var/lib/kubelet/config.yaml");
    let Some((_, Entry::File(file))) = files.next() else { panic!("no configuration is rendered") };
    let text = std::io::read_to_string(file.content.reader()).unwrap();
    text.replace("/etc/kubernetes/pki/ca.crt", "")
}

#[test]
fn every_minor_takes_what_the_builder_renders_for_it() {
    let values = serde_json::json!({"kubelet": {
        "clusterDns": ["10.0.0.10"],
        "evictionHard": {"memory.available": "250Mi"},
        "kubeReserved": {"cpu": "100m", "memory": "256Mi"},
        "registerWithTaints": [{"key": "edge", "value": "true", "effect": "NoSchedule"}],
        "serverTlsBootstrap": true,
        "systemReserved": {"pid": "1000"},
        "tlsCipherSuites": ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
    }});
    for minor in MINORS {
        for target in [Target::Ubuntu2004, Target::Ubuntu2204] {
            for values in [&[][..], std::slice::from_ref(&values)] {
                let fields = parse(&rendered(minor, target, values), minor).unwrap();
                let config = Config::of(&fields, minor).unwrap();
                assert_eq!(config.cgroup_driver, "systemd");
                assert_eq!(config.taints.len(), usize::from(!values.is_empty()));
            }
        }
    }
}

#[test]
fn a_field_is_unknown_to_the_minors_before_it() {
    for (field, since) in [
        ("imageMaximumGCAge: 1h", 29),
        ("podLogsDir: /var/log/pods", 30),
        ("failCgroupV1: true", 31),
        ("crashLoopBackOff: {}", 32),
        ("mergeDefaultEvictionSettings: true", 33),
        ("memoryReservationPolicy: None", 36),
    ] {
        let name = field.split(':').next().unwrap();
        let before = format!("failed to decode: strict decoding error: unknown field \"{name}\"");
        assert_eq!(refusal(field, since - 1), before);
        let later = MINORS.filter(|minor| *minor >= since.max(if since == 29 { 30 } else { 0 }));
        for minor in later {
            assert!(read(field, minor).is_ok(), "{field} {minor}");
        }
    }
}

#[test]
fn mistakes_are_fatal_in_the_words_of_the_real_one() {
    for (text, words) in [
        ("maxPodz: 30", "unknown field \"maxPodz\""),
        ("maxpods: 30", "unknown field \"maxpods\""),
        ("authentication: {x509: {clientCaFile: /x}}", "unknown field \"authentication.x509.clientCaFile\""),
        ("maxPods: '30'", "cannot unmarshal string into Go struct field KubeletConfiguration.maxPods of type int32"),
        ("maxPods: 3000000000", "of type int32"),
        ("maxPods: 1.5", "of type int32"),
        ("failSwapOn: 'false'", "of type bool"),
        ("clusterDNS: 10.0.0.10", "of type []string"),
        ("evictionHard: {memory.available: 100}", "of type string"),
        ("featureGates: {NodeSwap: 'true'}", "of type bool"),
        ("syncFrequency: 60", "of type string"),
        ("syncFrequency: 1 minute", "time: unknown unit"),
        ("syncFrequency: '60'", "time: missing unit in duration \"60\""),
        ("maxPods: -1", "invalid configuration: maxPods (--max-pods) -1 must not be a negative number"),
        ("readOnlyPort: 70000", "readOnlyPort (--read-only-port) 70000 must be between 0 and 65535, inclusive"),
        ("imageGCHighThresholdPercent: 101", "must be between 0 and 100, inclusive"),
        (
            "{imageGCHighThresholdPercent: 80, imageGCLowThresholdPercent: 80}",
            "imageGCLowThresholdPercent (--image-gc-low-threshold) 80 must be less than \
             imageGCHighThresholdPercent (--image-gc-high-threshold) 80",
        ),
        ("maxParallelImagePulls: 5", "unless SerializeImagePulls"),
        ("imageMaximumGCAge: 1m", "must be greater than imageMinimumGCAge"),
        ("evictionHard: {memory.availible: 100Mi}", "unsupported eviction signal memory.availible"),
        ("evictionHard: {memory.available: 100MB}", "quantities must match"),
        ("evictionHard: {nodefs.available: 110%}", "must be <= 100%"),
        ("evictionSoft: {memory.available: 1Gi}", "grace period must be specified"),
        ("kubeReserved: {gpu: '1'}", "cannot reserve \"gpu\" resource"),
        ("systemReserved: {memory: lots}", "failed to parse quantity \"lots\""),
        ("cgroupDriver: Systemd", "option \"Systemd\" specified for cgroupDriver"),
        ("authorization: {mode: RBAC}", "unknown authorization mode RBAC"),
        ("tlsMinVersion: TLS12", "unknown tls version \"TLS12\""),
        ("tlsCipherSuites: [ECDHE-RSA-AES128-GCM-SHA256]", "not supported or doesn't exist"),
        ("authentication: {x509: {clientCAFile: /nowhere/ca.crt}}", "unable to load client CA file /nowhere/ca.crt"),
        ("registerWithTaints: [{key: edge, effect: Never}]", "invalid taint"),
        ("{serverTLSBootstrap: true, featureGates: {RotateKubeletServerCertificate: false}}", "requires feature gate"),
        ("runOnce: true", "Runonce mode has been deprecated"),
    ] {
        for minor in [30, 37] {
            let refusal = refusal(&format!("{}\n", flow(text)), minor);
            assert!(refusal.contains(words), "{text} at {minor}: {refusal}");
        }
    }
}

/// A mapping in braces is a document of its own; its fields follow the kind's.
fn flow(text: &str) -> String {
    match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        Some(fields) => {
            let (first, second) = fields.split_once(", ").unwrap();
            format!("{first}\n{second}")
        }
        None => text.to_owned(),
    }
}

#[test]
fn another_kind_or_version_is_no_configuration() {
    for head in ["kind: KubeletConfiguration", "apiVersion: kubelet.config.k8s.io/v1\nkind: KubeletConfiguration"] {
        assert!(format!("{:#}", parse(head, 30).unwrap_err()).contains("no kind"), "{head}");
    }
}

#[test]
fn a_flag_overrides_the_file() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("config.yaml");
    let text = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nfailSwapOn: true\n";
    fs::write(&path, text).unwrap();
    let arguments = [format!("--config={}", path.display()), "--fail-swap-on=false".to_owned()];
    assert!(!Config::read(&Flags::read(&arguments, 30).unwrap(), 30).unwrap().fails_on_swap);
    let arguments = [format!("--config={}", path.display()), "--max-pods=-1".to_owned()];
    assert!(Config::read(&Flags::read(&arguments, 30).unwrap(), 30).is_err());
}
