//! Static pods, run through the container runtime: started where they are missing, left alone where they run, ended where
//! their manifest is gone.

mod dns;
mod manifest;
mod request;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use self::manifest::{Container, Pod, PullPolicy, read_all};
use self::request::{CONTAINER_NAME, POD_UID};
use super::config::Config;
use crate::cri::message::Done;
use crate::cri::message::container::{
    self, ContainerRequest, ContainerState, CreateContainerRequest, CreateContainerResponse, ListContainersRequest,
    ListContainersResponse,
};
use crate::cri::message::image::{
    ImageSpec, ImageStatusRequest, ImageStatusResponse, PullImageRequest, PullImageResponse,
};
use crate::cri::message::sandbox::{
    ListPodSandboxRequest, ListPodSandboxResponse, PodSandbox, PodSandboxStatusRequest, PodSandboxStatusResponse,
    RunPodSandboxRequest, RunPodSandboxResponse, SandboxRequest, SandboxState,
};
use crate::cri::{Asked as _, Runtime};

/// A pod and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodState {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) address: String,
    pub(super) containers: Vec<ContainerReport>,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContainerReport {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) state: Running,
}

/// Whether it runs; if not, the reason and the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Running {
    Yes { id: String, restarts: u32 },
    No { reason: &'static str, message: String },
}

/// The pods of a node.
pub(super) struct Pods {
    runtime: Runtime,
    config: Config,
    node: String,
    cgroup_driver: String,
    /// What failed, and when it is tried again.
    failed: HashMap<String, Failed>,
    complained: Vec<String>,
}

struct Failed {
    again: Instant,
    pause: Duration,
    running: Running,
}

impl Pods {
    pub(super) fn new(runtime: Runtime, config: Config, node: String, cgroup_driver: String) -> Self {
        Self { runtime, config, node, cgroup_driver, failed: HashMap::new(), complained: Vec::new() }
    }

    /// Brings the runtime's pods to what the manifests say, and tells how they are.
    pub(super) async fn sync(&mut self) -> Result<Vec<PodState>> {
        let Some(dir) = self.config.static_pods.clone() else { return Ok(Vec::new()) };
        let (pods, wrong) = read_all(&dir, &self.node);
        if wrong != self.complained {
            wrong.iter().for_each(|wrong| eprintln!("E {wrong}"));
            self.complained = wrong;
        }
        let sandboxes: ListPodSandboxResponse =
            self.runtime.runtime("ListPodSandbox", ListPodSandboxRequest {}).await.asked("list pods")?;
        let containers: ListContainersResponse =
            self.runtime.runtime("ListContainers", ListContainersRequest {}).await.asked("list containers")?;
        self.end_others(&pods, &sandboxes.items).await?;
        let mut states = Vec::new();
        for pod in &pods {
            states.push(self.run(pod, &sandboxes.items, &containers.containers).await?);
        }
        Ok(states)
    }

    /// Ends Kubernetes' pods that no manifest asks for; what others run in the same containerd has no such label.
    async fn end_others(&self, pods: &[Pod], sandboxes: &[PodSandbox]) -> Result<()> {
        for sandbox in sandboxes {
            let Some(uid) = sandbox.labels.get(POD_UID) else { continue };
            if !pods.iter().any(|pod| pod.uid == *uid) {
                eprintln!("I pod {uid} is no longer wanted");
                self.end(&sandbox.id).await?;
            }
        }
        Ok(())
    }

    async fn end(&self, sandbox: &str) -> Result<()> {
        let question = SandboxRequest { pod_sandbox_id: sandbox.to_owned() };
        let _: Done = self.runtime.runtime("StopPodSandbox", question.clone()).await.asked("stop a pod")?;
        let _: Done = self.runtime.runtime("RemovePodSandbox", question).await.asked("remove a pod")?;
        Ok(())
    }

