//! Names in Azure Arc that are not this machine's.

use std::fs;
use std::path::Path;
use std::process::Command;

use flexnode_vm::azcmagent::Place;
use flexnode_vm::azure::{Machine, Operation, contoso, role};
use serde_json::{Value, json};

use crate::bench::{Bench, ends_with};
use crate::hint;

/// `azcmagent`, with the state of a machine.
fn azcmagent(bench: &Bench, state: &Path) -> Command {
    let mut command = Command::new(bench.site.game.programs.join("azcmagent"));
    command.env_clear().env("AZCMAGENT_STATE", state);
    command
}

/// Registers a machine by hand.
fn connect(bench: &Bench, state: &Path, name: &str) {
    Place::at(state).point_to(bench.azure()).unwrap();
    let options = json!({
        "subscription-id": contoso::SUBSCRIPTION,
        "resource-group": contoso::MACHINES,
        "resource-name": name,
        "location": "westeurope",
        "tenant-id": contoso::TENANT,
        "service-principal-id": contoso::APP,
        "service-principal-secret": contoso::SECRET,
    });
    let file = state.join("options.json");
    fs::write(&file, options.to_string()).unwrap();
    ends_with(azcmagent(bench, state).args(["connect", "--config"]).arg(file), 0);
}

fn vm_ids(machines: &[Machine]) -> Vec<(&str, &str)> {
    machines.iter().map(|machine| (machine.name.as_str(), machine.vm_id.as_str())).collect()
}

#[test]
fn a_name_that_another_machine_has_is_left_to_it() {
    let bench = Bench::new(contoso::world());
    let elsewhere = tempfile::tempdir().unwrap();
    connect(&bench, elsewhere.path(), "edge-node-01");
    let before = bench.azure().machines();
    bench.azure().forget_requests();
    let said = bench.ends_with(78);
    let id = contoso::machine_id("edge-node-01");
    let cure =
        format!("set azure.arc.machineName, or, if that machine is gone, `az connectedmachine delete --ids {id}`");
    assert!(said.contains("AZCM0044") && hint::of(&said).ends_with(&cure), "{said}");
    assert_eq!(vm_ids(&bench.azure().machines()), vm_ids(&before));
    assert!(bench.count(Operation::MachineWrite) == 0 && bench.azure().requests().len() <= 6);
    assert!(bench.azure().delete_machine(&id));
    bench.joins();
}

#[test]
fn a_machine_that_is_registered_as_another_resource_is_left_as_it_is() {
    let bench = Bench::new(contoso::world());
    let state = bench.site.game.state.clone();
    connect(&bench, &state, "of-another-team");
    let before = bench.azure().machines();
    bench.azure().forget_requests();
    let said = bench.ends_with(78);
    assert!(said.contains("of-another-team") && hint::of(&said).contains("`azcmagent disconnect`"), "{said}");
    assert_eq!(vm_ids(&bench.azure().machines()), vm_ids(&before));
    assert!(bench.count(Operation::MachineWrite) == 0 && bench.count(Operation::RoleAssignmentWrite) == 0);

    bench.azure().grant(contoso::APP_OBJECT, role::CONTRIBUTOR, &contoso::group_id(contoso::MACHINES)).unwrap();
    ends_with(azcmagent(&bench, &state).args(["disconnect", "--config"]).arg(state.join("options.json")), 0);
    // A person's own; the agent leaves none.
    fs::remove_file(state.join("options.json")).unwrap();
    bench.joins();
}

#[test]
fn a_machine_that_is_registered_in_another_tenant_is_left_as_it_is() {
    let bench = Bench::new(contoso::world());
    bench.joins();
    bench.change_config("node:\n", "node:\n  maxPods: 60\n");
    let file = bench.site.game.state.join("agentconfig.json");
    let shown = fs::read_to_string(&file).unwrap();
    let mut config: Value = serde_json::from_str(&shown).unwrap();
    config["tenantId"] = json!("99999999-9999-4999-8999-999999999999");
    fs::write(&file, config.to_string()).unwrap();
    bench.azure().forget_requests();
    let said = bench.ends_with(78);
    assert!(said.contains("in tenant 99999999") && hint::of(&said).contains("azure.tenantId"), "{said}");
    assert!(bench.count(Operation::MachineWrite) == 0 && bench.count(Operation::RoleAssignmentWrite) == 0);
    assert_eq!(serde_json::from_str::<Value>(&fs::read_to_string(&file).unwrap()).unwrap(), config);
    fs::write(&file, shown).unwrap();
    bench.joins();
}

#[test]
fn a_machine_that_somebody_has_deleted_in_azure_is_told_how_to_register_anew() {
    let bench = Bench::new(contoso::world());
    bench.joins();
    assert!(bench.azure().delete_machine(&contoso::machine_id("edge-node-01")));
    bench.change_config("node:\n", "node:\n  maxPods: 60\n");
    let said = ends_with(&mut bench.site.join_at(0.0005), 75);
    assert!(hint::of(&said).contains("`azcmagent disconnect --force-local-only`"), "{said}");
    ends_with(azcmagent(&bench, &bench.site.game.state).args(["disconnect", "--force-local-only"]), 0);
    bench.joins();
}
