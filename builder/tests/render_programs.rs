//! What is rendered, read by the programs it is for: systemd, containerd 1.6 and 2.x from Debian, a YAML 1.1 reader.
//!
//! A program that cannot be had skips its test with a line that says so; in CI that is a failure.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flexnode_build::artifact::Arch;
use flexnode_build::overlay::{Entry, OverlayPath};
use flexnode_build::render::{Facts, Values, render};
use flexnode_build::target::Target;
use serde_json::{Value, json};

fn tree(minor: u64, containerd: &str, values: &Values) -> Vec<(OverlayPath, Entry)> {
    let facts = Facts {
        kubernetes: semver::Version::new(1, minor, 0),
        containerd: containerd.parse().expect("a version"),
        arch: Arch::Amd64,
        target: Target::Ubuntu2204,
        pause_image: "registry.example/pause:3.9".into(),
    };
    render(&facts, values, None).expect("renders")
}

fn text(tree: &[(OverlayPath, Entry)], path: &str) -> String {
    match tree.iter().find(|(found, _)| found.as_str() == path) {
        Some((_, Entry::File(file))) => {
            let mut text = String::new();
            file.content.reader().read_to_string(&mut text).expect("UTF-8");
            text
        }
        other => panic!("{path}: {other:?}"),
    }
}

/// Says what is left out, and fails in CI, where everything must be there.
fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
    assert!(std::env::var_os("CI").is_none(), "CI must not skip: {why}");
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn systemd_accepts_the_units() {
    for minor in [28, 37] {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        write_tree(root, &tree(minor, "2.2.0", &Values::default()));
        for program in ["kubelet", "containerd", "flexnode-firstboot"] {
            program_file(&root.join("usr/local/bin").join(program));
        }
        let units: Vec<PathBuf> = ["containerd", "kubelet", "flexnode-firstboot"]
            .map(|unit| root.join(format!("etc/systemd/system/{unit}.service")))
            .to_vec();
        let Some(said) = verify(root, &units) else { return };
        assert_eq!(said, "", "1.{minor}");

        // And it would have said something.
        let unit = fs::read_to_string(&units[2]).expect("a unit");
        fs::write(&units[2], unit.replace("RestartSec=30", "RestartForceExitStatus=75")).expect("a unit");
        let said = verify(root, &units).expect("it ran a moment ago");
        assert!(said.contains("isn't allowed for Type=oneshot"), "{said}");
    }
}

/// What `systemd-analyze verify` complains about; the status is not zero then.
fn verify(root: &Path, units: &[PathBuf]) -> Option<String> {
    let system = root.join("usr/lib/systemd/system");
    if !system.exists() {
        fs::create_dir_all(&system).expect("a directory");
        // The distribution's units that ours are ordered by.
        for entry in fs::read_dir("/lib/systemd/system").into_iter().flatten().flatten() {
            let name = entry.file_name();
            if Path::new(&name).extension().is_some_and(|extension| extension == "target" || extension == "slice") {
                fs::copy(entry.path(), system.join(&name)).expect("a copy");
            }
        }
    }
    let relative = units.iter().map(|unit| Path::new("/").join(unit.strip_prefix(root).expect("it is below the root")));
    let mut command = Command::new("systemd-analyze");
    command.arg("verify").arg("--man=no").arg(format!("--root={}", root.display())).args(relative);
    match command.output() {
        Ok(output) => {
            let said = stderr(&output);
            assert_eq!(output.status.success(), said.is_empty(), "{said}");
            Some(said)
        }
        Err(error) => {
            skip(&format!("systemd-analyze is not installed ({error})"));
            None
        }
    }
}

fn write_tree(root: &Path, tree: &[(OverlayPath, Entry)]) {
    for (path, entry) in tree {
        let at = root.join(path.as_str());
        fs::create_dir_all(at.parent().expect("a parent")).expect("a directory");
        match entry {
            Entry::Directory(_) => fs::create_dir_all(&at),
            Entry::Link { target } => symlink(target, &at),
            Entry::File(_) => fs::write(&at, text(tree, path.as_str())),
        }
        .expect("the tree can be written");
    }
}