    async fn run(
        &mut self,
        pod: &Pod,
        sandboxes: &[PodSandbox],
        containers: &[container::Container],
    ) -> Result<PodState> {
        let mut state = PodState {
            name: pod.name.clone(),
            namespace: pod.namespace.clone(),
            uid: pod.uid.clone(),
            address: String::new(),
            containers: Vec::new(),
        };
        let sandbox = match self.try_again(&pod.uid) {
            Ok(()) => self.sandbox(pod, sandboxes).await,
            Err(waiting) => Err(waiting),
        };
        let (id, attempt) = match sandbox {
            Ok(sandbox) => {
                self.failed.remove(&pod.uid);
                sandbox
            }
            Err(running) => {
                self.put_off(&pod.uid, &running);
                let waiting = |container: &Container| report(container, running.clone());
                state.containers = pod.spec.containers.iter().map(waiting).collect();
                return Ok(state);
            }
        };
        let question = PodSandboxStatusRequest { pod_sandbox_id: id.clone() };
        let status: PodSandboxStatusResponse =
            self.runtime.runtime("PodSandboxStatus", question).await.asked("ask for a pod's address")?;
        state.address = status.status.and_then(|status| status.network).unwrap_or_default().ip;
        for container in &pod.spec.containers {
            let named = |other: &&container::Container| {
                other.labels.get(CONTAINER_NAME).is_some_and(|name| *name == container.name)
            };
            let mine = containers.iter().filter(|other| other.pod_sandbox_id == id).filter(named);
            let newest = mine.max_by_key(|other| other.metadata.as_ref().map_or(0, |metadata| metadata.attempt));
            let running = self.container(pod, container, (&id, attempt), newest).await;
            state.containers.push(report(container, running));
        }
        Ok(state)
    }

    /// The pod's sandbox: the ready one, or a new one in the place of those that are not; with its attempt.
    async fn sandbox(&self, pod: &Pod, sandboxes: &[PodSandbox]) -> Result<(String, u32), Running> {
        let mine: Vec<_> = sandboxes.iter().filter(|other| other.labels.get(POD_UID) == Some(&pod.uid)).collect();
        let attempt = |other: &PodSandbox| other.metadata.as_ref().map_or(0, |metadata| metadata.attempt);
        if let Some(ready) = mine.iter().find(|other| other.state() == SandboxState::Ready) {
            return Ok((ready.id.clone(), attempt(ready)));
        }
        let next = mine.iter().map(|other| attempt(other) + 1).max().unwrap_or(0);
        let made = async {
            for old in &mine {
                self.end(&old.id).await?;
            }
            let config = request::sandbox(pod, next, &self.config, &self.cgroup_driver)?;
            eprintln!("I starting pod {}", pod.name);
            let question = RunPodSandboxRequest { config: Some(config) };
            let answer: RunPodSandboxResponse =
                self.runtime.runtime("RunPodSandbox", question).await.asked("Failed to create pod sandbox")?;
            Ok::<_, anyhow::Error>(answer.pod_sandbox_id)
        };
        match made.await {
            Ok(id) => Ok((id, next)),
            Err(error) => Err(Running::No { reason: "ContainerCreating", message: format!("{error:#}") }),
        }
    }

    async fn container(
        &mut self,
        pod: &Pod,
        container: &Container,
        (sandbox, attempt): (&str, u32),
        newest: Option<&container::Container>,
    ) -> Running {
        let restarts = newest.map_or(0, |newest| newest.metadata.as_ref().map_or(0, |metadata| metadata.attempt + 1));
        if let Some(newest) = newest
            && newest.state() == ContainerState::Running
        {
            return Running::Yes { id: newest.id.clone(), restarts: restarts - 1 };
        }
        let key = format!("{}/{}/{}", pod.uid, sandbox, container.name);
        if let Err(waiting) = self.try_again(&key) {
            return waiting;
        }
        // One that has ended is started again after a pause, one that never ran at once.
        if newest.is_some_and(|newest| newest.state() == ContainerState::Exited) && !self.failed.contains_key(&key) {
            let message = format!("back-off restarting failed container={} pod={}", container.name, pod.name);
            let running = Running::No { reason: "CrashLoopBackOff", message };
            self.put_off(&key, &running);
            return running;
        }
        match self.start(pod, container, (sandbox, attempt), restarts).await {
            Ok(id) => {
                self.failed.remove(&key);
                Running::Yes { id, restarts }
            }
            Err(running) => {
                self.put_off(&key, &running);
                running
            }
        }
    }

