//! Follows a hint to the letter, as whoever reads it at three in the morning does.

use std::collections::HashMap;

use flexnode_vm::azure::{ClusterRole, contoso, role};

use crate::bench::Bench;

const ROLES: [(&str, &str); 4] = [
    ("Azure Kubernetes Service Cluster User Role", role::CLUSTER_USER),
    ("Azure Kubernetes Service RBAC Cluster Admin", role::RBAC_CLUSTER_ADMIN),
    ("Azure Connected Machine Onboarding", role::ONBOARDING),
    ("Role Based Access Control Administrator", role::RBAC_ADMINISTRATOR),
];

/// The hint in what the agent said.
pub(crate) fn of(said: &str) -> &str {
    said.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap_or_else(|| panic!("no hint: {said}"))
}

/// Does what the hint's command does: grants the role, or binds the ClusterRole, that it names.
pub(crate) fn follow(bench: &Bench, said: &str) {
    let hint = of(said);
    if let Some((_, line)) = hint.split_once("az role assignment create ") {
        let options = options(line);
        let who = match options.get("--assignee-object-id") {
            Some(object_id) => {
                assert_eq!(options["--assignee-principal-type"], "ServicePrincipal", "{hint}");
                object_id.as_str()
            }
            None if options["--assignee"] == contoso::APP => contoso::APP_OBJECT,
            None => panic!("granted to nobody: {hint}"),
        };
        let role = ROLES.iter().find(|(name, _)| options["--role"] == *name).unwrap_or_else(|| panic!("{hint}"));
        bench.azure().grant(who, role.1, &options["--scope"]).unwrap();
    } else if let Some((_, line)) = hint.split_once("kubectl create clusterrolebinding ") {
        let options = options(line);
        assert_eq!(options["--clusterrole"], "system:node", "{hint}");
        bench.azure().bind(&contoso::cluster_id(), &options["--user"], ClusterRole::Node).unwrap();
    } else {
        panic!("no command to follow: {hint}");
    }
}

/// `--name value`, `--name "value"` and `--name=value`, as a shell reads them.
fn options(line: &str) -> HashMap<String, String> {
    let mut words = Vec::new();
    for (nth, part) in line.split('"').enumerate() {
        match nth % 2 {
            0 => words.extend(part.split([' ', '=']).filter(|word| !word.is_empty()).map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    let names = words.iter().enumerate().filter(|(_, word)| word.starts_with("--"));
    names.filter_map(|(at, name)| Some((name.clone(), words.get(at + 1)?.clone()))).collect()
}
