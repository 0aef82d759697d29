//! What `check-root` promises: each fault of a root is one finding with its cure, and nothing in the root is touched.

use std::fs;
use std::process::{Command, Output};

use crate::faults::{FAULTS, package};
use crate::good_root::GoodRoot;
use flexnode_build::atomic::Partial;
use flexnode_build::bundle::{Manifest, Packing, pack};
use flexnode_build::catalog::Catalog;
use flexnode_build::check_root::{Needs, check};
use flexnode_build::finding::Finding;
use flexnode_build::overlay::Overlay;
use flexnode_build::request::Request;
use flexnode_build::resolve::resolve;
use flexnode_build::target::Target;
use rustix::fs::{CWD, FileType, Mode, mknodat};

const ANY: Needs = Needs { target: None, kubernetes: None, bytes: 0 };

fn findings(root: &GoodRoot) -> Vec<Finding> {
    check(&root.open(), &ANY).unwrap()
}

fn flexnode_build(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flexnode-build")).env_clear().args(args).output().unwrap()
}

#[test]
fn a_good_root_has_no_findings() {
    assert_eq!(findings(&GoodRoot::new()), []);
}

#[test]
fn each_fault_is_one_finding_with_its_cure() {
    let mut said = String::new();
    for (fault, break_it, severity, name) in FAULTS {
        let root = GoodRoot::new();
        break_it(&root);
        let found = findings(&root);
        let kinds: Vec<_> = found.iter().map(|finding| (finding.severity, finding.name)).collect();
        assert_eq!(kinds, [(severity, name)], "{fault}: {found:#?}");
        assert!(!found[0].cure.is_empty() && !found[0].cure.contains('\n'), "{fault}");
        let shown = found[0].to_string().replace(root.path().to_str().unwrap(), "/mnt");
        said += &format!("# {fault}\n{shown}\n");
    }
    insta::assert_snapshot!(said);
}

#[test]
fn the_cures_that_edit_files_cure() {
    let mut run = 0;
    for (fault, break_it, ..) in FAULTS {
        let root = GoodRoot::new();
        break_it(&root);
        let cure = findings(&root).remove(0).cure;
        // What follows needs the programs of a whole root.
        let edit = cure.split(" && chroot ").next().unwrap();
        if edit.starts_with("sed ") || edit.starts_with("rm ") {
            assert!(Command::new("sh").args(["-c", edit]).status().unwrap().success(), "{edit}");
            assert_eq!(findings(&root), [], "{fault}");
            run += 1;
        }
    }
    assert_eq!(run, 5);
}

#[test]
fn modules_of_every_spelling_and_compression_count() {
    let root = GoodRoot::new();
    root.write(
        "usr/lib/modules/6.8.0-45-generic/modules.dep",
        "kernel/fs/overlayfs/overlay.ko.zst:\nkernel/net/bridge/br-netfilter.ko.xz: a\n\
         kernel/net/netfilter/nf_conntrack.ko.gz:\nkernel/drivers/net/vxlan/vxlan.ko.zst:\n",
    );
    // What a headers package leaves is no kernel.
    fs::create_dir_all(root.at("usr/lib/modules/6.8.0-46-generic")).unwrap();
    assert_eq!(findings(&root), []);
}

#[test]
fn a_root_is_held_against_what_the_bundle_was_built_for() {
    let root = GoodRoot::new();
    root.remove("usr/sbin/conntrack");
    let found = |target, kubernetes: &str, bytes| {
        let needs = Needs { target: Some(target), kubernetes: Some(kubernetes.parse().unwrap()), bytes };
        let found = check(&root.open(), &needs).unwrap();
        found.iter().map(|finding| format!("{} {}", finding.severity, finding.name)).collect::<Vec<_>>()
    };
    assert_eq!(found(Target::Ubuntu2204, "1.32.0", 0), [""; 0]);
    assert_eq!(found(Target::Ubuntu2204, "1.31.9", 0), ["warning conntrack"]);
    assert_eq!(found(Target::Ubuntu2404, "1.32.0", 0), ["error release"], "its C library is too old");
    assert_eq!(found(Target::Ubuntu2004, "1.32.0", 0), ["warning release"]);
    assert_eq!(found(Target::Ubuntu2204, "1.32.0", u64::MAX), ["error space"]);
}

fn manifest(target: Target) -> Manifest {
    let request = Request { kubernetes: Some("1.33".parse().unwrap()), target: Some(target), ..Request::default() };
    let lock = resolve(request, &Catalog::embedded().unwrap()).unwrap().lock;
    Manifest::new(&lock, Vec::new(), &Overlay::default(), 0)
}

