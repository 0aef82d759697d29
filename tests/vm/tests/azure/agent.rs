//! The stand-in azcmagent: connects like the real one, and refuses what the real one refuses.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flexnode_vm::azcmagent::{Place, package};
use flexnode_vm::azure::{ARM_AUDIENCES, Fault, Operation, TlsFault, When, contoso, role};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bench::{Bench, contoso_bench};

const FLEXNODE_VM: &str = env!("CARGO_BIN_EXE_flexnode-vm");

struct Agent {
    home: TempDir,
}

impl Agent {
    fn new(bench: &Bench) -> Self {
        let home = tempfile::tempdir().unwrap();
        symlink(FLEXNODE_VM, home.path().join("azcmagent")).unwrap();
        let agent = Self { home };
        Place::at(&agent.state()).point_to(&bench.azure).unwrap();
        agent
    }

    fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let program = self.home.path().join("azcmagent");
        Command::new(program).env_clear().env("AZCMAGENT_STATE", self.state()).args(arguments).output().unwrap()
    }

    /// `connect` with these options in a file.
    fn connect(&self, options: &Value) -> Output {
        let file = self.home.path().join("options.json");
        fs::write(&file, options.to_string()).unwrap();
        self.run(&["connect", "--config", file.to_str().unwrap()])
    }

    fn shown(&self) -> Value {
        serde_json::from_slice(&self.run(&["show", "-j"]).stdout).unwrap()
    }
}

fn options() -> Value {
    json!({
        "subscription-id": contoso::SUBSCRIPTION,
        "resource-group": contoso::MACHINES,
        "resource-name": "edge-1",
        "location": "westeurope",
        "tenant-id": contoso::TENANT,
        "cloud": "AzureCloud",
        "tags": "site=hall 4,owner=",
        "correlation-id": "mine",
        "service-principal-id": contoso::APP,
        "service-principal-secret": contoso::SECRET,
    })
}

fn with(key: &str, value: impl Into<Value>) -> Value {
    let mut options = options();
    options[key] = value.into();
    options
}

fn without(keys: &[&str]) -> Value {
    let mut options = options();
    keys.iter().for_each(|key| drop(options.as_object_mut().unwrap().remove(*key)));
    options
}

fn refused(output: &Output) -> (i32, String) {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!said.contains(contoso::SECRET), "{said}");
    (output.status.code().unwrap(), said.split("AZCM").nth(1).unwrap_or(&said).chars().take(4).collect())
}

