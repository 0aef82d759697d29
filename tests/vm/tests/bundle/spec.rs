//! The spec file: values, files, packages and programs of the user's own, through the same gates as ours.

use std::fs;
use std::path::Path;
use std::process::Command;

use flexnode_build::digest::Digest;

use super::{builder, cache, refused, run};

/// A small Debian package with a real program in it.
fn package(dir: &Path) -> (String, Digest) {
    package_called("hello", dir)
}

/// The same by another name; it was built at the end of 2024.
fn package_called(name: &str, dir: &Path) -> (String, Digest) {
    let tree = dir.join("tree");
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    fs::create_dir_all(tree.join("usr/bin")).unwrap();
    let control = format!(
        "Package: {name}\nVersion: 1.0\nArchitecture: amd64\nMaintainer: Nobody <nobody@example.org>\nDescription: true\n"
    );
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    fs::copy("/bin/true", tree.join("usr/bin/hello")).unwrap();
    let deb = dir.join(format!("{name}.deb"));
    let mut dpkg_deb = Command::new("dpkg-deb");
    run(dpkg_deb.env("SOURCE_DATE_EPOCH", "1735603200").args(["--root-owner-group", "--build"]).args([&tree, &deb]));
    (format!("file://{}", deb.display()), Digest::of(&fs::read(&deb).unwrap()))
}

fn spec(dir: &Path, text: &str) -> String {
    let path = dir.join("flexnode.yaml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_spec_adds_values_files_and_components() {
    let dir = tempfile::tempdir().unwrap();
    let (url, sha256) = package(dir.path());
    fs::write(dir.path().join("corp.crt"), "a certificate\n").unwrap();
    let text = format!(
        "version: 1\n\
         kubernetes: 1.30\n\
         values:\n  kubelet:\n    maxPods: 42\n    nodeLabels: {{site: \"no\"}}\n\
         files:\n\
         - {{path: etc/motd, content: \"hello\\n\", mode: 0600}}\n\
         - {{path: usr/local/share/ca-certificates/corp.crt, source: corp.crt}}\n\
         components:\n\
         - name: hello\n  version: \"1.0\"\n  url: {url}\n  sha256: {sha256}\n  kind: deb\n\
         \x20 install: [{{member: usr/bin/hello, path: usr/local/bin/hello, mode: \"0755\"}}]\n\
         output: from-the-spec.tar.zst\nlevel: 1\n"
    );
    let spec = spec(dir.path(), &text);
    run(&mut builder(&cache(), &["--spec", &spec, "--set", "kubelet.maxPods=43"]));

    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let bundle = dir.path().join("from-the-spec.tar.zst");
    run(Command::new("tar").args(["--zstd", "-xpf"]).arg(&bundle).arg("-C").arg(&root));
    assert_eq!(fs::read_to_string(root.join("etc/motd")).unwrap(), "hello\n");
    assert_eq!(fs::read_to_string(root.join("usr/local/share/ca-certificates/corp.crt")).unwrap(), "a certificate\n");
    run(&mut Command::new(root.join("usr/local/bin/hello")));
    let kubelet: serde_json::Value =
        serde_json::from_slice(&fs::read(root.join("var/lib/kubelet/config.yaml")).unwrap()).unwrap();
    assert_eq!(kubelet["maxPods"], 43, "a flag wins over the spec");
    run(Command::new(super::program()).arg("verify").arg(&bundle));
}

#[test]
fn packages_travel_whole_and_an_arc_agent_that_is_no_longer_supported_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let listed = |name: &str| {
        let (url, sha256) = package_called(name, dir.path());
        format!("- {{name: {name}, version: \"1.0\", url: \"{url}\", sha256: {sha256}}}\n")
    };
    let text = format!("version: 1\nkubernetes: 1.30\npackages:\n{}{}", listed("azcmagent"), listed("hello"));
    let spec = spec(dir.path(), &text);
    let bundle = dir.path().join("bundle.tar.zst");
    let output = run(builder(&cache(), &["--level", "1", "--spec", &spec, "-o"]).arg(&bundle));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let warnings: Vec<&str> = stderr.lines().filter(|line| line.contains("was built on")).collect();
    let [warning] = warnings[..] else { panic!("{stderr}") };
    assert!(warning.starts_with("warning: azcmagent 1.0 was built on 2024-12-31: "), "{warning}");
    for name in ["azcmagent", "hello"] {
        let member = format!("usr/share/flexnode/debs/{name}_1.0.deb");
        let output = run(Command::new("tar").args(["--zstd", "-xOf"]).arg(&bundle).arg(member));
        assert!(output.stdout == fs::read(dir.path().join(format!("{name}.deb"))).unwrap(), "{name}");
    }
    run(Command::new(super::program()).arg("verify").arg(&bundle));
}

