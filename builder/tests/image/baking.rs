//! What docs/baking.md shows is true: its commands are run or parsed, its examples are read as what they are.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::good_root::GoodRoot;
use clap::Parser as _;
use flexnode_build::atomic::Partial;
use flexnode_build::bundle::{Manifest, Packing, pack};
use flexnode_build::catalog::Catalog;
use flexnode_build::cli::Cli;
use flexnode_build::digest::Digest;
use flexnode_build::overlay::{Content, Entry, FileEntry, Mode, Overlay};
use flexnode_build::request::Request;
use flexnode_build::resolve::resolve;
use flexnode_firstboot::config::{Fragment, Settings};
use serde_json::Value;

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/baking.md")).unwrap()
}

/// The fenced blocks of `language`.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_command_in_every_language_parses() {
    let page = page();
    let mut verbs = Vec::new();
    for language in ["sh", "hcl", "yaml"] {
        let blocks = blocks(&page, language);
        for line in blocks.iter().flat_map(|block| block.lines()) {
            let Some(at) = line.find("flexnode-build ") else { continue };
            // Else it is an argument: the program's own file.
            let begins = line[..at].trim().is_empty() || line[..at].ends_with(['"', '\'']) || line[..at].trim() == "-";
            if begins {
                let words = line[at..].split(['"', '\'']).next().unwrap().split_whitespace();
                Cli::try_parse_from(words.clone()).unwrap_or_else(|error| panic!("{line}\n{error}"));
                verbs.extend(words.map(str::to_owned).nth(1));
            }
        }
    }
    for verb in ["apply", "check-root", "seal"] {
        assert!(verbs.iter().filter(|used| *used == verb).count() >= 3, "{verbs:?}");
    }
}

