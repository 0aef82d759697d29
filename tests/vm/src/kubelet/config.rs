//! `KubeletConfiguration`: read strictly, with the command line over it, and checked as the real one checks it.
//!
//! One thing is stricter here. Of a field that it does not know, the real kubelet logs "Using lenient decoding as strict
//! decoding failed" and goes on without it (kubernetes `pkg/kubelet/kubeletconfig/util/codec`): whoever set it does not
//! get what was asked for. Here it is fatal, in the words of that log line.

mod decode;
mod fields;
mod resources;
mod rules;
mod tls;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value};

use super::flags::Flags;

/// What the kubelet does by it.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) cgroup_driver: String,
    pub(super) cluster_dns: Vec<String>,
    pub(super) cluster_domain: String,
    pub(super) fails_on_cgroup_v1: bool,
    pub(super) fails_on_swap: bool,
    pub(super) pod_logs: PathBuf,
    pub(super) protects_kernel_defaults: bool,
    pub(super) registers: bool,
    pub(super) resolv_conf: String,
    pub(super) runtime: String,
    pub(super) static_pods: Option<PathBuf>,
    pub(super) taints: Vec<Value>,
}

impl Config {
    /// As 1.`minor` reads the file of `--config`, with the other flags over it.
    pub(super) fn read(flags: &Flags, minor: u64) -> Result<Self> {
        let mut fields = match flags.text("config") {
            "" => Map::new(),
            path => {
                let context = || format!("failed to load kubelet config file, path: {path}, error");
                let text = fs::read_to_string(path).with_context(context)?;
                parse(&text, minor).with_context(context)?
            }
        };
        fields.extend(flags.fields()?);
        Self::of(&fields, minor)
    }

    /// As 1.`minor` takes the fields, which are of the right types.
    pub(super) fn of(fields: &Map<String, Value>, minor: u64) -> Result<Self> {
        let wrong = rules::broken(fields, minor);
        match wrong.as_slice() {
            [] => {}
            [one] => bail!("failed to validate kubelet configuration, error: {one}"),
            more => bail!("failed to validate kubelet configuration, error: [{}]", more.join(", ")),
        }
        resources::check(fields)?;
        tls::check(fields)?;
        let text = |name: &str, default: &str| match fields.get(name).and_then(Value::as_str) {
            Some("") | None => default.to_owned(),
            Some(text) => text.to_owned(),
        };
        let bool = |name: &str, default| fields.get(name).and_then(Value::as_bool).unwrap_or(default);
        let list = |name: &str| fields.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(Self {
            cgroup_driver: text("cgroupDriver", "cgroupfs"),
            cluster_dns: list("clusterDNS").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            cluster_domain: text("clusterDomain", ""),
            fails_on_cgroup_v1: minor >= 31 && bool("failCgroupV1", minor >= 35),
            fails_on_swap: bool("failSwapOn", true),
            pod_logs: text("podLogsDir", "/var/log/pods").into(),
            protects_kernel_defaults: bool("protectKernelDefaults", false),
            registers: bool("registerNode", true),
            resolv_conf: text("resolvConf", "/etc/resolv.conf"),
            runtime: text("containerRuntimeEndpoint", RUNTIME),
            static_pods: Some(text("staticPodPath", "")).filter(|path| !path.is_empty()).map(Into::into),
            taints: list("registerWithTaints"),
        })
    }
}

/// The default of `containerRuntimeEndpoint` on Linux.
const RUNTIME: &str = "unix:///run/containerd/containerd.sock";

/// The fields of a file's text, without its kind.
pub(super) fn parse(text: &str, minor: u64) -> Result<Map<String, Value>> {
    let mut fields: Map<String, Value> = serde_yaml::from_str(text).context("failed to decode")?;
    let kind = fields.shift_remove("kind").unwrap_or_default();
    let version = fields.shift_remove("apiVersion").unwrap_or_default();
    ensure!(
        kind == "KubeletConfiguration" && version == "kubelet.config.k8s.io/v1beta1",
        "failed to decode: no kind {kind} is registered for version {version}"
    );
    decode::object("KubeletConfiguration", &fields, fields::CONFIGURATION, minor).context("failed to decode")?;
    fields.retain(|_, value| !value.is_null());
    Ok(fields)
}

#[cfg(test)]
mod tests;
