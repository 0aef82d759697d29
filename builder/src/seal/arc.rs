//! The Arc agent's registration: who this machine is to Azure.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;

use super::{Trace, seen};
use crate::finding::Shell;
use crate::image_root::{Found, ImageRoot};

/// The package writes one without a machine in it when it is installed; `azcmagent connect` fills it.
const PATH: &str = "var/opt/azcmagent/agentconfig.json";

const LARGEST: u64 = 1 << 20;

pub(super) fn look(root: &ImageRoot, shell: &Shell) -> Result<Option<Trace>> {
    let path = Path::new(PATH);
    let registered = match seen(root, path, root.found(path))? {
        Some(Found::File { size, .. }) if size <= LARGEST => {
            is_registered(&seen(root, path, root.read(path, LARGEST))?.unwrap_or_default())
        }
        Some(Found::File { .. }) => true,
        _ => false,
    };
    let why = "every clone would be the same machine to Azure Arc";
    let trace = || {
        let trace = Trace::new("arc-registration", why, vec![PathBuf::from(PATH)], shell);
        let cure = format!("`azcmagent disconnect --force-local-only` on the machine, or `{}`", trace.cure);
        let clearing = trace.clearing.clone();
        trace.cleared_by(clearing, cure)
    };
    Ok(registered.then(trace))
}

/// What is no JSON may be anything.
fn is_registered(bytes: &[u8]) -> bool {
    if bytes.trim_ascii().is_empty() {
        return false;
    }
    let Ok(Value::Object(config)) = serde_json::from_slice(bytes) else { return true };
    let names = ["resourcename", "resourcegroup", "subscriptionid", "vmid", "certificatethumbprint"];
    config.iter().any(|(key, value)| {
        names.contains(&key.to_ascii_lowercase().as_str()) && value.as_str().is_some_and(|value| !value.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_is_not_registered() {
        for (config, holds) in [
            ("", false),
            ("{\"resourceName\": \"\", \"vmId\": \"\", \"cloud\": \"AzureCloud\"}", false),
            ("{\"resourceName\": \"edge-1\"}", true),
            ("{\"VmId\": \"5c6a\"}", true),
            ("resourceName: edge-1", true),
        ] {
            assert_eq!(is_registered(config.as_bytes()), holds, "{config}");
        }
    }
}