#[test]
fn a_spec_cannot_bring_in_what_the_gates_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let (url, sha256) = package(dir.path());
    let component = |member: &str, path: &str, sha256: &str| {
        format!(
            "version: 1\nkubernetes: 1.30\ncomponents:\n- name: hello\n  version: \"1.0\"\n  url: {url}\n  \
             sha256: {sha256}\n  kind: deb\n  install: [{{member: {member}, path: {path}}}]\n"
        )
    };
    let package = |name: &str, version: &str, sha256: &str| {
        format!(
            "version: 1\nkubernetes: 1.30\npackages: [{{name: {name}, version: {version:?}, url: {url:?}, sha256: {sha256}}}]\n"
        )
    };
    let right = sha256.to_string();
    let wrong = Digest::of(b"something else").to_string();
    let cases = [
        (component("usr/bin/hello", "usr/local/bin/hello", &wrong), 5, "hello 1.0"),
        (component("usr/bin/hallo", "usr/local/bin/hello", &right), 5, "usr/bin/hello"),
        (component("usr/bin/hello", "usr/local/bin/kubelet", &right), 2, "something else is installed there"),
        (component("usr/bin/hello", "usr/share/flexnode/bundle.json", &right), 2, "bundle.json is the bundle's own"),
        (
            component("usr/bin/hello", "usr/share/flexnode/sbom.spdx.json", &right),
            2,
            "sbom.spdx.json is the bundle's own",
        ),
        (package("hello", "1.0", &wrong), 5, "hello 1.0"),
        (package("hello", "1.1", &right), 5, "it is the package hello 1.0"),
        (package("../hello", "1.0", &right), 2, "no Debian package's name"),
        (package("runc", "1.0", &right), 2, "has the name of a component"),
        ("version: 1\nkubernetes: 1.30\nfiles: [{path: etc, content: a}]\n".to_owned(), 2, "cannot install `/etc"),
        ("version: 1\nkubernetes: 1.30\nfiles: [{path: etc/x, source: nowhere}]\n".to_owned(), 1, "nowhere"),
        ("version: 1\nkubernetes: 1.30\nvalues: {kubelet: {maxPod: 1}}\n".to_owned(), 2, "did you mean `maxPods`"),
        ("version: 1\nkubernetes: 1.30\nfirstboot: /etc/hostname\n".to_owned(), 5, "flexnode-firstboot"),
    ];
    for (text, code, words) in cases {
        let spec = spec(dir.path(), &text);
        let output = dir.path().join("bundle.tar.zst");
        let stderr = refused(builder(&cache(), &["--spec", &spec, "-o"]).arg(&output), code);
        assert!(stderr.contains(words) && stderr.contains("hint: "), "{text}\n{stderr}");
        assert!(!output.exists());
    }
}

#[test]
fn templates_of_the_users_own_replace_single_files() {
    let dir = tempfile::tempdir().unwrap();
    let templates = dir.path().join("templates");
    fs::create_dir_all(templates.join("etc/sysctl.d")).unwrap();
    fs::write(templates.join("etc/sysctl.d/99-flexnode.conf"), "net.ipv4.ip_forward = 1\n").unwrap();
    fs::write(templates.join("etc/zone.j2"), "{{ values.custom.zone }} {{ facts.kubernetes.version }}\n").unwrap();
    let path = dir.path().join("bundle.tar.zst");
    let templates = templates.to_str().unwrap();
    let args = ["--k8s", "1.30", "--level", "1", "--templates", templates, "--set", "custom.zone=no", "-o"];
    run(builder(&cache(), &args).arg(&path));
    let read = |member: &str| {
        let output = run(Command::new("tar").args(["--zstd", "-xOf"]).arg(&path).arg(member));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(read("etc/sysctl.d/99-flexnode.conf"), "net.ipv4.ip_forward = 1\n");
    assert_eq!(read("etc/zone"), "no 1.30.0\n");

    let missing = ["--k8s", "1.30", "--templates", templates, "-o"];
    let stderr = refused(builder(&cache(), &missing).arg(dir.path().join("b")), 2);
    assert!(stderr.contains("etc/zone") && stderr.contains("hint: "), "{stderr}");
}
