//! Packages of the bundle: installed offline, and once.

use std::fs;

use super::lab::{Lab, azure};

#[test]
fn without_agent_and_package_it_says_so_and_with_one_installs_it_offline() {
    let lab = Lab::new(azure());
    fs::remove_file(lab.path("bin/azcmagent")).unwrap();
    let (code, said) = lab.run();
    assert_eq!(code, Some(1), "{said}");
    fs::create_dir_all(lab.path("usr/share/flexnode/debs")).unwrap();
    fs::write(lab.path("usr/share/flexnode/debs/azcmagent_1.40_amd64.deb"), "").unwrap();
    lab.program("dpkg", "mv $LAB/bin/.azcmagent $LAB/bin/azcmagent");
    lab.azcmagent("", "");
    fs::rename(lab.path("bin/azcmagent"), lab.path("bin/.azcmagent")).unwrap();
    let (code, said) = lab.run();
    assert_eq!(code, Some(77), "{said}");
    assert!(lab.log().contains("dpkg --install") && lab.log().contains("connect --config"), "{}", lab.log());
    let calls = lab.log().matches("dpkg ").count();
    lab.run();
    assert_eq!(lab.log().matches("dpkg ").count(), calls, "an installed package is not installed again");
}

#[test]
fn other_packages_of_the_bundle_are_installed_with_the_agent_if_dpkg_does_not_have_them() {
    let lab = Lab::new(azure());
    lab.azcmagent("", "");
    let packages = lab.path("usr/share/flexnode/debs");
    fs::create_dir_all(&packages).unwrap();
    for name in ["azcmagent_1.61.deb", "there_2.0.deb", "broken_1.0.deb", "newer_1.9.deb", "newer_1.10-1.deb"] {
        fs::write(packages.join(name), "").unwrap();
    }
    lab.program(
        "dpkg-query",
        "case $3 in there) printf installed ;; broken) printf half-configured ;; *) exit 1 ;; esac",
    );
    lab.program("dpkg", "");
    lab.run();
    let log = lab.log();
    let calls: Vec<&str> = log.lines().filter(|line| line.starts_with("dpkg --install")).collect();
    let at = |name: &str| packages.join(name).display().to_string();
    let expected = format!("dpkg --install --force-confold {} {}", at("broken_1.0.deb"), at("newer_1.10-1.deb"));
    assert_eq!(calls, [expected], "{log}");
}
