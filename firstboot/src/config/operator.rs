//! Who registers the machine: Azure CLI, or a service principal with exactly one secret.

use super::azure::Tenant;
use super::prove::absolute_path;
use super::{Flaw, Operator, Problems, SecretSource, ServicePrincipal, input};

/// The operator, if its inputs have no flaw; `tenant` is the default for the application's.
pub(super) fn operator(
    principal: Option<input::ServicePrincipal>,
    tenant: Option<&Tenant>,
    problems: &mut Problems,
) -> Option<Operator> {
    let Some(mut principal) = principal else { return Some(Operator::AzureCli) };
    const CLIENT_ID: &str = "azure.servicePrincipal.clientId";
    if principal.client_id.is_none() {
        problems.missing(
            CLIENT_ID,
            "write the application's (client) id; `az ad sp list --display-name NAME` shows it as appId",
        );
    }
    let client_id = problems.parse(CLIENT_ID, principal.client_id.take());
    let tenant = match principal.tenant_id.take() {
        Some(own) => problems.parse("azure.servicePrincipal.tenantId", Some(own)),
        None => tenant.cloned(),
    };
    let secret = secret_source(principal, problems);
    Some(Operator::ServicePrincipal(ServicePrincipal { tenant: tenant?, client_id: client_id?, secret: secret? }))
}

fn secret_source(principal: input::ServicePrincipal, problems: &mut Problems) -> Option<SecretSource> {
    const SECTION: &str = "azure.servicePrincipal";
    let input::ServicePrincipal { client_secret, client_secret_file, client_secret_credential, .. } = principal;
    let remove_after_join = principal.remove_secret_after_join.unwrap_or_default();
    if remove_after_join && client_secret_file.is_none() {
        let hint = "move the secret into a file named by clientSecretFile, or remove the key";
        problems.refuse(
            format!("{SECTION}.removeSecretAfterJoin"),
            Flaw::new("only the file of clientSecretFile can be removed", hint),
        );
    }
    match (client_secret, client_secret_file, client_secret_credential) {
        (Some(secret), None, None) => {
            let value = secret.expose();
            if value.is_empty() || value.trim() != value {
                let hint = "quote it: an unquoted value ends at ` #`, and is a tag or an alias after `!`, `&` or `*`";
                problems.refuse(format!("{SECTION}.clientSecret"), Flaw::new("empty, or with blanks around it", hint));
                return None;
            }
            Some(SecretSource::Inline(secret))
        }
        (None, Some(path), None) => {
            let path = absolute_path(&format!("{SECTION}.clientSecretFile"), Some(path), problems)?;
            Some(SecretSource::File { path, remove_after_join })
        }
        (None, None, Some(name)) => {
            if is_credential_name(&name) {
                return Some(SecretSource::Credential(name));
            }
            problems.refuse(
                format!("{SECTION}.clientSecretCredential"),
                Flaw::new(
                    "not the name of a systemd credential",
                    "write the name of LoadCredential=, a file name without `/`",
                ),
            );
            None
        }
        (None, None, None) => {
            let sources = ["clientSecretFile", "clientSecretCredential", "clientSecret"];
            if !sources.iter().any(|source| problems.explain(&format!("{SECTION}.{source}"))) {
                let hint = format!("write one of {}", sources.join(", "));
                problems.refuse(SECTION, Flaw::new("names no secret", hint));
            }
            None
        }
        _ => {
            let hint =
                "keep one of clientSecretFile, clientSecretCredential, clientSecret; null in a drop-in takes one back";
            problems.refuse(SECTION, Flaw::new("names more than one secret", hint));
            None
        }
    }
}

/// systemd's `credential_name_valid`: a file name that can stand in a file descriptor's name.
fn is_credential_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | ':'))
}
