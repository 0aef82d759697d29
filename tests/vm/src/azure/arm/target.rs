//! What a path of ARM is about; keywords in any case.

use crate::azure::call::Call;

/// A resource in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::azure) struct Place {
    pub(in crate::azure) subscription: String,
    pub(in crate::azure) group: String,
    pub(in crate::azure) name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::azure) enum Target {
    Metadata,
    Machine(Place),
    Cluster {
        place: Place,
        action: Option<String>,
    },
    /// One role assignment, or all at and around a scope.
    Assignment {
        scope: String,
        name: Option<String>,
    },
    /// One role definition, or all.
    Definition {
        scope: String,
        id: Option<String>,
    },
    Unknown,
}

impl Target {
    pub(in crate::azure) fn of(call: &Call) -> Self {
        let segments = call.segments();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        if is(&parts, &["metadata", "endpoints"]) {
            return Self::Metadata;
        }
        if let Some(found) = authorization(&parts) {
            return found;
        }
        let [subscriptions, subscription, groups, group, providers, provider, kind, name, rest @ ..] = parts.as_slice()
        else {
            return Self::Unknown;
        };
        if !is(&[subscriptions, groups, providers], &["subscriptions", "resourceGroups", "providers"]) {
            return Self::Unknown;
        }
        let [subscription, group, name] = [subscription, group, name].map(|part| (*part).to_owned());
        let place = Place { subscription, group, name };
        match (provider.to_ascii_lowercase().as_str(), kind.to_ascii_lowercase().as_str(), rest) {
            ("microsoft.hybridcompute", "machines", []) => Self::Machine(place),
            ("microsoft.containerservice", "managedclusters", []) => Self::Cluster { place, action: None },
            ("microsoft.containerservice", "managedclusters", [action]) => {
                Self::Cluster { place, action: Some((*action).to_owned()) }
            }
            _ => Self::Unknown,
        }
    }

    /// The subscription it is in.
    pub(in crate::azure) fn subscription(&self) -> Option<&str> {
        match self {
            Self::Machine(place) | Self::Cluster { place, .. } => Some(&place.subscription),
            Self::Assignment { scope, .. } | Self::Definition { scope, .. } => {
                let mut parts = scope.split('/').skip(1);
                parts.next().filter(|word| word.eq_ignore_ascii_case("subscriptions")).and_then(|_| parts.next())
            }
            Self::Metadata | Self::Unknown => None,
        }
    }
}

/// `{scope}/providers/Microsoft.Authorization/{role…}[/{name}]`.
fn authorization(parts: &[&str]) -> Option<Target> {
    let at = parts.windows(2).rposition(|two| is(two, &["providers", "Microsoft.Authorization"]))?;
    let scope = format!("/{}", parts[..at].join("/"));
    match &parts[at + 2..] {
        [kind, name @ ..] if name.len() <= 1 => {
            let name = name.first().map(|name| (*name).to_owned());
            match kind.to_ascii_lowercase().as_str() {
                "roleassignments" => Some(Target::Assignment { scope, name }),
                "roledefinitions" => Some(Target::Definition { scope, id: name }),
                _ => None,
            }
        }
        _ => None,
    }
}

fn is(parts: &[&str], words: &[&str]) -> bool {
    parts.len() == words.len() && parts.iter().zip(words).all(|(part, word)| part.eq_ignore_ascii_case(word))
}