#[test]
fn it_connects_shows_and_disconnects() {
    let bench = contoso_bench();
    let agent = Agent::new(&bench);
    assert_eq!(agent.shown()["status"], "Disconnected");
    assert!(agent.run(&["check", "--location", "westeurope", "--cloud", "AzureCloud"]).status.success());
    let connected = agent.connect(&options());
    assert!(connected.status.success(), "{connected:?}");
    let machine = bench.azure.machine(&contoso::machine_id("edge-1")).unwrap();
    assert_eq!((&machine.tags["site"], &machine.tags["owner"]), (&json!("hall 4"), &json!("")));
    let shown = agent.shown();
    for (key, value) in [
        ("status", "Connected"),
        ("resourceName", "edge-1"),
        ("resourceGroup", contoso::MACHINES),
        ("subscriptionId", contoso::SUBSCRIPTION),
        ("tenantId", contoso::TENANT),
        ("location", "westeurope"),
        ("cloud", "AzureCloud"),
        ("correlationId", "mine"),
        ("vmId", machine.vm_id.as_str()),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    assert_eq!(refused(&agent.connect(&options())), (67, "0067".to_owned()));
    let config = fs::metadata(agent.state().join("agentconfig.json")).unwrap();
    assert_eq!(config.permissions().mode() & 0o777, 0o600);

    let file = agent.home.path().join("options.json");
    let disconnect = || agent.run(&["disconnect", "--config", file.to_str().unwrap()]);
    assert_eq!(refused(&disconnect()), (62, "0062".to_owned()), "onboarding does not delete");
    bench.azure.grant(contoso::APP_OBJECT, role::CONTRIBUTOR, &contoso::group_id(contoso::MACHINES)).unwrap();
    assert!(disconnect().status.success());
    assert!(bench.azure.machines().is_empty());
    assert_eq!(agent.shown()["status"], "Disconnected");
    assert!(disconnect().status.success(), "nothing is left to do");
}

#[test]
fn options_come_as_yaml_or_flags_and_a_token_does_too() {
    let bench = contoso_bench();
    let agent = Agent::new(&bench);
    let file = agent.home.path().join("options.yaml");
    let text = format!(
        "subscription-id: {}\nresource-group: {}\nlocation: westeurope\ntenant-id: {}\n",
        contoso::SUBSCRIPTION,
        contoso::MACHINES,
        contoso::TENANT
    );
    fs::write(&file, text).unwrap();
    let token = bench.azure.token(contoso::APP_OBJECT, ARM_AUDIENCES[0]).unwrap();
    let output = agent.run(&["connect", "--config", file.to_str().unwrap(), "-n", "edge-2", "--access-token", &token]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(agent.shown()["resourceName"], "edge-2");
    assert!(bench.azure.requests_for(Operation::Token).is_empty());

    assert!(agent.run(&["disconnect", "--force-local-only"]).status.success());
    assert_eq!(bench.azure.machines().len(), 1, "the resource stays");
    let again = agent.connect(&with("resource-name", "edge-2"));
    assert_eq!(refused(&again), (44, "0044".to_owned()), "and it is somebody else's now");
}

#[test]
fn it_refuses_what_the_real_one_refuses() {
    let bench = contoso_bench();
    let agent = Agent::new(&bench);
    let principal = ["service-principal-id", "service-principal-secret"];
    let mut bad_token = without(&principal);
    bad_token["access-token"] = json!("nonsense");
    let cases = [
        (with("service-principal-secret", "wrong"), "0041"),
        (with("tenant-id", role::READER), "0041"),
        (without(&principal), "0041"),
        (bad_token, "0012"),
        (with("resource-group", "nowhere"), "0042"),
        (with("subscription-id", role::READER), "0042"),
        (with("location", "mars"), "0042"),
        (with("cloud", "AzureMarsCloud"), "0016"),
        (with("tags", "x"), "0016"),
        (with("acess-token", "x"), "0016"),
        (with("access-token", "x"), "0016"),
        (without(&["location"]), "0016"),
    ];
    for (options, code) in cases {
        let output = agent.connect(&options);
        let expected = (code.parse().unwrap(), code.to_owned());
        assert_eq!(refused(&output), expected, "{options} {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(bench.azure.machines().is_empty() && agent.shown()["status"] == "Disconnected");

    bench.azure.inject(When::operation(Operation::MachineWrite).nth(1), Fault::Status(500));
    assert_eq!(refused(&agent.connect(&options())).1, "0042");
    bench.azure.inject(When::operation(Operation::Token).nth(1), Fault::Reset);
    assert_eq!(refused(&agent.connect(&options())).1, "0026");
    bench.azure.inject_tls(flexnode_vm::azure::Service::Arm, &[TlsFault::UnknownAuthority; 2]);
    assert_eq!(refused(&agent.connect(&options())).1, "0026");
    assert_eq!(refused(&agent.run(&["check"])), (26, "0026".to_owned()));

    bench.azure.revoke_all(contoso::APP_OBJECT);
    assert_eq!(refused(&agent.connect(&options())), (42, "0042".to_owned()), "forbidden");
}

#[test]
fn a_connect_that_was_cut_off_goes_on_as_the_same_machine() {
    let bench = contoso_bench();
    let agent = Agent::new(&bench);
    bench.azure.inject(When::operation(Operation::MachineWrite).nth(1), Fault::LoseAnswer);
    assert_eq!(refused(&agent.connect(&options())), (26, "0026".to_owned()));
    let first = bench.azure.machines();
    assert_eq!((first.len(), &agent.shown()["status"]), (1, &json!("Disconnected")));
    assert!(agent.connect(&options()).status.success());
    assert_eq!(bench.azure.machines()[0].principal_id, first[0].principal_id);

    let other = Agent::new(&bench);
    assert_eq!(refused(&other.connect(&options())), (44, "0044".to_owned()), "another machine is not let in");
}

#[test]
fn it_needs_root_and_an_emulator() {
    let bench = contoso_bench();
    let agent = Agent::new(&bench);
    // A copy where nobody else's modes are in the way of an ordinary user.
    let shared = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir_in("/tmp").unwrap();
    let program = shared.path().join("azcmagent");
    fs::copy(FLEXNODE_VM, &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
    let output = command.args(["connect", "--config", "/nowhere"]).output().unwrap();
    assert_eq!(refused(&output), (18, "0018".to_owned()), "{output:?}");

    fs::remove_file(agent.state().join("emulator.json")).unwrap();
    assert_eq!(refused(&agent.connect(&options())).1, "0026");
    assert_eq!(agent.run(&["nonsense"]).status.code(), Some(1));
}

#[test]
fn a_package_of_it_installs_where_there_is_no_systemd() {
    let here = tempfile::tempdir().unwrap();
    let deb = package(Path::new(FLEXNODE_VM), "1.61.03319.859", here.path()).unwrap();
    assert_eq!(deb.file_name().unwrap(), "azcmagent_1.61.03319.859_amd64.deb");
    let root = here.path().join("root");
    fs::create_dir_all(root.join("var/lib/dpkg/updates")).unwrap();
    for file in ["status", "available"] {
        fs::write(root.join("var/lib/dpkg").join(file), "").unwrap();
    }
    fs::create_dir_all(root.join("var/lib/dpkg/info")).unwrap();
    let output = Command::new("dpkg")
        .arg(format!("--root={}", root.display()))
        .args(["--log=/dev/null", "--force-not-root", "--force-bad-path", "--install"])
        .arg(&deb)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let version = Command::new(root.join("usr/bin/azcmagent")).arg("version").output().unwrap();
    let said = String::from_utf8(version.stdout).unwrap();
    assert_eq!(said, "azcmagent version 1.61.03319.859 (stand-in)\n");
}
