//! A reader of YAML 1.1, to which `no` is a boolean, takes the same from what is written.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flexnode_build::render::Values;
use serde_json::{Value, json};

use crate::{run, skip, text, tree};

#[test]
fn a_yaml_1_1_reader_takes_the_same_from_what_is_written() {
    let Some(python) = python_with_yaml() else { return };
    let odd = [
        "no",
        "on",
        "y",
        "1.30",
        "0644",
        "0x1f",
        "1_000",
        "1:30",
        "~",
        "null",
        "",
        " ",
        "2026-01-01",
        "<<",
        "=",
        "!x",
        "&a",
        "*a",
        "# x",
        "a: b",
        "- a",
        "%d",
        "@x",
        "`x`",
        "{{ x }}",
        "'",
        "\"",
        "\\",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "\u{2029}",
        "\u{feff}",
        "é",
        "🦀",
        "\u{10ffff}",
        "\n",
        "\t",
        "\u{1}",
    ];
    let reserved: serde_json::Map<String, Value> =
        odd.iter().enumerate().map(|(at, text)| (format!("r{at}"), json!(text))).collect();
    let keys: serde_json::Map<String, Value> = odd.iter().map(|text| ((*text).to_owned(), json!("x"))).collect();
    let layer = json!({"kubelet": {"systemReserved": reserved, "kubeReserved": keys, "clusterDomain": "no"}});
    let values = Values::from_layers(&[layer], &[]).expect("good values");
    for minor in 28..=37 {
        let tree = tree(minor, "1.7.34", &values);
        let config = text(&tree, "var/lib/kubelet/config.yaml");
        let meant: Value = serde_json::from_str(&config).expect("JSON");
        assert_eq!(meant["systemReserved"], Value::Object(reserved.clone()));
        assert_eq!(meant["kubeReserved"], Value::Object(keys.clone()));
        assert_eq!(read_yaml(&python, &config), meant);
    }
    let crictl = text(&tree(30, "1.7.34", &values), "etc/crictl.yaml");
    let socket = "unix:///run/containerd/containerd.sock";
    assert_eq!(
        read_yaml(&python, &crictl),
        json!({"runtime-endpoint": socket, "image-endpoint": socket, "timeout": 10, "debug": false})
    );
    assert_eq!(read_yaml(&python, "a: no"), json!({"a": false}), "the reader is one of YAML 1.1");
}

fn read_yaml(packages: &Path, yaml: &str) -> Value {
    let mut python = Command::new("python3")
        .args(["-c", "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin.buffer.read()), sys.stdout)"])
        .env("PYTHONPATH", packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    python.stdin.take().expect("a pipe").write_all(yaml.as_bytes()).expect("written");
    let output = python.wait_with_output().expect("python3");
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Where python3 finds PyYAML, which reads YAML 1.1.
fn python_with_yaml() -> Option<PathBuf> {
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pyyaml");
    let has_yaml = || run(Command::new("python3").args(["-c", "import yaml"]).env("PYTHONPATH", &packages));
    let install = || {
        run(Command::new("python3").args(["-m", "pip", "install", "--quiet", "--target"]).arg(&packages).arg("PyYAML"))
    };
    match has_yaml().or_else(|_| install()).and_then(|()| has_yaml()) {
        Ok(()) => Some(packages),
        Err(why) => {
            skip(&format!("PyYAML cannot be had: {why}"));
            None
        }
    }
}
