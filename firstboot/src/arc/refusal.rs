//! What a refusal of `azcmagent connect` means, and its cure.

use crate::command::Said;
use crate::config::Secret;
use crate::failure::{Exit, Failure, plain};
use crate::join::Join;

/// What azcmagent's refusal means. Its codes: learn.microsoft.com, "azcmagent CLI reference", error codes.
pub(super) fn refused(join: &Join<'_>, said: &Said, secret: &Secret) -> Failure {
    // It is not known to repeat the secret; should it, nobody sees it.
    let summary = plain(&said.summary().replace(secret.expose(), "(secret)"));
    let message = format!("azcmagent connect: {summary}");
    let group = format!("/subscriptions/{}/resourceGroups/{}", join.machine.subscription, join.machine.resource_group);
    let onboarding = format!(
        "az role assignment create --assignee {} --role \"Azure Connected Machine Onboarding\" --scope \"{group}\"",
        join.operator_for_az()
    );
    let has = |code: &str| summary.contains(code);
    match code(said) {
        _ if has("AuthorizationFailed") || has("LinkedAuthorizationFailed") => {
            Failure::new(Exit::Denied, message, onboarding)
        }
        Some(44) => Failure::new(
            Exit::BadConfig,
            message,
            format!(
                "another machine holds the name: set azure.arc.machineName, or, if that machine is gone, `az \
                 connectedmachine delete --ids {}`",
                join.machine
            ),
        ),
        // The credential itself. That Azure has just taken it from this program makes this rare: the operator's secret
        // has changed meanwhile. Any other failure to get a token, or to have it taken, passes.
        _ if CREDENTIAL.iter().any(|code| has(code)) => Failure::new(
            Exit::Denied,
            message,
            "see that azure.servicePrincipal, its secret and azure.tenantId belong together, or `sudo az login` again",
        ),
        Some(18) => Failure::new(Exit::Local, message, "run as root"),
        Some(141) => Failure::new(
            Exit::Local,
            message,
            "this is an Azure VM, where the Arc agent refuses to work; for tests see \"Evaluate Azure Arc-enabled \
             servers on an Azure virtual machine\"",
        ),
        // Named by ARM in its body; what azcmagent passes on is text.
        _ if has("LocationNotAvailableForResourceType")
            || has("InvalidResourceLocation")
            || has("LocationRequired") =>
        {
            Failure::new(Exit::BadConfig, message, "set azure.arc.location to a region with Azure Arc-enabled servers")
        }
        _ if has("ResourceGroupNotFound") => {
            let hint = format!(
                "`az group create -n {} -l REGION`, or correct azure.arc.resourceGroup",
                join.machine.resource_group
            );
            Failure::new(Exit::BadConfig, message, hint)
        }
        _ => Failure::new(
            Exit::Transient,
            message,
            "`azcmagent check` tells which endpoint it cannot reach; /var/opt/azcmagent/log/azcmagent.log has more",
        ),
    }
}

/// Wrong secret, expired secret, no such application, application disabled, no such tenant: Entra ID's codes, which
/// azcmagent passes on.
const CREDENTIAL: [&str; 5] = ["AADSTS7000215", "AADSTS7000222", "AADSTS700016", "AADSTS7000112", "AADSTS90002"];

/// The number of the first `AZCM<number>` that it said.
pub(super) fn code(said: &Said) -> Option<u32> {
    let text = format!("{}\n{}", said.stderr, said.stdout);
    let (_, after) = text.split_once("AZCM")?;
    after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Said {
        Said { success: false, status: Some(1), stdout: String::new(), stderr: text.to_owned() }
    }

    #[test]
    fn the_code_is_the_first_number_after_azcm() {
        assert_eq!(code(&said("level=fatal msg=\"AZCM0044: resource exists\"")), Some(44));
        assert_eq!(code(&said("AZCM: odd")), None);
        assert_eq!(code(&said("")), None);
    }
}
