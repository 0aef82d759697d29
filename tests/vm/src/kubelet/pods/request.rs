//! A pod as the runtime is asked for it, in the terms of kubernetes `pkg/kubelet/kuberuntime`: best effort, no volumes.

use std::fs;

use anyhow::Result;

use super::dns;
use super::manifest::{Container, Pod};
use super::{Strings, logs, make_logs};
use crate::cri::message::container::{
    ContainerConfig, ContainerMetadata, ContainerSecurity, KeyValue, LinuxContainerConfig, LinuxContainerResources,
};
use crate::cri::message::image::ImageSpec;
use crate::cri::message::sandbox::{
    LinuxPodSandboxConfig, NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata, ProfileType,
    SandboxSecurity, SecurityProfile,
};
use crate::kubelet::config::Config;

/// By which a restarted kubelet finds its pods and containers, and crictl shows them.
pub(super) const POD_UID: &str = "io.kubernetes.pod.uid";
pub(super) const CONTAINER_NAME: &str = "io.kubernetes.container.name";

/// What the default of `procMount` hides, and what it makes read-only.
const MASKED: [&str; 9] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub(super) fn sandbox(pod: &Pod, attempt: u32, config: &Config, driver: &str) -> Result<PodSandboxConfig> {
    let dir = logs(pod, config);
    fs::create_dir_all(&dir)?;
    let mut labels = pod.labels.clone();
    labels.extend(identity(pod));
    let hostname = if pod.spec.host_network { String::new() } else { pod.name.chars().take(63).collect() };
    Ok(PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            namespace: pod.namespace.clone(),
            attempt,
        }),
        hostname,
        log_directory: dir.to_string_lossy().into_owned(),
        dns_config: Some(dns::of(pod, config)?),
        labels,
        annotations: pod.annotations.clone(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: cgroup(pod, driver),
            security_context: Some(SandboxSecurity {
                namespace_options: Some(namespaces(pod)),
                seccomp: Some(unconfined()),
            }),
        }),
    })
}

pub(super) fn container(
    pod: &Pod,
    container: &Container,
    image: &str,
    attempt: u32,
    config: &Config,
) -> Result<ContainerConfig> {
    make_logs(pod, &container.name, config)?;
    let mut labels = identity(pod);
    labels.insert(CONTAINER_NAME.to_owned(), container.name.clone());
    let annotations = [("io.kubernetes.container.restartCount".to_owned(), attempt.to_string())].into();
    let envs = container.env.iter().map(|one| KeyValue { key: one.name.clone(), value: one.value.clone() }).collect();
    Ok(ContainerConfig {
        metadata: Some(ContainerMetadata { name: container.name.clone(), attempt }),
        image: Some(ImageSpec { image: image.to_owned(), user_specified_image: container.image.clone() }),
        command: container.command.clone(),
        args: container.args.clone(),
        working_dir: container.working_dir.clone(),
        envs,
        labels,
        annotations,
        log_path: format!("{}/{attempt}.log", container.name),
        linux: Some(LinuxContainerConfig {
            resources: Some(LinuxContainerResources { cpu_shares: 2, oom_score_adj: 1000 }),
            security_context: Some(ContainerSecurity {
                namespace_options: Some(namespaces(pod)),
                masked_paths: MASKED.map(str::to_owned).into(),
                readonly_paths: READ_ONLY.map(str::to_owned).into(),
                seccomp: Some(unconfined()),
            }),
        }),
    })
}

fn identity(pod: &Pod) -> Strings {
    let pairs =
        [("io.kubernetes.pod.name", &pod.name), ("io.kubernetes.pod.namespace", &pod.namespace), (POD_UID, &pod.uid)];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect()
}

/// systemd makes the slices above by their names.
fn cgroup(pod: &Pod, driver: &str) -> String {
    match driver {
        "systemd" => format!("kubepods-besteffort-pod{}.slice", pod.uid.replace('-', "_")),
        _ => format!("/kubepods/besteffort/pod{}", pod.uid),
    }
}

fn namespaces(pod: &Pod) -> NamespaceOption {
    let network = if pod.spec.host_network { NamespaceMode::Node } else { NamespaceMode::Pod };
    NamespaceOption { network: network.into(), pid: NamespaceMode::Container.into(), ipc: NamespaceMode::Pod.into() }
}

/// Without `seccompDefault`, no profile is laid on what asks for none.
fn unconfined() -> SecurityProfile {
    SecurityProfile { profile_type: ProfileType::Unconfined.into() }
}