fn program_file(path: &Path) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(path, "#!/bin/sh\n").expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
}

#[test]
fn containerd_1_6_reads_version_2_as_meant() {
    let Some(containerd) = containerd("bookworm") else { return };
    let dumped = dump(&containerd, "1.7.34");
    let cri = r#"plugins."io.containerd.grpc.v1.cri""#;
    assert_eq!(dumped["|version"], "2");
    assert_eq!(dumped["grpc|address"], r#""/run/containerd/containerd.sock""#);
    assert_eq!(dumped["metrics|address"], r#""127.0.0.1:1338""#);
    assert_eq!(dumped[&format!("{cri}|sandbox_image")], r#""registry.example/pause:3.9""#);
    assert_eq!(dumped[&format!("{cri}|max_concurrent_downloads")], "5");
    assert_eq!(dumped[&format!("{cri}.registry|config_path")], r#""/etc/containerd/certs.d""#);
    assert_eq!(dumped[&format!("{cri}.containerd|default_runtime_name")], r#""runc""#);
    assert_eq!(dumped[&format!("{cri}.containerd.runtimes.runc|runtime_type")], r#""io.containerd.runc.v2""#);
    assert_eq!(dumped[&format!("{cri}.containerd.runtimes.runc.options|SystemdCgroup")], "true");
    assert_eq!(dumped[&format!("{cri}.containerd.runtimes.runc.options|BinaryName")], r#""/usr/local/sbin/runc""#);
    assert_eq!(dumped[&format!("{cri}.cni|bin_dir")], r#""/opt/cni/bin""#);
    assert_eq!(dumped[&format!("{cri}.cni|conf_dir")], r#""/etc/cni/net.d""#);
}

#[test]
fn containerd_2_reads_version_3_as_meant() {
    let Some(containerd) = containerd("sid") else { return };
    let version = Command::new(&containerd).arg("--version").output().expect("it runs");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let Some(version) =
        version.split_whitespace().find_map(|word| word.split(['+', '~']).next()?.parse::<semver::Version>().ok())
    else {
        panic!("no version in `{version}`");
    };
    let dumped = dump(&containerd, &version.to_string());
    let images = r#"plugins."io.containerd.cri.v1.images""#;
    let runtime = r#"plugins."io.containerd.cri.v1.runtime""#;
    let has_servers = version >= semver::Version::new(2, 3, 0);
    let (grpc, metrics) = if has_servers {
        (r#"plugins."io.containerd.server.v1.grpc""#, r#"plugins."io.containerd.server.v1.metrics""#)
    } else {
        ("grpc", "metrics")
    };
    assert_eq!(dumped["|version"], if has_servers { "4" } else { "3" });
    assert_eq!(dumped[&format!("{grpc}|address")], r#""/run/containerd/containerd.sock""#);
    assert_eq!(dumped[&format!("{metrics}|address")], r#""127.0.0.1:1338""#);
    assert_eq!(dumped[&format!("{images}.pinned_images|sandbox")], r#""registry.example/pause:3.9""#);
    assert_eq!(dumped[&format!("{images}.registry|config_path")], r#""/etc/containerd/certs.d""#);
    assert_eq!(dumped[&format!("{runtime}.containerd.runtimes.runc.options|SystemdCgroup")], "true");
    assert_eq!(dumped[&format!("{runtime}.containerd.runtimes.runc.options|BinaryName")], r#""/usr/local/sbin/runc""#);
    assert_eq!(dumped[&format!("{runtime}.cni|bin_dirs")], r#"["/opt/cni/bin"]"#);
    assert_eq!(dumped[&format!("{runtime}.cni|conf_dir")], r#""/etc/cni/net.d""#);
    let transfer = r#"plugins."io.containerd.transfer.v1.local""#;
    assert_eq!(dumped[&format!("{transfer}|max_concurrent_downloads")], "5");
    assert_eq!(dumped[&format!("{images}|use_local_image_pull")], "false");

    // And it would have said something.
    let config = config_file(&version.to_string());
    let body = fs::read_to_string(config.path()).expect("the config").replace("SystemdCgroup", "SystemdCgroups");
    let body = body.replace("conf_dir", "conf_dirs");
    fs::write(config.path(), body).expect("the config");
    let output = Command::new(&containerd).arg("--config").arg(config.path()).args(["config", "dump"]).output();
    let said = stderr(&output.expect("it runs"));
    assert!(said.contains("conf_dirs"), "an unknown key is warned about: {said}");
}

/// The config that containerd makes of ours, as `section|key` to value. It may not say anything while it reads.
fn dump(containerd: &Path, version: &str) -> BTreeMap<String, String> {
    let config = config_file(version);
    let output =
        Command::new(containerd).arg("--config").arg(config.path()).args(["config", "dump"]).output().expect("it runs");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "", "no unknown key, nothing deprecated");
    let dumped = String::from_utf8(output.stdout).expect("UTF-8").replace('\'', "\"");
    let mut section = String::new();
    let mut found = BTreeMap::new();
    for line in dumped.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = header.to_owned();
        } else if let Some((key, value)) = line.split_once(" = ") {
            found.insert(format!("{section}|{key}"), value.to_owned());
        }
    }
    found
}

fn config_file(version: &str) -> tempfile::NamedTempFile {
    let values =
        Values::from_layers(&[json!({"containerd": {"maxConcurrentDownloads": 5}})], &[]).expect("good values");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text(&tree(30, version, &values), "etc/containerd/config.toml").as_bytes()).expect("written");
    file
}

/// Debian's containerd of a suite, unpacked below the target directory and kept there.
fn containerd(suite: &str) -> Option<PathBuf> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("containerd").join(suite);
    let program = place.join("root/usr/bin/containerd");
    if program.exists() {
        return Some(program);
    }
    match fetch_containerd(&place, suite) {
        Ok(()) => Some(program),
        Err(why) => {
            skip(&format!("Debian's containerd of {suite} cannot be had: {why}"));
            None
        }
    }
}

/// An apt of its own, with the system's sources and another suite.
fn fetch_containerd(place: &Path, suite: &str) -> Result<(), String> {
    for directory in ["lists/partial", "archives/partial", "new"] {
        fs::create_dir_all(place.join(directory)).map_err(|error| error.to_string())?;
    }
    let sources = fs::read_to_string("/etc/apt/sources.list.d/debian.sources").map_err(|error| error.to_string())?;
    let main = sources.split("\n\n").find(|source| !source.contains("security")).ok_or("no source but security's")?;
    let changed: Vec<String> = main
        .lines()
        .map(|line| if line.starts_with("Suites:") { format!("Suites: {suite}") } else { line.to_owned() })
        .collect();
    let status = place.join("status");
    fs::write(place.join("debian.sources"), changed.join("\n") + "\n")
        .and_then(|()| fs::write(&status, ""))
        .and_then(|()| {
            let place = place.display();
            fs::write(
                format!("{place}/apt.conf"),
                format!(
                    "Dir::State::lists \"{place}/lists\";\nDir::State::status \"{}\";\nDir::Cache \"{place}\";\n\
                     Dir::Etc::sourcelist \"{place}/debian.sources\";\nDir::Etc::sourceparts \"-\";\n\
                     APT::Sandbox::User \"root\";\n",
                    status.display()
                ),
            )
        })
        .map_err(|error| error.to_string())?;
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("APT_CONFIG", place.join("apt.conf")).current_dir(place.join("new")).arg("-q").args(arguments);
        run(&mut command)
    };
    apt(&["update"])?;
    apt(&["download", "containerd"])?;
    let package =
        fs::read_dir(place.join("new")).into_iter().flatten().flatten().next().ok_or("apt fetched nothing")?;
    // Renamed when whole, so a run that was cut short leaves nothing that looks complete.
    let unpacked = place.join("unpacked");
    run(Command::new("dpkg").arg("-x").arg(package.path()).arg(&unpacked))?;
    fs::rename(unpacked, place.join("root")).map_err(|error| error.to_string())
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(stderr(&output)),
        Err(error) => Err(error.to_string()),
    }
}

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
