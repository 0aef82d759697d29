//! Secrets in the node's config, and in the files that it names.

use std::path::{Path, PathBuf};

use anyhow::Result;
use flexnode_firstboot::config::Fragment;
use flexnode_firstboot::paths;
use serde_json::Value;

use super::{Clearing, Trace, glob, seen};
use crate::finding::Shell;
use crate::image_root::{Found, ImageRoot};

/// As in the agent: more than any config.
const LARGEST: u64 = 1 << 20;

pub(super) fn look(root: &ImageRoot, shell: &Shell) -> Result<Vec<Trace>> {
    let mut traces = Vec::new();
    let mut files = vec![paths::CONFIG.trim_start_matches('/').into()];
    for ending in ["yaml", "yml", "json"] {
        let pattern = format!("{}/config.d/*.{ending}", paths::CONFIG_DIRECTORY.trim_start_matches('/'));
        files.extend(glob::matches(root, &pattern)?);
    }
    for file in files {
        look_at(root, shell, file, &mut traces)?;
    }
    // The config that names it may only come with the machine.
    let pattern = format!("{}/*secret*", paths::CONFIG_DIRECTORY.trim_start_matches('/'));
    for path in glob::matches(root, &pattern)? {
        secret_file(root, shell, path, &mut traces)?;
    }
    Ok(traces)
}

fn secret_file(root: &ImageRoot, shell: &Shell, path: PathBuf, traces: &mut Vec<Trace>) -> Result<()> {
    let named = traces.iter().any(|trace| trace.paths.contains(&Path::new("/").join(&path)));
    if !named && matches!(seen(root, &path, root.found(&path))?, Some(Found::File { size: 1.., .. })) {
        let why = "the client secret of the node's config, for everybody who gets the image";
        traces.push(Trace::new("client-secret", why, vec![path], shell));
    }
    Ok(())
}

fn look_at(root: &ImageRoot, shell: &Shell, file: PathBuf, traces: &mut Vec<Trace>) -> Result<()> {
    let unreadable = |file: PathBuf| {
        let why = "it is not known whether a secret is in it, since it cannot be read";
        let cure = format!("correct it; `{}`", shell.with_paths("flexnode-firstboot check --config", &[&file]));
        Trace::new("node-config", why, vec![file], shell).cleared_by(Clearing::ByHand("correct it first"), cure)
    };
    let text = match seen(root, &file, root.found(&file))? {
        None => return Ok(()),
        Some(Found::File { size, .. }) if size <= LARGEST => {
            String::from_utf8(seen(root, &file, root.read(&file, LARGEST))?.unwrap_or_default()).ok()
        }
        Some(_) => None,
    };
    let Some((text, fragment)) =
        text.and_then(|text| Fragment::parse(&text, "config").ok().map(|fragment| (text, fragment)))
    else {
        traces.push(unreadable(file));
        return Ok(());
    };
    // The file first: once it is gone the config still names it, and a run that was cut short finds it again.
    if let Some(secret) = fragment.secret_file() {
        secret_file(root, shell, PathBuf::from(secret.trim_start_matches('/')), traces)?;
    }
    if fragment.holds_secret() || has_a_line_like_a_secret(&text) {
        let why = "a client secret stands in the node's config, for everybody who gets the image";
        let cure = format!(
            "delete `clientSecret` from {}; a drop-in of the machine, or a systemd credential, can bring it",
            shell.path(&file)
        );
        let clearing = without_secret(&text).map_or_else(
            || Clearing::ByHand("it does not stand on a line of its own"),
            |text| Clearing::Replace(text.into_bytes()),
        );
        traces.push(Trace::new("client-secret-in-config", why, vec![file], shell).cleared_by(clearing, cure));
    }
    Ok(())
}

/// A key that is misspelt, or a value of the wrong type, is dropped when the config is read, and is still in the image.
fn has_a_line_like_a_secret(text: &str) -> bool {
    const KEY: &str = "clientsecret";
    text.lines().map(str::trim).filter(|line| !line.starts_with('#')).any(|line| {
        let line = line.to_ascii_lowercase();
        let after = line.split(KEY).skip(1);
        after.map(|rest| rest.trim_start_matches(['"', '\'', ' ', ':'])).any(|rest| {
            let value = rest.trim_matches(['"', '\'', ' ', ',', '}']);
            !rest.starts_with("file") && !rest.starts_with("credential") && !["", "null", "~"].contains(&value)
        })
    })
}

/// The text without the line of the secret, when all else says the same without it.
fn without_secret(text: &str) -> Option<String> {
    let read = |text: &str| serde_yaml::from_str::<Value>(text).ok();
    let mut wanted = read(text)?;
    wanted.pointer_mut("/azure/servicePrincipal")?.as_object_mut()?.remove("clientSecret")?;
    drop_empty(&mut wanted);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    (0..lines.len()).filter(|at| lines[*at].contains("clientSecret")).find_map(|at| {
        let without = [&lines[..at], &lines[at + 1..]].concat().concat();
        let mut left = read(&without)?;
        drop_empty(&mut left);
        (left == wanted && !has_a_line_like_a_secret(&without)).then_some(without)
    })
}

/// A section that has lost its only key is null to YAML, and nothing to the agent.
fn drop_empty(value: &mut Value) {
    if let Value::Object(map) = value {
        map.values_mut().for_each(drop_empty);
        map.retain(|_, value| !value.is_null() && !value.as_object().is_some_and(serde_json::Map::is_empty));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_of_the_secret_goes() {
        let text =
            "azure: # here\n  servicePrincipal:\n    clientId: a\n    clientSecret: \"hunter2\" # !\n  tenantId: b\n";
        let kept = "azure: # here\n  servicePrincipal:\n    clientId: a\n  tenantId: b\n";
        assert_eq!(without_secret(text).as_deref(), Some(kept));
        let only = "azure:\n  servicePrincipal:\n    clientSecret: hunter2\n";
        assert_eq!(without_secret(only).as_deref(), Some("azure:\n  servicePrincipal:\n"));
    }

    #[test]
    fn what_shares_its_line_or_has_several_is_left_to_a_person() {
        for text in [
            "azure: {servicePrincipal: {clientId: a, clientSecret: hunter2}}\n",
            "azure:\n  servicePrincipal:\n    clientId: a\n    clientSecret: |\n      hunter2\n",
            "{\"azure\": {\"servicePrincipal\": {\n\"clientId\": \"a\",\n\"clientSecret\": \"hunter2\"}}}\n",
            "azure: &all\n  servicePrincipal:\n    clientsecret: hunter2\n",
        ] {
            assert_eq!(without_secret(text), None, "{text}");
            assert!(has_a_line_like_a_secret(text) || text.contains('|'), "{text}");
        }
    }

    #[test]
    fn keys_that_hold_no_secret_look_like_none() {
        for text in [
            "clientSecretFile: /etc/flexnode/client-secret",
            "clientSecretCredential: azure",
            "clientSecret: null",
            "clientSecret:",
            "# clientSecret: hunter2",
            "\"clientSecret\": null,",
        ] {
            assert!(!has_a_line_like_a_secret(text), "{text}");
        }
    }
}
