//! `flexnode-vm azure`: what it prints is a config, and what it starts can be joined.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use flexnode_firstboot::config::{Fragment, Settings};
use flexnode_vm::azure::{client, contoso};

#[test]
fn the_printed_config_holds_and_requests_are_shown() {
    let here = tempfile::tempdir().unwrap();
    let dir = here.path().join("azure");
    let mut program = Command::new(env!("CARGO_BIN_EXE_flexnode-vm"));
    let mut program = program.arg("azure").arg(&dir).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(program.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(shown.next().unwrap(), "azure: ready; Ctrl-C ends it");

    let config = fs::read_to_string(dir.join("config.yaml")).unwrap();
    let settings = Settings::from_fragments([Fragment::parse(&config, "config.yaml").unwrap()]).unwrap();
    assert_eq!(settings.cluster.to_string(), contoso::cluster_id());
    assert_eq!(settings.roles.len(), 1);
    let loaded = flexnode_firstboot::config::load(&dir.join("config.yaml"), None).unwrap();
    let ca = fs::read_to_string(loaded.settings.ca_cert_file.unwrap()).unwrap();

    let url = format!("{}/metadata/endpoints?api-version=2022-09-01", settings.resource_manager);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = client::client(&ca, std::time::Duration::from_secs(10)).unwrap();
    let status = runtime.block_on(async { client.get(url).send().await.unwrap().status() });
    assert_eq!(status, 200);
    assert_eq!(shown.next().unwrap(), "arm        200 GET    /metadata/endpoints");

    let options = here.path().join("options.json");
    let text = format!(
        r#"{{"subscription-id": "{}", "resource-group": "{}", "resource-name": "edge-node-01", "location": "westeurope",
            "tenant-id": "{}", "service-principal-id": "{}", "service-principal-secret": "{}"}}"#,
        contoso::SUBSCRIPTION,
        contoso::MACHINES,
        contoso::TENANT,
        contoso::APP,
        fs::read_to_string(dir.join("client-secret")).unwrap()
    );
    fs::write(&options, text).unwrap();
    let mut azcmagent = Command::new(dir.join("bin/azcmagent"));
    azcmagent.env("AZCMAGENT_STATE", dir.join("azcmagent")).args(["connect", "--config"]).arg(&options);
    let output = azcmagent.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(shown.any(|line| line.starts_with("arm        201 PUT ")));

    program.kill().unwrap();
    program.wait().unwrap();
    let mut printed = String::new();
    program.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert!(printed.ends_with(&format!("{config}\n")), "{printed}");
    assert!(Fragment::parse(&printed, "stdout").is_ok(), "what is printed can be used as it is");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let here = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_flexnode-vm"));
    let output = program.arg("azure").arg(here.path()).args(["--port", &port.to_string()]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains(&format!("listen on 127.0.0.1:{port}")), "{said}");
}
