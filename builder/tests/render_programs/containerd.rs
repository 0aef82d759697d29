//! containerd reads its configuration as it is meant.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flexnode_build::render::Values;
use serde_json::json;

use crate::{run, skip, stderr, text, tree};

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
