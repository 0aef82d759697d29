//! Labels: their syntax, and which of Kubernetes' own a kubelet may give its Node.

use anyhow::{Result, ensure};

/// Checks labels of `--node-labels`, in the words of kubernetes `cmd/kubelet/app/options`.
pub(super) fn check(labels: &[(String, String)]) -> Result<()> {
    let unknown: Vec<&str> = labels.iter().map(|(key, _)| key.as_str()).filter(|key| !may_set(key)).collect();
    ensure!(
        unknown.is_empty(),
        "failed to validate kubelet flags: unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: \
         [{}]\n--node-labels in the 'kubernetes.io' namespace must begin with an allowed prefix ({}) or be in the \
         specifically allowed set ({})",
        unknown.join(" "),
        NAMESPACES.join(", "),
        ALLOWED.join(", ")
    );
    for (key, value) in labels {
        ensure!(
            is_key(key) && is_value(value),
            "failed to validate kubelet flags: invalid node labels: '{key}={value}'"
        );
    }
    Ok(())
}

const NAMESPACES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

const ALLOWED: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

fn may_set(key: &str) -> bool {
    let Some((namespace, _)) = key.split_once('/') else { return true };
    let below = |domain: &str| namespace == domain || namespace.ends_with(&format!(".{domain}"));
    let reserved = below("kubernetes.io") || below("k8s.io");
    !reserved || NAMESPACES.into_iter().any(below) || ALLOWED.contains(&key)
}

/// A qualified name: maybe a DNS subdomain and `/`, then a name.
pub(super) fn is_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let prefixed = prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(is_name));
    prefixed && !name.is_empty() && is_value(name)
}

/// A lowercase RFC 1123 label.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inside = name.chars().all(|c| plain(c) || c == '-');
    name.len() <= 63 && name.starts_with(plain) && name.ends_with(plain) && inside
}

/// A label's value, which may be empty.
pub(super) fn is_value(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    let inside = |c: char| plain(c) || matches!(c, '-' | '_' | '.');
    value.is_empty()
        || value.len() <= 63 && value.starts_with(plain) && value.ends_with(plain) && value.chars().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelet_may_set_its_own_labels_and_those_of_others_but_not_kubernetes() {
        for key in ["kubernetes.azure.com/managed", "node.kubernetes.io/pool", "kubernetes.io/arch", "plain"] {
            assert!(check(&[(key.to_owned(), "x".to_owned())]).is_ok(), "{key}");
        }
        for key in ["node-role.kubernetes.io/worker", "kubernetes.io/role", "x.k8s.io/y", "a/b/c", "", "-a", "A.b/c"] {
            assert!(check(&[(key.to_owned(), "x".to_owned())]).is_err(), "{key}");
        }
        assert!(check(&[("a".to_owned(), "no spaces".to_owned())]).is_err());
    }
}
