//! Azure's resource ids, parsed: of a cluster, and of whatever a role can apply to.
//!
//! Keywords are taken in any case, since Azure itself returns `resourcegroups` and `resourceGroups`.
//! What names may hold is told by Azure's "Naming rules and restrictions for Azure resources".

use std::fmt;
use std::str::FromStr;

use super::Flaw;
use super::azure::Guid;

/// Name of a resource group: 1 to 90 letters or digits of any script, `-`, `_`, `.`, `(`, `)`, and no period at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceGroup(String);

impl FromStr for ResourceGroup {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')');
        if (1..=90).contains(&text.chars().count()) && text.chars().all(allowed) && !text.ends_with('.') {
            return Ok(Self(text.to_owned()));
        }
        Err(Flaw::new(
            "not the name of a resource group",
            "write 1 to 90 letters, digits, `-`, `_`, `.`, `(`, `)`, with no period at the end",
        ))
    }
}

impl fmt::Display for ResourceGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Resource id of an AKS cluster. Written with Azure's own capitals; names keep theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterId {
    /// The subscription.
    pub subscription: Guid,
    /// The resource group.
    pub resource_group: ResourceGroup,
    /// The cluster's name: 1 to 63 letters, digits, `_`, `-`, with a letter or digit at both ends.
    pub name: String,
}

impl FromStr for ClusterId {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        let whole = || Flaw::new("not the resource id of an AKS cluster", CLUSTER_ID_HINT);
        let segments: Vec<&str> = text.split('/').collect();
        let ["", subscriptions, subscription, groups, group, providers, provider, kind, name] = *segments else {
            return Err(whole());
        };
        let is = str::eq_ignore_ascii_case;
        if !(is(subscriptions, "subscriptions") && is(groups, "resourceGroups") && is(providers, "providers")) {
            return Err(whole());
        }
        if !(is(provider, "Microsoft.ContainerService") && is(kind, "managedClusters")) {
            return Err(Flaw::new("the resource id of something else than an AKS cluster", CLUSTER_ID_HINT));
        }
        let part = |what: &str, flaw: Flaw| Flaw::new(format!("its {what} is {}", flaw.message), flaw.hint);
        if !is_cluster_name(name) {
            let hint = "write 1 to 63 letters, digits, `_`, `-`, with a letter or digit at both ends";
            return Err(Flaw::new("its last part is not the name of an AKS cluster", hint));
        }
        Ok(Self {
            subscription: subscription.parse().map_err(|flaw| part("subscription", flaw))?,
            resource_group: group.parse().map_err(|flaw| part("resource group", flaw))?,
            name: name.to_owned(),
        })
    }
}

const CLUSTER_ID_HINT: &str = "`az aks show -g GROUP -n CLUSTER --query id -o tsv` prints it: /subscriptions/<guid>/resourceGroups/\
     <group>/providers/Microsoft.ContainerService/managedClusters/<name>";

fn is_cluster_name(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    name.len() <= 63
        && name.starts_with(alphanumeric)
        && name.ends_with(alphanumeric)
        && name.chars().all(|c| alphanumeric(c) || matches!(c, '_' | '-'))
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subscription, resource_group, name } = self;
        write!(f, "/subscriptions/{subscription}/resourceGroups/{resource_group}")?;
        write!(f, "/providers/Microsoft.ContainerService/managedClusters/{name}")
    }
}

/// Where a role applies: the resource id of a subscription, a resource group or a resource in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope(String);

impl FromStr for Scope {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        if is_scope(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(Flaw::new(
            "not the resource id of a subscription, resource group or resource",
            "write /subscriptions/<guid>[/resourceGroups/<group>[/providers/<provider>/<type>/<name>]]",
        ))
    }
}

fn is_scope(text: &str) -> bool {
    let segments: Vec<&str> = text.split('/').collect();
    let ["", subscriptions, subscription, rest @ ..] = segments.as_slice() else { return false };
    let in_subscription = subscriptions.eq_ignore_ascii_case("subscriptions") && Guid::from_str(subscription).is_ok();
    in_subscription
        && match rest {
            [] => true,
            [groups, group, rest @ ..] => {
                groups.eq_ignore_ascii_case("resourceGroups")
                    && ResourceGroup::from_str(group).is_ok()
                    && (rest.is_empty() || is_resource(rest))
            }
            [_] => false,
        }
}

/// `providers/<provider>/<type>/<name>`, with further `<type>/<name>` pairs for what belongs to it.
fn is_resource(segments: &[&str]) -> bool {
    let segment =
        |s: &&str| !s.is_empty() && !s.contains(|c: char| c.is_whitespace() || c.is_control() || "?#%\\".contains(c));
    segments[0].eq_ignore_ascii_case("providers")
        && segments.len() >= 4
        && segments.len().is_multiple_of(2)
        && segments.iter().all(segment)
}

impl From<&ClusterId> for Scope {
    fn from(cluster: &ClusterId) -> Self {
        Self(cluster.to_string())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
