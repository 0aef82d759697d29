//! The container runtime as the kubelet judges it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::cri::message::{
    CgroupDriver, RuntimeCondition, RuntimeConfigRequest, RuntimeConfigResponse, StatusRequest, StatusResponse,
    VersionRequest, VersionResponse,
};
use crate::cri::{Asked as _, Runtime};

/// So long a silent runtime counts as up; kubernetes `pkg/kubelet/kubelet.go`, `maxWaitForContainerRuntime`.
const GRACE: Duration = Duration::from_secs(30);

/// The default of `runtimeRequestTimeout`.
const PATIENCE: Duration = Duration::from_secs(120);

/// A runtime, and when it last answered.
pub(super) struct Judged {
    pub(super) runtime: Runtime,
    /// Name and version, as a Node tells them.
    pub(super) version: String,
    heard: Option<Instant>,
}

impl Judged {
    /// Connects. A runtime that is not there, or speaks another version, ends the kubelet; systemd starts it again.
    pub(super) async fn connect(endpoint: &str) -> Result<Self> {
        let context = || {
            format!(
                "failed to run Kubelet: validate service connection: validate CRI v1 runtime API for endpoint \
                 {endpoint:?}"
            )
        };
        let runtime = Runtime::at(endpoint, PATIENCE).with_context(context)?;
        let question = VersionRequest { version: "v1".to_owned() };
        let answer: VersionResponse = runtime.runtime("Version", question).await.asked("ask for its version")?;
        ensure!(answer.runtime_api_version == "v1", "{}: it speaks {:?}", context(), answer.runtime_api_version);
        let version = format!("{}://{}", answer.runtime_name, answer.runtime_version.trim_start_matches('v'));
        Ok(Self { runtime, version, heard: None })
    }

    /// How cgroups are driven: from 1.31 on as the runtime does, where it tells, else as the configuration says.
    pub(super) async fn cgroup_driver(&self, configured: &str, minor: u64) -> String {
        if minor < 31 {
            return configured.to_owned();
        }
        let told: Result<RuntimeConfigResponse, _> =
            self.runtime.runtime("RuntimeConfig", RuntimeConfigRequest {}).await;
        match told.ok().and_then(|told| told.linux).map(|linux| linux.cgroup_driver()) {
            Some(CgroupDriver::Systemd) => "systemd".to_owned(),
            Some(CgroupDriver::Cgroupfs) => "cgroupfs".to_owned(),
            None => configured.to_owned(),
        }
    }

    /// Why the Node is not ready, or nothing; in the words of kubernetes `pkg/kubelet/runtime.go` and `kubelet.go`.
    pub(super) async fn trouble(&mut self) -> Option<String> {
        let answer: Result<StatusResponse, _> = self.runtime.runtime("Status", StatusRequest { verbose: false }).await;
        let conditions = match answer {
            Ok(answer) => answer.status.unwrap_or_default().conditions,
            Err(_) => {
                return match self.heard {
                    None => Some("container runtime status check may not have completed yet".to_owned()),
                    Some(heard) if heard.elapsed() > GRACE => Some("container runtime is down".to_owned()),
                    Some(_) => None,
                };
            }
        };
        self.heard = Some(Instant::now());
        trouble(&conditions)
    }
}

fn trouble(conditions: &[RuntimeCondition]) -> Option<String> {
    let find = |kind: &str| conditions.iter().find(|condition| condition.r#type == kind);
    let told = |condition: Option<&RuntimeCondition>| match condition {
        Some(RuntimeCondition { r#type, status, reason, message }) => {
            format!("{type}={status} reason:{reason} message:{message}")
        }
        None => "condition is missing".to_owned(),
    };
    let (runtime, network) = (find("RuntimeReady"), find("NetworkReady"));
    let is_true = |condition: Option<&RuntimeCondition>| condition.is_some_and(|condition| condition.status);
    let mut troubles = Vec::new();
    if !is_true(runtime) {
        troubles.push(format!("container runtime not ready: {}", told(runtime)));
    }
    if !is_true(network) {
        troubles.push(format!("container runtime network not ready: {}", told(network)));
    }
    match troubles.len() {
        0 => None,
        1 => troubles.pop(),
        _ => Some(format!("[{}]", troubles.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str, status: bool) -> RuntimeCondition {
        let reason = if status { "" } else { "NetworkPluginNotReady" };
        RuntimeCondition {
            r#type: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message: "cni plugin not initialized".to_owned(),
        }
    }

    #[test]
    fn a_node_is_ready_when_runtime_and_network_are() {
        let runtime = condition("RuntimeReady", true);
        assert_eq!(trouble(&[runtime.clone(), condition("NetworkReady", true)]), None);
        let told = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady \
                    message:cni plugin not initialized";
        assert_eq!(trouble(&[runtime, condition("NetworkReady", false)]).as_deref(), Some(told));
        assert!(trouble(&[]).unwrap().starts_with("[container runtime not ready: "));
    }
}
