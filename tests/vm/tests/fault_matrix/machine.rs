//! A machine that joins, how its run ends, and what must be true of it afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flexnode_vm::azure::{App, World, contoso, role};
use flexnode_vm::join::{NODE, Site};

use crate::expected::Ends;

/// Pace of a join that is to succeed: pauses and deadlines are a fiftieth of the real ones.
pub(crate) const PATIENT: f64 = 0.02;
/// Pace of a join that meets its fault for good. One request has two seconds all the same.
pub(crate) const HASTY: f64 = 0.0005;

/// Seconds after which a run is stuck: the longest step has 42 at the patient pace.
const STUCK: &str = "120";

/// A machine and an Azure of its own. The config names a role whose id only Azure knows.
pub(crate) fn site(dir: &Path, world: World) -> Site {
    let agent = std::env::current_exe().unwrap().with_file_name("../flexnode-firstboot").canonicalize().unwrap();
    let site = Site::open_world(world, dir, Path::new(env!("CARGO_BIN_EXE_flexnode-vm")), &agent).unwrap();
    change_config(&site, "Azure Kubernetes Service RBAC Cluster Admin", "Azure Kubernetes Service Flex Node Agent");
    site
}

/// An operator who may register machines and look at roles, and not assign them.
pub(crate) fn onboarder() -> App {
    App::new(contoso::APP, contoso::SECRET)
        .object_id(contoso::APP_OBJECT)
        .grant(role::ONBOARDING, &contoso::group_id(contoso::MACHINES))
        .grant(role::READER, &contoso::cluster_id())
}

/// The two roles of the machine, given by somebody else.
pub(crate) fn assign_by_somebody_else(site: &Site) {
    let principal = &site.game.emulator.machines()[0].principal_id;
    for role in ROLES {
        site.game.emulator.grant(principal, role, &contoso::cluster_id()).unwrap();
    }
}

pub(crate) fn change_config(site: &Site, from: &str, to: &str) {
    let config = fs::read_to_string(&site.game.config).unwrap();
    assert!(config.contains(from), "{config}");
    fs::write(&site.game.config, config.replace(from, to)).unwrap();
}

/// Runs the agent; an error says how it ended otherwise than it should have.
pub(crate) fn run(site: &Site, pace: f64, expected: Ends) -> Result<i32, String> {
    let join = site.join_at(pace);
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", STUCK]).arg(join.get_program()).args(join.get_args()).env_clear();
    command.envs(join.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.env("AZCMAGENT_PATIENCE_SECONDS", "2").output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let hint = said.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap_or_default();
    let code = output.status.code().unwrap_or(-1);
    let is_right = match expected {
        Ends::Joins => code == 0,
        Ends::Fails(expected, words) => code == expected && hint.contains(words),
    };
    if !is_right {
        return Err(format!("it ended with {code}, and not as {expected:?}:\n{said}{}", requests(site)));
    }
    if said.contains(contoso::SECRET) {
        return Err(format!("it tells the operator's secret:\n{said}"));
    }
    match secrets_below(&site.root()).first() {
        Some(path) => Err(format!("{} holds the operator's secret", path.display())),
        None => Ok(code),
    }
}

/// What Azure was asked.
fn requests(site: &Site) -> String {
    site.game.emulator.requests().iter().map(|request| format!("    {request}\n")).collect()
}

fn secrets_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, others): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir() && !path.is_symlink());
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(contoso::SECRET.len()).any(|part| part == contoso::SECRET.as_bytes())
    };
    let below = directories.iter().flat_map(|directory| secrets_below(directory));
    others.into_iter().filter(holds).chain(below).collect()
}

const ROLES: [&str; 2] = [role::CLUSTER_USER, role::FLEX_NODE_AGENT];

/// One machine, its two roles once each, one Node, a marker; himdsd was not restarted.
pub(crate) fn has_joined(site: &Site) -> Result<(), String> {
    let azure = &site.game.emulator;
    let machines = azure.machines();
    let [machine] = machines.as_slice() else { return Err(format!("there are {} machines", machines.len())) };
    let assignments = azure.assignments(&machine.principal_id);
    let roles: Vec<&str> = assignments.iter().map(|assignment| assignment.role.as_str()).collect();
    let at_the_cluster = assignments.iter().all(|one| one.scope.eq_ignore_ascii_case(&contoso::cluster_id()));
    if roles != ROLES || !at_the_cluster {
        return Err(format!("the roles are {assignments:#?}"));
    }
    let nodes = azure.nodes(&contoso::cluster_id());
    if nodes.len() != 1 || nodes[0]["metadata"]["name"] != NODE {
        return Err(format!("the nodes are {nodes:#?}"));
    }
    if !site.path("var/lib/flexnode/joined.0123456789abcdef0123456789abcdef").exists() {
        return Err("there is no marker".to_owned());
    }
    if site.systemctl_log().contains("himdsd") {
        return Err(format!("himdsd was restarted:\n{}", site.systemctl_log()));
    }
    Ok(())
}
