//! A machine about to join, and how its runs end.

use std::fs;
use std::path::Path;
use std::process::Command;

use flexnode_vm::azure::{App, Emulator, Operation, World, contoso, role};
use flexnode_vm::join::{NODE, Site};
use tempfile::TempDir;

pub(crate) struct Bench {
    pub(crate) site: Site,
    _dir: TempDir,
}

impl Bench {
    pub(crate) fn new(world: World) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let agent = std::env::current_exe().unwrap().with_file_name("../flexnode-firstboot").canonicalize().unwrap();
        let stand_in = Path::new(env!("CARGO_BIN_EXE_flexnode-vm"));
        Self { site: Site::open_world(world, dir.path(), stand_in, &agent).unwrap(), _dir: dir }
    }

    pub(crate) fn azure(&self) -> &Emulator {
        &self.site.game.emulator
    }

    pub(crate) fn change_config(&self, from: &str, to: &str) {
        let config = fs::read_to_string(&self.site.game.config).unwrap();
        assert!(config.contains(from), "{config}");
        fs::write(&self.site.game.config, config.replace(from, to)).unwrap();
    }

    /// Runs the agent, which ends with this code; what it said.
    pub(crate) fn ends_with(&self, code: i32) -> String {
        ends_with(&mut self.site.join(), code)
    }

    /// The agent joins: one machine, one Node, and no role twice.
    pub(crate) fn joins(&self) -> String {
        let said = self.ends_with(0);
        let machines = self.azure().machines();
        assert_eq!(machines.len(), 1, "{machines:#?}");
        let assignments = self.azure().assignments(&machines[0].principal_id);
        let mut grants: Vec<_> = assignments.iter().map(|one| (&one.role, one.scope.to_lowercase())).collect();
        grants.sort();
        grants.dedup();
        assert_eq!(grants.len(), assignments.len(), "{assignments:#?}");
        let nodes = self.azure().nodes(&contoso::cluster_id());
        assert!(nodes.len() == 1 && nodes[0]["metadata"]["name"] == NODE, "{nodes:#?}");
        said
    }

    /// How often one thing was asked so far.
    pub(crate) fn count(&self, operation: Operation) -> usize {
        self.azure().requests_for(operation).len()
    }

    /// How often himdsd was restarted.
    pub(crate) fn restarts(&self) -> usize {
        self.site.systemctl_log().matches("restart himdsd.service").count()
    }

    /// Object id of the machine's identity.
    pub(crate) fn principal(&self) -> String {
        self.azure().machines()[0].principal_id.clone()
    }
}

pub(crate) fn ends_with(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!said.contains(contoso::SECRET), "the secret is in what was said");
    said
}

/// An operator who may register machines and look at the cluster, and not assign roles.
pub(crate) fn onboarder() -> App {
    App::new(contoso::APP, contoso::SECRET)
        .object_id(contoso::APP_OBJECT)
        .grant(role::ONBOARDING, &contoso::group_id(contoso::MACHINES))
        .grant(role::READER, &contoso::cluster_id())
}