#[test]
fn the_shell_understands_every_block() {
    for block in blocks(&page(), "sh") {
        let output = Command::new("bash").args(["-n", "-c", &block]).output().unwrap();
        assert!(output.status.success(), "{block}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A bundle with a kubelet's configuration in it and nothing else.
fn bundle(path: &Path) {
    let config = b"{\"resolvConf\": \"/run/systemd/resolve/resolv.conf\"}\n";
    let entry = FileEntry {
        mode: Mode::FILE,
        size: config.len() as u64,
        sha256: Digest::of(config),
        content: Content::Bytes(config[..].into()),
        component: None,
    };
    let mut overlay = Overlay::default();
    overlay.insert("var/lib/kubelet/config.yaml".parse().unwrap(), Entry::File(entry)).unwrap();
    let request = Request { kubernetes: Some("1.33".parse().unwrap()), ..Request::default() };
    let lock = resolve(request, &Catalog::embedded().unwrap()).unwrap().lock;
    let manifest = Manifest::new(&lock, Vec::new(), &overlay, 0);
    let packing = Packing { level: 1, jobs: 1, epoch: 0 };
    pack(&manifest, &overlay, Partial::create(path).unwrap(), packing, &|_| ()).unwrap();
}

#[test]
fn the_way_through_a_mounted_image_leads_to_a_sealed_one() {
    let root = GoodRoot::new();
    // What says which architecture a root is of.
    fs::copy("/bin/sh", root.at("usr/bin/sh")).unwrap();
    root.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    root.write("root/.bash_history", "az login\n");
    fs::create_dir(root.outside()).unwrap();
    bundle(&root.outside().join("bundle.tar.zst"));
    let golden = blocks(&page(), "yaml").into_iter().find(|block| block.starts_with("azure:")).unwrap();
    fs::write(root.outside().join("config.yaml"), golden).unwrap();

    let blocks = blocks(&page(), "sh");
    let programs = PathBuf::from(env!("CARGO_BIN_EXE_flexnode-build"));
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.parent().unwrap().display());
    let mut run = 0;
    for line in blocks[1].lines().chain(blocks[0].lines()) {
        // A small root has no apt, and is no mount.
        if line.starts_with("chroot ") || line.starts_with("umount ") {
            continue;
        }
        let line = line.replace("/mnt/image", root.path().to_str().unwrap());
        let output =
            Command::new("sh").args(["-c", &line]).current_dir(root.outside()).env("PATH", &path).output().unwrap();
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
        run += 1;
    }
    assert_eq!(run, 9);
    let verify = Command::new(&programs).args(["verify", "--root"]).arg(root.path()).output().unwrap();
    assert!(verify.status.success(), "sealing leaves what was applied: {}", String::from_utf8_lossy(&verify.stdout));
    assert!(root.at("var/lib/kubelet/config.yaml").exists() && !root.at("root/.bash_history").exists());
    let config = fs::metadata(root.at("etc/flexnode/config.yaml")).unwrap();
    assert_eq!(config.permissions().mode() & 0o777, 0o600);
}

#[test]
fn apply_ends_with_the_checks_of_check_root() {
    let root = GoodRoot::new();
    fs::copy("/bin/sh", root.at("usr/bin/sh")).unwrap();
    fs::create_dir(root.outside()).unwrap();
    let bundle_file = root.outside().join("bundle.tar.zst");
    bundle(&bundle_file);
    let warnings = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flexnode-build"));
        let output = command.arg("apply").arg(&bundle_file).arg("--root").arg(root.path()).args(args).output().unwrap();
        assert!(output.status.success());
        let said = String::from_utf8(output.stderr).unwrap().replace(root.path().to_str().unwrap(), "/mnt");
        said.lines().filter(|line| line.starts_with("warning: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(warnings(&[]), [""; 0]);
    root.remove("usr/bin/curl");
    root.remove("usr/lib/systemd/systemd-timesyncd");
    assert_eq!(warnings(&["--dry-run"]), [""; 0]);
    let cure = "cure: chroot /mnt apt-get install -y curl";
    let why = "token.sh asks the Arc agent for the kubelet's tokens with it";
    assert_eq!(warnings(&[]), [format!("warning: curl is not installed: {why}; {cure}")], "a note is no warning");
}

/// The files that a cloud-config writes: path, permissions, content.
fn written_files(block: &str) -> Vec<(String, String, String)> {
    let config: Value = serde_yaml::from_str(block).unwrap();
    let text = |file: &Value, key: &str| file[key].as_str().unwrap_or_else(|| panic!("{key}: {file}")).to_owned();
    let files = config["write_files"].as_array().unwrap();
    files.iter().map(|file| (text(file, "path"), text(file, "permissions"), text(file, "content"))).collect()
}

#[test]
fn the_configs_that_cloud_init_writes_hold() {
    let page = page();
    let blocks = blocks(&page, "yaml");
    let (clouds, golden): (Vec<_>, Vec<_>) = blocks.iter().partition(|block| block.starts_with("#cloud-config\n"));
    assert_eq!((clouds.len(), golden.len()), (2, 1));
    let fragment = |text: &str| Fragment::parse(text, "docs/baking.md").unwrap();

    let whole = written_files(clouds[0]);
    assert_eq!(whole[0].0, "/etc/flexnode/config.yaml");
    Settings::from_fragments([fragment(&whole[0].2)]).unwrap();

    let machine = written_files(clouds[1]);
    assert_eq!(machine[0].0, "/etc/flexnode/config.d/50-machine.yaml");
    Settings::from_fragments([fragment(golden[0]), fragment(&machine[0].2)]).unwrap();
    assert_eq!(fragment(golden[0]).secret_file(), Some(machine[1].0.as_str()));
    assert!([whole, machine].concat().iter().all(|(_, permissions, _)| permissions == "0600"));
}

#[test]
fn every_finding_is_on_the_page_and_nothing_else() {
    let page = page();
    let rows = |heading: &str| -> Vec<String> {
        let section = page.split(&format!("## {heading}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
        let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
        cells.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`').to_owned()).collect()
    };
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/image/snapshots");
    let sealed =
        fs::read_to_string(snapshots.join("image__seal__each_trace_is_found_told_cleared_and_gone.snap")).unwrap();
    let left = fs::read_to_string(snapshots.join("image__seal__what_only_a_person_can_take_out_is_left_and_told.snap"))
        .unwrap();
    let lines = sealed.lines().chain(left.lines());
    let mut told: Vec<_> = lines.filter_map(|line| line.strip_prefix("error: ")?.split(": ").next()).collect();
    told.retain(|name| !name.contains(' '));
    told.sort_unstable();
    told.dedup();
    let mut shown = rows("What seal looks at");
    shown.sort();
    assert_eq!(shown, told);
    assert!(rows("What check-root looks at").len() > 20);
}
