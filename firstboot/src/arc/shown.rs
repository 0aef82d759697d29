//! What `azcmagent show -j` says of this machine.

use anyhow::Result;
use serde::Deserialize;

use super::{QUICK, run};
use crate::failure::{Exit, Failure};
use crate::join::Join;

/// What `azcmagent show -j` says, as far as it is of interest. Its further members vary with its version.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Shown {
    pub(super) status: String,
    resource_name: String,
    #[serde(alias = "resourceGroupName")]
    resource_group: String,
    subscription_id: String,
    tenant_id: String,
}

impl Shown {
    pub(super) fn is_connected(&self) -> bool {
        self.status.eq_ignore_ascii_case("Connected")
    }

    /// The resource it is registered as; Disconnected may also mean that it cannot reach Azure right now.
    pub(super) fn registered_as(&self) -> Option<String> {
        let Self { resource_name, resource_group, subscription_id, .. } = self;
        (!resource_name.is_empty()).then(|| {
            format!(
                "/subscriptions/{subscription_id}/resourceGroups/{resource_group}/providers/Microsoft.HybridCompute/machines/{resource_name}"
            )
        })
    }

    /// Refuses a registration as another resource or in another tenant: what it belongs to is not ours to undo.
    pub(super) fn check(&self, join: &Join<'_>) -> Result<()> {
        let found = self.registered_as().unwrap_or_default();
        let wanted = join.machine.to_string();
        let tenant = join.settings.tenant.to_string();
        // A tenant may be configured by its domain, which the agent does not show.
        let same_tenant =
            self.tenant_id.is_empty() || tenant.contains('.') || self.tenant_id.eq_ignore_ascii_case(&tenant);
        if found.eq_ignore_ascii_case(&wanted) && same_tenant {
            return Ok(());
        }
        let (is, should) = if same_tenant {
            (found, wanted)
        } else {
            (format!("{found} in tenant {}", self.tenant_id), format!("{wanted} in tenant {tenant}"))
        };
        let message = format!("this machine is registered with Azure Arc as {is}, and the config says {should}");
        let hint = "if the config is right, `azcmagent disconnect` and try again; otherwise correct azure.arc and azure.tenantId";
        Err(Failure::new(Exit::BadConfig, message, hint).into())
    }
}

pub(super) async fn show(join: &Join<'_>) -> Result<Shown> {
    let said = run(join, &["show", "-j"], QUICK).await?;
    // Whatever its status: versions differ in what they return for a machine that is not connected.
    serde_json::from_str(said.stdout.trim()).map_err(|_| {
        let message = format!("`azcmagent show -j` answers no JSON: {}", said.summary());
        Failure::new(Exit::Transient, message, "`systemctl restart himdsd`, then `azcmagent show`").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_is_not_registered_shows_no_resource() {
        let shown: Shown =
            serde_json::from_str(r#"{"status":"Disconnected","resourceName":"","agentVersion":"1.40"}"#).unwrap();
        assert_eq!((shown.registered_as(), shown.is_connected()), (None, false));
    }
}
