//! Everything that a join leaves behind, on the machine and in Azure, in words that are the same for every machine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexnode_vm::azure::{Operation, contoso};
use serde_json::Value;

use super::machine::Machine;

/// What, and how it is.
pub(crate) type EndState = BTreeMap<String, String>;

/// Looks at the machine and its Azure.
pub(crate) fn end_state(machine: &Machine) -> EndState {
    let words = Words::of(machine);
    let mut state = EndState::new();
    for (place, below) in [("root", machine.path("")), ("azcmagent", machine.dir().join("azcmagent"))] {
        walk(&below, place, &mut |path, file| {
            // Folders in memory are gone after the next boot; a file there would be left over.
            if path.starts_with("root/run") && file.is_dir() {
                return;
            }
            state.insert(format!("file {path}"), words.put(&described(path, file)));
        });
    }
    state.insert("operator's secret".into(), format!("{}", machine.secret().exists()));
    let folder = |name: &str| {
        let entries = fs::read_dir(machine.dir().join(name)).into_iter().flatten();
        let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries
    };
    for unit in folder("units") {
        state.insert(format!("unit {}", unit.file_name().unwrap().display()), String::new());
    }
    for file in folder("kubelet-read") {
        let read = format!("the kubelet has read {}", file.file_name().unwrap().display());
        state.insert(read, words.put(&fs::read_to_string(file).unwrap()));
    }
    in_azure(machine, &words, &mut state);
    state
}

fn in_azure(machine: &Machine, words: &Words, state: &mut EndState) {
    let azure = &machine.site.game.emulator;
    for machine in azure.machines() {
        state.insert(format!("machine {}", machine.id), words.put(&format!("{} {}", machine.location, machine.tags)));
        let mut roles: Vec<_> = azure.assignments(&machine.principal_id).into_iter().collect();
        roles.sort_by(|one, other| one.role.cmp(&other.role));
        let roles: Vec<String> = roles.iter().map(|one| format!("{} at {}", one.role, one.scope)).collect();
        state.insert(format!("roles of {}", machine.id), words.put(&roles.join("\n")));
    }
    for node in azure.nodes(&contoso::cluster_id()) {
        let (name, status) = (node["metadata"]["name"].as_str().unwrap(), &node["status"]);
        state.insert(format!("node {name}"), format!("{} {}", status["conditions"], status["nodeInfo"]));
    }
    for operation in [Operation::MachineWrite, Operation::RoleAssignmentWrite, Operation::NodeWrite] {
        let created = azure.requests_for(operation).iter().filter(|request| request.status == Some(201)).count();
        state.insert(format!("things made by {operation:?}"), created.to_string());
    }
}

fn described(name: &str, path: &Path) -> String {
    let metadata = fs::symlink_metadata(path).unwrap();
    if metadata.is_symlink() {
        return format!("leads to {}", fs::read_link(path).unwrap().display());
    }
    let mode = metadata.permissions().mode();
    if metadata.is_dir() {
        return format!("{mode:o}");
    }
    let text = fs::read(path).unwrap();
    let text = String::from_utf8_lossy(&text);
    let text = if name.ends_with("flexnode/state.json") { without_times(&text) } else { text.into_owned() };
    format!("{mode:o}\n{text}")
}

fn without_times(state: &str) -> String {
    let mut state: Value = serde_json::from_str(state).unwrap();
    for step in state["steps"].as_array_mut().unwrap() {
        // Nor how often it was asked whether the Node is ready.
        (step["since"], step["attempts"]) = ("then".into(), "some".into());
    }
    state.to_string()
}

/// Visits everything below a directory; names lead with `place`.
pub(crate) fn walk(directory: &Path, place: &str, visit: &mut impl FnMut(&str, &Path)) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = format!("{place}/{}", path.file_name().unwrap().display());
        visit(&name, &path);
        if path.symlink_metadata().unwrap().is_dir() {
            walk(&path, &name, visit);
        }
    }
}

/// What differs from machine to machine, and the word for it.
pub(crate) struct Words(Vec<(String, String)>);

impl Words {
    pub(crate) fn of(machine: &Machine) -> Self {
        let game = &machine.site.game;
        let azure = &game.emulator;
        let (server, ca) = azure.api_server(&contoso::cluster_id()).unwrap();
        let mut words = vec![
            (STANDARD.encode(&ca), "CLUSTER CA in base64".to_owned()),
            (ca, "CLUSTER CA\n".to_owned()),
            (azure.ca_pem().to_owned(), "CA\n".to_owned()),
            (server, "SERVER".to_owned()),
            (azure.arm().to_owned(), "ARM".to_owned()),
            (azure.entra().to_owned(), "ENTRA".to_owned()),
            (game.himds.url().to_owned(), "HIMDS".to_owned()),
        ];
        if let Ok(config) = flexnode_firstboot::config::load(&game.config, None) {
            words.push((config.digest, "DIGEST".to_owned()));
        }
        for machine in azure.machines() {
            words.push((machine.principal_id, format!("PRINCIPAL of {}", machine.name)));
            words.push((machine.vm_id, format!("VM of {}", machine.name)));
        }
        // The operator may find its machine at the next try, whose correlation is another.
        let agent = fs::read(game.state.join("agentconfig.json")).ok();
        let agent = agent.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        words
            .extend(agent.map(|agent| (agent["correlationId"].as_str().unwrap().to_owned(), "CORRELATION".to_owned())));
        words.push((machine.dir().display().to_string(), "DIR".to_owned()));
        Self(words)
    }

    pub(crate) fn put(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (this, word)| text.replace(this, word))
    }
}

/// What is different, one line each.
pub(crate) fn differences(one: &EndState, other: &EndState) -> Vec<String> {
    let keys: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differs = keys.into_iter().filter(|key| one.get(*key) != other.get(*key));
    differs.map(|key| format!("{key}: {:?}, and should be {:?}", one.get(key), other.get(key))).collect()
}
