//! The rules about values, from kubernetes `pkg/kubelet/apis/config/validation`, in its words. Left out are those of
//! fields that no template and no value of the builder sets, and whether a feature gate's name exists.

use serde_json::{Map, Value};

use super::fields::CONFIGURATION;
use crate::kubelet::{duration, taint};

/// The rules that fields break.
pub(super) fn broken(fields: &Map<String, Value>, minor: u64) -> Vec<String> {
    debug_assert!(fields.keys().all(|name| CONFIGURATION.iter().any(|(known, ..)| known == name)));
    let rules = Rules { fields, minor };
    let numbers = NUMBERS.iter().filter_map(|(name, flag, range)| rules.number(name, flag, range));
    let wrong = numbers.chain(rules.images()).chain(rules.gates()).chain(rules.taints()).chain(rules.words());
    wrong.map(|wrong| format!("invalid configuration: {wrong}")).collect()
}

/// Which numbers are allowed.
enum Range {
    NotNegative,
    /// Between these two, inclusive.
    Between(i64, i64),
    /// Such a number, or 0.
    Port(i64),
    Positive,
}

#[rustfmt::skip]
const NUMBERS: [(&str, &str, Range); 20] = [
    ("containerLogMaxFiles", "", Range::Between(2, i64::MAX)),
    ("eventBurst", "--event-burst", Range::NotNegative),
    ("eventRecordQPS", "--event-qps", Range::NotNegative),
    ("healthzPort", "--healthz-port", Range::Port(1)),
    ("imageGCHighThresholdPercent", "--image-gc-high-threshold", Range::Between(0, 100)),
    ("imageGCLowThresholdPercent", "--image-gc-low-threshold", Range::Between(0, 100)),
    ("iptablesDropBit", "--iptables-drop-bit", Range::Between(0, 31)),
    ("iptablesMasqueradeBit", "--iptables-masquerade-bit", Range::Between(0, 31)),
    ("kubeAPIBurst", "--kube-api-burst", Range::NotNegative),
    ("kubeAPIQPS", "--kube-api-qps", Range::NotNegative),
    ("maxOpenFiles", "--max-open-files", Range::NotNegative),
    ("maxParallelImagePulls", "", Range::Positive),
    ("maxPods", "--max-pods", Range::NotNegative),
    ("nodeStatusMaxImages", "--node-status-max-images", Range::Between(-1, i64::MAX)),
    ("oomScoreAdj", "--oom-score-adj", Range::Between(-1000, 1000)),
    ("podsPerCore", "--pods-per-core", Range::NotNegative),
    ("port", "--port", Range::Between(1, 65535)),
    ("readOnlyPort", "--read-only-port", Range::Port(0)),
    ("registryBurst", "--registry-burst", Range::NotNegative),
    ("registryPullQPS", "--registry-qps", Range::NotNegative),
];

struct Rules<'a> {
    fields: &'a Map<String, Value>,
    minor: u64,
}

