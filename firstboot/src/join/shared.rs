//! What all steps of a join share, and the one retry.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Result;

use crate::api_server::Api;
use crate::arm::{Arm, Caller, Cluster, MachineId};
use crate::cloud::Authority;
use crate::config::{Operator, Settings};
use crate::credential::Credential;
use crate::failure::{Exit, Failure};
use crate::himds::Himds;
use crate::host::Host;
use crate::http::{HttpError, Network};
use crate::kubeconfig::ApiServer;
use crate::marker::Marker;
use crate::progress::Progress;
use crate::retry::{Pause, Schedule, Verdict, retry};
use crate::state::Step;

/// What all steps share.
pub(crate) struct Join<'a> {
    pub(crate) host: &'a Host,
    pub(crate) settings: &'a Settings,
    pub(crate) progress: &'a Progress,
    /// Name of the Node.
    pub(crate) node: String,
    /// The machine's resource in Azure Arc.
    pub(crate) machine: MachineId,
    pub(crate) network: Network,
    pub(crate) arm: Arm,
    pub(crate) operator: Credential,
    pub(crate) himds: Himds,
    /// Of tokens for Azure Resource Manager.
    pub(crate) audience: String,
    /// Whether this run has restarted himdsd.
    pub(crate) himdsd_restarted: AtomicBool,
    authority: Authority,
}

impl<'a> Join<'a> {
    pub(super) async fn begin(
        host: &'a Host,
        settings: &'a Settings,
        progress: &'a Progress,
        known: Option<&Marker>,
    ) -> Result<Self> {
        let node = host.node_name(settings.node.name.as_ref())?;
        let name = settings.arc.name.clone().unwrap_or_else(|| node.clone());
        if name.len() > 54 {
            let message = format!("the node's name {name} is too long for Azure Arc, which takes 54 characters");
            return Err(Failure::new(Exit::BadConfig, message, "set azure.arc.machineName").into());
        }
        let machine = MachineId {
            subscription: settings.cluster.subscription.clone(),
            resource_group: settings.arc.resource_group.clone(),
            name,
        };
        let network = Network::new(settings.proxy.clone(), host.pace);
        let client = network.azure(settings.ca_cert_file.as_deref())?;
        let authority = match known {
            Some(marker) => marker.authority.clone(),
            None => {
                spread(host, progress).await;
                let find = async || Authority::find(settings, &client).await;
                let tell = |pause: Pause<'_, HttpError>| {
                    progress.retrying(Step::Arc, pause.attempt, &pause.error.to_string(), pause.length);
                };
                retry(Schedule::until(PATIENCE), host.pace, find, HttpError::verdict, tell)
                    .await
                    .map_err(HttpError::into_failure)?
            }
        };
        Ok(Self {
            host,
            settings,
            progress,
            node,
            machine,
            arm: Arm::new(client.clone(), settings.resource_manager.to_string()),
            operator: Credential::new(settings.operator.clone(), host, client, authority.clone()),
            himds: Himds::new(network.loopback()?, &host.himds, &host.himds_tokens),
            network,
            audience: authority.audience.clone(),
            himdsd_restarted: AtomicBool::new(false),
            authority,
        })
    }

    /// What Azure says of the cluster: asked as the operator, which proves the credential before anything is changed,
    /// or as the machine, whose role lets it, where the operator's secret may be gone.
    pub(super) async fn cluster(&self, as_machine: bool) -> Result<Cluster> {
        let caller =
            if as_machine { Caller::Machine(&self.himds, &self.audience) } else { Caller::Operator(&self.operator) };
        let ask = async || self.arm.cluster(caller, &self.settings.cluster).await;
        let found = self.ask(Step::Arc, Schedule::until(PATIENCE), ask, HttpError::verdict).await;
        found.map_err(|error| {
            if error.has_code("AuthorizationFailed") {
                let line = format!(
                    "az role assignment create --assignee {} --role \"Role Based Access Control Administrator\" --scope \
                     \"{}\"",
                    self.operator_for_az(),
                    self.settings.cluster
                );
                return error.cured_by(line).into();
            }
            error.into_failure().into()
        })
    }

    pub(super) fn api<'s>(&'s self, server: &'s ApiServer) -> Result<Api<'s>> {
        Ok(Api { client: self.network.cluster(&server.authority)?, server: &server.server, himds: &self.himds })
    }

    pub(super) fn marker(&self, machine_id: String, config: String, principal: String) -> Marker {
        Marker {
            version: 1,
            machine_id,
            config,
            cluster: self.settings.cluster.to_string(),
            machine: self.machine.to_string(),
            principal,
            authority: self.authority.clone(),
        }
    }

    /// The operator as `az role assignment create --assignee` takes it.
    pub(crate) fn operator_for_az(&self) -> String {
        match self.operator.operator() {
            Operator::AzureCli => "$(az ad signed-in-user show --query id -o tsv)".to_owned(),
            Operator::ServicePrincipal(principal) => principal.client_id.to_string(),
        }
    }

    /// The one retry, for requests.
    pub(crate) async fn ask<T>(
        &self,
        step: Step,
        schedule: Schedule,
        attempt: impl AsyncFnMut() -> Result<T, HttpError>,
        judge: impl Fn(&HttpError) -> Verdict,
    ) -> Result<T, HttpError> {
        let tell = |pause: Pause<'_, HttpError>| {
            self.progress.retrying(step, pause.attempt, &pause.error.to_string(), pause.length);
        };
        retry(schedule, self.host.pace, attempt, judge, tell).await
    }

    /// The one retry, for what ends in a [`Failure`]: tries again what is transient.
    pub(crate) async fn retry<T>(
        &self,
        step: Step,
        schedule: Schedule,
        attempt: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        let verdict = |error: &anyhow::Error| match Failure::describe(error).0 {
            Exit::Transient => Verdict::Again(None),
            _ => Verdict::Final,
        };
        let tell = |pause: Pause<'_, anyhow::Error>| {
            self.progress.retrying(step, pause.attempt, &format!("{:#}", pause.error), pause.length);
        };
        retry(schedule, self.host.pace, attempt, verdict, tell).await
    }
}

const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// A thousand machines powered on together do not ask in the same second.
async fn spread(host: &Host, progress: &Progress) {
    let delay = host.pace.of(host.max_start_delay.mul_f64(crate::retry::random()));
    if delay > Duration::from_millis(1) {
        progress.status(&format!("starts in {:.0} s", delay.as_secs_f64()));
        tokio::time::sleep(delay).await;
    }
}
