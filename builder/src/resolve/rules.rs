//! Pairs that the catalog's rules forbid: refused, or taken with permission and a warning.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use flexnode_firstboot::suggest;
use semver::Version;

use super::Resolver;
use crate::catalog::Pair;
use crate::failure::{Class, Failure};
use crate::lock::Allowed;
use crate::request::Request;

/// Refuses broken rules that are not allowed; warns of permissions that nothing needs.
pub(super) fn rules(
    request: &Request,
    resolver: &Resolver<'_>,
    kubernetes: &Version,
    pause_image: &str,
) -> Result<(Vec<Allowed>, Vec<String>)> {
    let rules = &resolver.catalog.compat.rules;
    for name in &request.allow {
        if !rules.iter().any(|rule| rule.name == *name) {
            let names = rules.iter().map(|rule| rule.name.as_str());
            let hint = match suggest::nearest(name, names.clone()) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("the rules are {}", names.collect::<Vec<_>>().join(", ")),
            };
            bail!(Failure::new(Class::Usage, format!("no rule is called `{name}`")).hint(hint));
        }
    }
    let mut allowed = Vec::new();
    let mut refused = Vec::new();
    for (component, release) in &resolver.picked {
        // A static build of containerd is still containerd.
        let name = component.replaces.as_deref().unwrap_or(&component.name);
        let pair = Pair { kubernetes, pause_image, component: name, version: &release.version };
        for rule in resolver.catalog.compat.broken_by(pair) {
            if request.allow.contains(&rule.name) {
                allowed.push(Allowed {
                    rule: rule.name.clone(),
                    component: component.name.clone(),
                    version: release.version.to_string(),
                    why: rule.why.clone(),
                });
            } else {
                refused.push((format!("{} {}", component.name, release.version), rule));
            }
        }
    }
    if let Some((_, first)) = refused.first() {
        let what = refused.iter().map(|(what, rule)| format!("{what} breaks `{}`: {}", rule.name, rule.why));
        let allow = refused.iter().map(|(_, rule)| format!("--allow {}", rule.name)).collect::<BTreeSet<_>>();
        bail!(
            Failure::new(
                Class::Resolution,
                format!("with Kubernetes {kubernetes}, {}", what.collect::<Vec<_>>().join("; "))
            )
            .hint(format!(
                "{}; or take the risk with {}",
                first.cure,
                allow.into_iter().collect::<Vec<_>>().join(" ")
            ))
        );
    }
    let needed: BTreeSet<&String> = allowed.iter().map(|allowed| &allowed.rule).collect();
    let mut warnings: Vec<String> = allowed
        .iter()
        .map(|a| format!("{} {} breaks `{}`, which is allowed: {}", a.component, a.version, a.rule, a.why))
        .collect();
    warnings.extend(
        request
            .allow
            .iter()
            .filter(|name| !needed.contains(name))
            .map(|name| format!("nothing breaks `{name}`: --allow is not needed")),
    );
    Ok((allowed, warnings))
}
