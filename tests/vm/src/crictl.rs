//! crictl's stand-in at work: what runs, asked of the runtime that `/etc/crictl.yaml` names. Lists come as the JSON of
//! `-o json`, cut to what is known here; tables are the real one's to print.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cri::message::container::{ContainerState, ListContainersRequest, ListContainersResponse};
use crate::cri::message::image::{ListImagesRequest, ListImagesResponse};
use crate::cri::message::sandbox::{ListPodSandboxRequest, ListPodSandboxResponse, SandboxState};
use crate::cri::message::{StatusRequest, StatusResponse};
use crate::cri::{Asked as _, Runtime};

/// The file of the bundle; crictl refuses a key that it does not know.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Config {
    runtime_endpoint: String,
    image_endpoint: String,
    timeout: u64,
    #[serde(rename = "debug")]
    _debug: bool,
}

/// The answer to a list that is asked for as JSON, or nothing where another thing is asked for.
pub(crate) fn answer(arguments: &[&str]) -> Option<Result<String>> {
    let what = match arguments {
        [what, "-o" | "--output", "json"] | [what, "-ojson" | "--output=json"] => *what,
        ["info"] => "info",
        _ => return None,
    };
    ["ps", "pods", "images", "info"].contains(&what).then(|| list(Path::new("/etc/crictl.yaml"), what))
}

fn list(path: &Path, what: &str) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let asked = runtime.block_on(async {
        let config = read(path)?;
        let patience = Duration::from_secs(config.timeout);
        let endpoint = if what == "images" { &config.image_endpoint } else { &config.runtime_endpoint };
        ask(&Runtime::at(endpoint, patience)?, what).await
    })?;
    serde_json::to_string_pretty(&asked).context("write the answer")
}

fn read(path: &Path) -> Result<Config> {
    let context = || format!("load config file `{}`", path.display());
    serde_yaml::from_str(&fs::read_to_string(path).with_context(context)?).with_context(context)
}

async fn ask(runtime: &Runtime, what: &str) -> Result<Value> {
    Ok(match what {
        "ps" => {
            let all: ListContainersResponse =
                runtime.runtime("ListContainers", ListContainersRequest {}).await.asked("list containers")?;
            // Without `-a`, those that run.
            let running = all.containers.iter().filter(|one| one.state() == ContainerState::Running);
            let shown = running.map(|one| {
                let metadata = one.metadata.clone().unwrap_or_default();
                json!({
                    "id": one.id, "podSandboxId": one.pod_sandbox_id, "imageRef": one.image_ref,
                    "metadata": {"name": metadata.name, "attempt": metadata.attempt},
                    "image": {"image": one.image.clone().unwrap_or_default().image},
                    "state": "CONTAINER_RUNNING", "createdAt": one.created_at.to_string(), "labels": one.labels,
                })
            });
            json!({"containers": shown.collect::<Vec<_>>()})
        }
        "pods" => {
            let all: ListPodSandboxResponse =
                runtime.runtime("ListPodSandbox", ListPodSandboxRequest {}).await.asked("list pods")?;
            let shown = all.items.iter().map(|one| {
                let metadata = one.metadata.clone().unwrap_or_default();
                let state = if one.state() == SandboxState::Ready { "SANDBOX_READY" } else { "SANDBOX_NOTREADY" };
                json!({
                    "id": one.id, "state": state, "createdAt": one.created_at.to_string(),
                    "metadata": {
                        "name": metadata.name, "uid": metadata.uid, "namespace": metadata.namespace,
                        "attempt": metadata.attempt,
                    },
                    "labels": one.labels, "annotations": one.annotations,
                })
            });
            json!({"items": shown.collect::<Vec<_>>()})
        }
        "images" => {
            let all: ListImagesResponse =
                runtime.image("ListImages", ListImagesRequest {}).await.asked("list images")?;
            let shown = all.images.iter().map(|one| {
                json!({
                    "id": one.id, "repoTags": one.repo_tags, "repoDigests": one.repo_digests,
                    "size": one.size.to_string(), "pinned": one.pinned,
                })
            });
            json!({"images": shown.collect::<Vec<_>>()})
        }
        "info" => {
            let answer: StatusResponse =
                runtime.runtime("Status", StatusRequest { verbose: true }).await.asked("ask for the status")?;
            let conditions = answer.status.unwrap_or_default().conditions.into_iter().map(
                |one| json!({"type": one.r#type, "status": one.status, "reason": one.reason, "message": one.message}),
            );
            json!({"status": {"conditions": conditions.collect::<Vec<_>>()}})
        }
        _ => bail!("unknown list {what}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundles_file_is_read_and_one_with_another_key_is_refused() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("crictl.yaml");
        let bundled = include_str!("../../../templates/etc/crictl.yaml");
        fs::write(&path, bundled).unwrap();
        let config = read(&path).unwrap();
        assert_eq!(config.runtime_endpoint, "unix:///run/containerd/containerd.sock");
        assert_eq!(config.timeout, 10);
        fs::write(&path, format!("{bundled}pull-image-on-creation: true\n")).unwrap();
        assert!(read(&path).is_err());
    }

    #[test]
    fn only_lists_as_json_are_answered() {
        assert!(answer(&["ps"]).is_none());
        assert!(answer(&["rm", "-o", "json"]).is_none());
    }
}