impl Rules<'_> {
    fn number(&self, name: &str, flag: &str, range: &Range) -> Option<String> {
        let number = self.fields.get(name).and_then(Value::as_i64)?;
        let (fits, must) = match range {
            Range::NotNegative => (number >= 0, "must not be a negative number".to_owned()),
            Range::Positive => (number > 0, "must be a positive number".to_owned()),
            Range::Between(from, i64::MAX) => (number >= *from, format!("must be {from} or greater")),
            Range::Between(from, to) => {
                ((*from..=*to).contains(&number), format!("must be between {from} and {to}, inclusive"))
            }
            Range::Port(from) => {
                ((0..=65535).contains(&number), format!("must be between {from} and 65535, inclusive"))
            }
        };
        let flag = if flag.is_empty() { String::new() } else { format!(" ({flag})") };
        (!fits).then(|| format!("{name}{flag} {number} {must}"))
    }

    fn images(&self) -> Vec<String> {
        let number = |name: &str, default| self.fields.get(name).and_then(Value::as_i64).unwrap_or(default);
        let high = number("imageGCHighThresholdPercent", 85);
        let low = number("imageGCLowThresholdPercent", 80);
        let mut wrong = Vec::new();
        if low >= high {
            wrong.push(format!(
                "imageGCLowThresholdPercent (--image-gc-low-threshold) {low} must be less than \
                 imageGCHighThresholdPercent (--image-gc-high-threshold) {high}"
            ));
        }
        if self.fields.get("serializeImagePulls") != Some(&Value::Bool(false)) && number("maxParallelImagePulls", 1) > 1
        {
            wrong.push(
                "maxParallelImagePulls cannot be larger than 1 unless SerializeImagePulls (--serialize-image-pulls) \
                 is set to false"
                    .to_owned(),
            );
        }
        let age = |name: &str, default: &str| {
            let text = self.fields.get(name).and_then(Value::as_str).unwrap_or(default);
            duration::parse(text).unwrap_or_default()
        };
        let (least, most) = (age("imageMinimumGCAge", "2m"), age("imageMaximumGCAge", "0s"));
        if most > 0.0 && most <= least {
            wrong.push(format!("imageMaximumGCAge {most}s must be greater than imageMinimumGCAge {least}s"));
        }
        wrong
    }

    /// What needs a feature gate that is not on.
    fn gates(&self) -> Vec<String> {
        let on = |gate: &str, default| self.fields["featureGates"][gate].as_bool().unwrap_or(default);
        let gates = self.fields.get("featureGates");
        let on = |gate: &str, default| if gates.is_some() { on(gate, default) } else { default };
        let set = |name: &str| self.fields.get(name).is_some_and(|value| *value == Value::Bool(true));
        let mut wrong = Vec::new();
        if set("serverTLSBootstrap") && !on("RotateKubeletServerCertificate", true) {
            wrong.push("serverTLSBootstrap true requires feature gate RotateKubeletServerCertificate".to_owned());
        }
        if self.fields.contains_key("imageMaximumGCAge") && !on("ImageMaximumGCAge", self.minor >= 30) {
            wrong.push(
                "ImageMaximumGCAge feature gate is required for Kubelet configuration option imageMaximumGCAge"
                    .to_owned(),
            );
        }
        if set("runOnce") {
            wrong.push("runOnce (--runOnce) true, Runonce mode has been deprecated and should not be set".to_owned());
        }
        wrong
    }

    fn taints(&self) -> Vec<String> {
        let taints = self.fields.get("registerWithTaints").and_then(Value::as_array).into_iter().flatten();
        let wrong = |taint: &&Value| !taint::is_valid(taint) || !taint["timeAdded"].is_null();
        taints.filter(wrong).map(|taint| format!("invalid taint: {taint}")).collect()
    }

    /// Fields that take one of a few words.
    fn words(&self) -> Vec<String> {
        let among = |name: &str, allowed: &[&str]| {
            let word = self.fields.get(name).and_then(Value::as_str).filter(|word| !word.is_empty())?;
            (!allowed.contains(&word))
                .then(|| format!("option {word:?} specified for {name}. Valid options are {allowed:?}"))
        };
        let wrong = [
            among("cgroupDriver", &["cgroupfs", "systemd"]),
            among("hairpinMode", &["none", "hairpin-veth", "promiscuous-bridge"]),
            among("topologyManagerPolicy", &["none", "best-effort", "restricted", "single-numa-node"]),
            among("topologyManagerScope", &["container", "pod"]),
            among("memoryReservationPolicy", &["None", "TieredReservation"]),
        ];
        let mode = self.fields.get("authorization").and_then(|part| part["mode"].as_str()).unwrap_or_default();
        let mode =
            (!["", "AlwaysAllow", "Webhook"].contains(&mode)).then(|| format!("unknown authorization mode {mode}"));
        wrong.into_iter().flatten().chain(mode).collect()
    }
}