    async fn start(
        &self,
        pod: &Pod,
        container: &Container,
        (sandbox, sandbox_attempt): (&str, u32),
        attempt: u32,
    ) -> Result<String, Running> {
        let because = |reason| move |error: anyhow::Error| Running::No { reason, message: format!("{error:#}") };
        let sandbox_config = request::sandbox(pod, sandbox_attempt, &self.config, &self.cgroup_driver)
            .map_err(because("CreateContainerConfigError"))?;
        let image = self.image(container).await?;
        let config = request::container(pod, container, &image, attempt, &self.config)
            .map_err(because("CreateContainerConfigError"))?;
        let question = CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        let created: Result<CreateContainerResponse, _> = self.runtime.runtime("CreateContainer", question).await;
        let id = created.asked("create a container").map_err(because("CreateContainerError"))?.container_id;
        let question = ContainerRequest { container_id: id.clone() };
        let started: Result<Done, _> = self.runtime.runtime("StartContainer", question).await;
        started.asked("start a container").map_err(because("RunContainerError"))?;
        eprintln!("I started container {} of pod {}", container.name, pod.name);
        Ok(id)
    }

    /// The id of a container's image; pulled where the policy says so, which needs a network.
    async fn image(&self, container: &Container) -> Result<String, Running> {
        let spec = ImageSpec { image: container.image.clone(), ..ImageSpec::default() };
        let policy = container.pull_policy();
        let because = |reason, message| Running::No { reason, message };
        if policy != PullPolicy::Always {
            let question = ImageStatusRequest { image: Some(spec.clone()) };
            let found: Result<ImageStatusResponse, _> = self.runtime.image("ImageStatus", question).await;
            let found = found.asked("look for an image");
            if let Some(image) = found.map_err(|error| because("ImageInspectError", format!("{error:#}")))?.image {
                return Ok(image.id);
            }
        }
        if policy == PullPolicy::Never {
            let message = format!("Container image {:?} is not present with pull policy of Never", container.image);
            return Err(because("ErrImageNeverPull", message));
        }
        let question = PullImageRequest { image: Some(spec), sandbox_config: None };
        let pulled: Result<PullImageResponse, _> = self.runtime.image("PullImage", question).await;
        let pulled = pulled.asked(&format!("failed to pull image {:?}", container.image));
        Ok(pulled.map_err(|error| because("ErrImagePull", format!("{error:#}")))?.image_ref)
    }

    /// Whether it is time for what failed before; if not, how it failed.
    fn try_again(&self, key: &str) -> Result<(), Running> {
        match self.failed.get(key) {
            Some(failed) if failed.again > Instant::now() => Err(failed.running.clone()),
            _ => Ok(()),
        }
    }

    /// Ten seconds at first, twice as many each time, five minutes at most: kubernetes `pkg/kubelet/kubelet.go`.
    fn put_off(&mut self, key: &str, running: &Running) {
        if self.try_again(key).is_err() {
            return;
        }
        if let Running::No { reason, message } = running {
            eprintln!("E {key}: {reason}: {message}");
        }
        let before = self.failed.get(key).map_or(Duration::from_secs(5), |failed| failed.pause);
        let pause = (before * 2).min(Duration::from_secs(300));
        let failed = Failed { again: Instant::now() + pause, pause, running: running.clone() };
        self.failed.insert(key.to_owned(), failed);
    }
}

fn report(container: &Container, state: Running) -> ContainerReport {
    ContainerReport { name: container.name.clone(), image: container.image.clone(), state }
}

/// What Kubernetes calls a map of labels or annotations.
type Strings = BTreeMap<String, String>;

/// The folder of a pod's logs.
fn logs(pod: &Pod, config: &Config) -> PathBuf {
    config.pod_logs.join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid))
}

/// Makes the folder of a container's log; the runtime does not.
fn make_logs(pod: &Pod, container: &str, config: &Config) -> Result<()> {
    let dir = logs(pod, config).join(container);
    std::fs::create_dir_all(&dir).with_context(|| format!("create pod log directory {}", dir.display()))
}
