//! Packages that travel in the bundle: the Arc agent's stand-in, and a real one of Debian's with a script of its own.

use std::fs;
use std::path::Path;

use flexnode_build::digest::Digest;
use flexnode_build::root::verify;
use flexnode_build::stage::package::Control;
use flexnode_vm::azcmagent;
use flexnode_vm::azure::contoso;
use flexnode_vm::lab;
use flexnode_vm::node::Node;

use super::unit::firstboot;
use super::{STAND_IN, build, debian};

#[test]
fn packages_of_the_bundle_are_installed_at_the_first_boot_without_a_network() {
    let dir = tempfile::tempdir().unwrap();
    let agent = azcmagent::package(Path::new(STAND_IN), "1.61.03319.859", dir.path()).unwrap();
    let mut spec = "version: 1\nkubernetes: 1.30\npackages:\n".to_owned();
    for package in [agent, debian::package("bookworm", "cpio")] {
        let bytes = fs::read(&package).unwrap();
        let (control, sha256) = (Control::read(&*bytes).unwrap(), Digest::of(&bytes));
        let (name, version, url) = (control.name, control.version, package.display());
        spec += &format!("- {{name: {name}, version: \"{version}\", url: \"file://{url}\", sha256: {sha256}}}\n");
    }
    let path = dir.path().join("flexnode.yaml");
    fs::write(&path, spec).unwrap();
    let bundle = build("packages.tar.zst", &lab::shared().unwrap().manifests(), &["--spec", path.to_str().unwrap()]);
    let said = &bundle.said;
    assert!(!said.contains("was built on"), "an agent made today is young: {said}");

    let node = Node::prepare(contoso::world(), &bundle.path, Path::new(STAND_IN)).unwrap();
    let guest = node.boot().unwrap();
    assert!(guest.run("dpkg", &["--status", "cpio"]).unwrap().stderr.starts_with(b"dpkg-query: package 'cpio' is not"));
    assert!(firstboot(&guest));
    for package in ["azcmagent", "cpio"] {
        let status = guest.ask("dpkg-query", &["--show", "--showformat=${db:Status-Status}", package]).unwrap();
        assert_eq!(status, "installed", "{package}");
    }
    // What its script has done.
    guest.ask("update-alternatives", &["--query", "mt"]).unwrap();
    guest.power_off().unwrap();
    let report = verify(&node.root(), false).unwrap();
    let found: Vec<&str> = report.findings.iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(found, ["etc/containerd/config.toml"], "{:#?}", report.findings);
}