#[test]
fn the_bundle_that_is_installed_or_named_says_what_is_needed() {
    let root = GoodRoot::new();
    root.remove("usr/sbin/conntrack");
    let path = root.path();
    let said = |args: &[&str]| {
        let output = flexnode_build(&[&["check-root", "--quiet", path.to_str().unwrap()], args].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(said(&[]).starts_with("warning: conntrack"), "{}", said(&[]));
    root.write("usr/share/flexnode/bundle.json", &serde_json::to_string(&manifest(Target::Ubuntu2204)).unwrap());
    assert_eq!(said(&[]), "");

    fs::create_dir(root.outside()).unwrap();
    let bundle = root.outside().join("bundle.tar.zst");
    let manifest = manifest(Target::Ubuntu2404);
    let packing = Packing { level: 1, jobs: 1, epoch: 0 };
    pack(&manifest, &Overlay::default(), Partial::create(&bundle).unwrap(), packing, &|_| ()).unwrap();
    assert!(said(&["--bundle", bundle.to_str().unwrap()]).starts_with("error: this is ubuntu-22.04"));
}

#[test]
fn links_out_of_the_root_lead_nowhere() {
    let root = GoodRoot::new();
    fs::create_dir(root.outside()).unwrap();
    fs::write(root.outside().join("curl"), "\x7fELF").unwrap();
    root.link("usr/bin/curl", root.outside().join("curl"));
    fs::write(root.outside().join("fstab"), "/swap.img none swap sw 0 0\n").unwrap();
    root.link("etc/fstab", "../../../../../../../outside/fstab");
    let found = findings(&root);
    assert_eq!(found.iter().map(|finding| finding.name).collect::<Vec<_>>(), ["curl"]);
}

#[test]
fn what_cannot_be_read_is_told_and_waits_for_nobody() {
    let root = GoodRoot::new();
    root.remove("etc/fstab");
    mknodat(CWD, root.at("etc/fstab"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    root.link("usr/bin/curl", "wget");
    root.link("usr/bin/wget", "curl");
    fs::File::create(root.at("var/lib/dpkg/status")).unwrap().set_len(1 << 40).unwrap();
    root.remove("etc/default/grub");
    fs::create_dir(root.at("etc/default/grub")).unwrap();
    let said: Vec<_> = findings(&root).into_iter().map(|finding| finding.message).collect();
    assert_eq!(
        said,
        [
            "/var/lib/dpkg/status has more than 67108864 bytes",
            "curl is not installed: token.sh asks the Arc agent for the kubelet's tokens with it",
            "/etc/default/grub is no regular file",
            "/etc/fstab is no regular file",
        ]
    );
}

#[test]
fn nothing_in_the_root_is_changed_and_the_order_is_the_same_every_time() {
    let root = GoodRoot::new();
    root.append("etc/fstab", "/swap.img none swap sw 0 0\n");
    root.remove("usr/bin/curl");
    package(&root, "docker.io", "24");
    let read_before = root.access_times();
    assert_eq!(findings(&root).len(), 3);
    assert_eq!(root.access_times(), read_before, "not even who looked at what");
    let before = root.listing();
    let first = findings(&root);
    assert_eq!(first, findings(&root));
    assert_eq!(root.listing(), before);
    let severities: Vec<_> = first.iter().map(|finding| finding.severity).collect();
    assert!(severities.is_sorted() && severities.len() == 3, "{severities:?}");
}

#[test]
fn errors_make_the_exit_code_and_warnings_do_not() {
    let root = GoodRoot::new();
    let path = root.path();
    let run = |args: &[&str]| flexnode_build(&[&["check-root", path.to_str().unwrap()], args].concat());
    root.remove("usr/bin/ip");
    assert_eq!(run(&[]).status.code(), Some(0));
    root.remove("usr/bin/curl");
    let output = run(&[]);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap().replace(path.to_str().unwrap(), "/mnt");
    insta::assert_snapshot!(format!("{}\n{said}", output.status.code().unwrap()));

    let json: serde_json::Value = serde_json::from_slice(&run(&["--json"]).stdout).unwrap();
    assert_eq!((&json["ok"], &json["findings"][0]["name"]), (&false.into(), &"curl".into()));
    assert_eq!(json["findings"][1]["severity"], "warning");
}

#[test]
fn a_directory_that_is_no_root_is_refused() {
    let root = GoodRoot::new();
    for (path, code) in [("usr", 2), ("etc/fstab", 1), ("nowhere", 1)] {
        let output = flexnode_build(&["check-root", root.at(path).to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("error: ") && said.contains("hint: ") && output.stdout.is_empty(), "{said}");
    }
}

#[test]
fn a_hostile_name_cannot_steer_the_terminal_or_the_cure() {
    let root = GoodRoot::new();
    root.append("etc/fstab", "/\u{1b}[2J none swap sw 0 0\n");
    root.write("etc/default/grub.d/a';reboot;'.cfg", "systemd.unified_cgroup_hierarchy=0\n");
    let output = flexnode_build(&["check-root", root.path().to_str().unwrap()]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(r"\u{1b}[2J") && !said.contains('\u{1b}'), "{said}");
    assert!(said.contains(r"a'\'';reboot;'\''.cfg'"), "{said}");
}
