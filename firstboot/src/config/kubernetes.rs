//! Kubernetes' names, parsed: node names, labels, taints, node addresses.
//!
//! Sources: apimachinery's `validation` package; `ValidateKubeletFlags` and `well_known_labels.go` for what a
//! kubelet may set on its own Node. The kubelet exits on each of these mistakes, after the machine has registered.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::Flaw;

/// Name of a Node: DNS-1123 subdomain, at most 63 characters, since `kubernetes.io/hostname` must hold it too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName(String);

impl FromStr for NodeName {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        if is_dns_subdomain(text, 63) {
            return Ok(Self(text.to_owned()));
        }
        Err(Flaw::new(
            "not a node name",
            "write at most 63 lower-case letters, digits, `-`, `.`, with a letter or digit at the ends of each part",
        ))
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Refuses labels that Kubernetes or the kubelet would refuse.
///
/// # Errors
/// Bad syntax, or a key that a kubelet may not set on its own Node.
pub fn check_label(key: &str, value: &str) -> Result<(), Flaw> {
    check_key(key)?;
    if !is_label_value(value) {
        return Err(Flaw::new(
            "its value is not a label value",
            "write at most 63 letters, digits, `-`, `_`, `.`, with a letter or digit at both ends",
        ));
    }
    if key == UNMANAGED.0 && value != UNMANAGED.1 {
        let hint = "remove it or write \"false\"; otherwise Azure deletes the Node whenever it is not ready";
        return Err(Flaw::new("must be \"false\"", hint));
    }
    if is_forbidden_to_kubelets(key) {
        let hint = "use a prefix of your own or `node.kubernetes.io/`, or set it later with `kubectl label node`";
        return Err(Flaw::new("a kubelet may not set this label on its own Node", hint));
    }
    Ok(())
}

/// The label that keeps Azure's cloud controller from deleting a Node it does not manage.
pub const UNMANAGED: (&str, &str) = ("kubernetes.azure.com/managed", "false");

/// What a kubelet may set although it lies under `kubernetes.io`.
const KUBELET_LABELS: [&str; 11] = [
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

fn is_forbidden_to_kubelets(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else { return false };
    let within = |zone: &&str| prefix == *zone || prefix.strip_suffix(zone).is_some_and(|sub| sub.ends_with('.'));
    let reserved = ["kubernetes.io", "k8s.io"].iter().any(within);
    let granted = ["kubelet.kubernetes.io", "node.kubernetes.io"].iter().any(within);
    reserved && !granted && !KUBELET_LABELS.contains(&key)
}

/// `[prefix/]name` as labels and taints have it.
fn check_key(key: &str) -> Result<(), Flaw> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if prefix.is_none_or(|prefix| is_dns_subdomain(prefix, 253)) && !name.is_empty() && is_label_value(name) {
        return Ok(());
    }
    Err(Flaw::new(
        "its key is not a qualified name",
        "write `name` or `prefix/name`; prefix a lower-case domain, name at most 63 letters, digits, `-`, `_`, `.`",
    ))
}

fn is_label_value(value: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    value.is_empty()
        || (value.len() <= 63
            && value.starts_with(alphanumeric)
            && value.ends_with(alphanumeric)
            && value.chars().all(|c| alphanumeric(c) || matches!(c, '-' | '_' | '.')))
}

/// DNS-1123 subdomain: dot-separated parts of lower-case letters, digits and inner hyphens.
pub(super) fn is_dns_subdomain(name: &str, longest: usize) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= longest
        && name.split('.').all(|part| {
            part.starts_with(alphanumeric)
                && part.ends_with(alphanumeric)
                && part.chars().all(|c| alphanumeric(c) || c == '-')
        })
}

/// A taint the kubelet registers its Node with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// Qualified name.
    pub key: String,
    /// Label value; empty if there is none.
    pub value: String,
    /// What it does to pods that do not tolerate it.
    pub effect: Effect,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// They are not scheduled here.
    NoSchedule,
    /// They are scheduled here only if there is no other place.
    PreferNoSchedule,
    /// They are not scheduled here, and evicted.
    NoExecute,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        })
    }
}

