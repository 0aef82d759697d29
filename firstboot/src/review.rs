//! Whether the machine may act as a kubelet of the cluster, and whether this kubelet fits its API server.

use std::time::Duration;

use anyhow::Result;

use crate::api_server::{Api, Permission};
use crate::arm::Cluster;
use crate::failure::{Exit, Failure};
use crate::himds::AKS_SERVER;
use crate::http::HttpError;
use crate::join::Join;
use crate::retry::{Schedule, Verdict};
use crate::skew;
use crate::stale::{Suspicion, restart_himdsd};
use crate::state::Step;

/// For what passes: an API server that restarts.
const DEADLINE: Duration = Duration::from_secs(10 * 60);
/// For roles that this run may just have assigned: Azure documents up to 30 minutes.
const PROPAGATION: Duration = Duration::from_secs(35 * 60);

/// What every kubelet needs first: its Node and its lease.
const NEEDED: [Permission; 5] =
    [node("create", ""), node("get", ""), node("patch", "status"), lease("create"), lease("update")];

const fn node(verb: &'static str, subresource: &'static str) -> Permission {
    Permission { group: "", resource: "nodes", subresource, namespace: "", verb }
}

const fn lease(verb: &'static str) -> Permission {
    Permission { group: "coordination.k8s.io", resource: "leases", subresource: "", namespace: "kube-node-lease", verb }
}

/// Refuses a kubelet that does not fit the API server.
///
/// # Errors
/// When it is newer, or too old.
pub(crate) async fn version(join: &Join<'_>, api: &Api<'_>, cluster: &Cluster) -> Result<()> {
    let server = patiently(join, cluster, DEADLINE, async || api.version().await).await?;
    let said = join.host.commands.run("kubelet", &["--version"], Duration::from_secs(30)).await?;
    skew::check(said.stdout.trim().trim_start_matches("Kubernetes "), &server).map_err(Into::into)
}

/// Refuses an identity that may not act as a kubelet; `principal` is its object id.
///
/// # Errors
/// When a permission is missing, with the command that grants it.
pub(crate) async fn access(join: &Join<'_>, api: &Api<'_>, cluster: &Cluster, principal: &str) -> Result<()> {
    let azure_rbac = cluster.azure_rbac;
    // Only roles of Azure arrive late; a binding in the cluster is there or is not.
    let may_arrive = azure_rbac && !join.settings.roles.is_empty();
    let mut suspicion = Suspicion::default();
    let ask = async || {
        let mut missing = Vec::new();
        for permission in NEEDED {
            if !api.allows(permission).await? {
                missing.push(permission.to_string());
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let lacking = lacking(principal, &missing);
        if may_arrive {
            suspicion.denied(join, AKS_SERVER).await?;
            return Err(HttpError::Pending(lacking));
        }
        // Somebody may have granted it since the last run, whose token HIMDS still has.
        if azure_rbac && restart_himdsd(join).await {
            return Err(HttpError::Pending(lacking));
        }
        Err(HttpError::Unasked(granted_by(join, azure_rbac, principal, &lacking)))
    };
    let deadline = if may_arrive { PROPAGATION } else { DEADLINE };
    patiently(join, cluster, deadline, ask).await.map_err(|error| match error.downcast_ref::<Pending>() {
        Some(Pending(message)) => granted_by(join, azure_rbac, principal, message).into(),
        None => error,
    })
}

/// Carries the wording of a wait that ended in vain out of the retry.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Pending(String);

async fn patiently<T>(
    join: &Join<'_>,
    cluster: &Cluster,
    deadline: Duration,
    ask: impl AsyncFnMut() -> Result<T, HttpError>,
) -> Result<T> {
    // An API server says 401 to each of them: a cluster without Entra ID takes no token of it, ever; with it, what
    // checks tokens is down, or a clock is wrong.
    let is_in_vain = |error: &HttpError| !cluster.entra && error.has_code("Unauthorized");
    let judge = |error: &HttpError| if is_in_vain(error) { Verdict::Final } else { error.verdict() };
    join.ask(Step::Kubeconfig, Schedule::until(deadline), ask, judge).await.map_err(|error| match error {
        HttpError::Pending(message) => Pending(message).into(),
        error if is_in_vain(&error) => {
            let id = &join.settings.cluster;
            let hint = format!(
                "the cluster must accept Microsoft Entra tokens: az aks update -g {} -n {} --enable-aad",
                id.resource_group, id.name
            );
            Failure::new(Exit::Denied, error.to_string(), hint).into()
        }
        error => error.into_failure().into(),
    })
}

fn lacking(principal: &str, missing: &[String]) -> String {
    format!("the machine's identity {principal} may not act as a kubelet, it lacks: {}", missing.join(", "))
}

fn granted_by(join: &Join<'_>, azure_rbac: bool, principal: &str, message: &str) -> Failure {
    let hint = if azure_rbac {
        format!(
            "az role assignment create --assignee-object-id {principal} --assignee-principal-type ServicePrincipal --role \
             \"Azure Kubernetes Service RBAC Cluster Admin\" --scope \"{}\"",
            join.settings.cluster
        )
    } else {
        format!("kubectl create clusterrolebinding flexnode-{} --clusterrole=system:node --user={principal}", join.node)
    };
    Failure::new(Exit::Denied, message, hint)
}