impl FromStr for Effect {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        match text {
            "NoSchedule" => Ok(Self::NoSchedule),
            "PreferNoSchedule" => Ok(Self::PreferNoSchedule),
            "NoExecute" => Ok(Self::NoExecute),
            _ => Err(Flaw::new("its effect is unknown", "known are NoSchedule, PreferNoSchedule, NoExecute")),
        }
    }
}

impl FromStr for Taint {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        let Some((pair, effect)) = text.split_once(':') else {
            return Err(Flaw::new("has no effect", "write `key=value:NoSchedule` or `key:NoSchedule`"));
        };
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        check_key(key)?;
        if !is_label_value(value) {
            let hint = "write `key=value:Effect`; the value at most 63 letters, digits, `-`, `_`, `.`";
            return Err(Flaw::new("its value is not a label value", hint));
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned(), effect: effect.parse()? })
    }
}

/// As `--register-with-taints` takes it.
impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, effect } = self;
        let equals = if value.is_empty() { "" } else { "=" };
        write!(f, "{key}{equals}{value}:{effect}")
    }
}

/// Address of a node: one, or one of each family. Displayed as `--node-ip` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIp {
    /// The address of the Node's own family.
    pub primary: IpAddr,
    /// The other family's, on a dual-stack node.
    pub secondary: Option<IpAddr>,
}

impl FromStr for NodeIp {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        let mut addresses = text.split(',').map(parse_ip);
        let primary = addresses.next().unwrap_or_else(|| parse_ip(text))?;
        let secondary = addresses.next().transpose()?;
        if addresses.next().is_some() || secondary.is_some_and(|other| other.is_ipv4() == primary.is_ipv4()) {
            let hint = "write one address, or one of each family: `10.0.0.4,fd00::4`";
            return Err(Flaw::new("more than one address of a family", hint));
        }
        Ok(Self { primary, secondary })
    }
}

impl fmt::Display for NodeIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.primary)?;
        self.secondary.map_or(Ok(()), |secondary| write!(f, ",{secondary}"))
    }
}

/// An address another machine can reach; what the kubelet refuses for `--node-ip`.
pub(super) fn parse_ip(text: &str) -> Result<IpAddr, Flaw> {
    let address: IpAddr = text
        .parse()
        .map_err(|_| Flaw::new("not an IP address", "write it without prefix length, like 10.0.0.4 or fd00::4"))?;
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if address.is_loopback() || address.is_multicast() || address.is_unspecified() || link_local {
        let hint = "write an address of an interface that the cluster can reach";
        return Err(Flaw::new("not an address that other machines can reach", hint));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelet_may_label_its_node_as_the_kubelet_s_own_check_says() {
        let may = |key: &&str| check_label(key, "x").is_ok();
        let granted = [
            "topology.kubernetes.io/zone",
            "a.node.kubernetes.io/b",
            "kubelet.kubernetes.io/c",
            "d",
            "notkubernetes.io/e",
        ];
        let reserved =
            ["node-role.kubernetes.io/worker", "kubernetes.io/a", "xnode.kubernetes.io/b", "x.k8s.io/c", "k8s.io/d"];
        assert!(granted.iter().all(may) && KUBELET_LABELS.iter().all(may));
        assert!(!reserved.iter().any(may));
    }

    #[test]
    fn taints_and_addresses_are_written_as_the_flags_take_them() {
        for taint in ["a=b:NoSchedule", "x.io/a:NoExecute", "a:PreferNoSchedule"] {
            assert_eq!(taint.parse::<Taint>().unwrap().to_string(), taint);
        }
        for address in ["10.0.0.4", "fd00::4", "fd00::4,10.0.0.4"] {
            assert_eq!(address.parse::<NodeIp>().unwrap().to_string(), address);
        }
    }
}
