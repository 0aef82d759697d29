//! The lab holds what its catalog says, in upstream's layouts, of programs that really run.

#![expect(clippy::unwrap_used, reason = "functions that tests share fail as tests do")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flate2::read::GzDecoder;
use flexnode_build::artifact::Arch;
use flexnode_build::catalog::{self, Catalog};
use flexnode_build::digest::Digest;
use flexnode_vm::lab::{self, Cache, Lab, NOT_A_KUBECTL};
use flexnode_vm::standin::StandIn;
use tempfile::TempDir;

const FLEXNODE_VM: &str = env!("CARGO_BIN_EXE_flexnode-vm");
const COMPONENTS: [&str; 7] = ["cni-plugins", "containerd", "crictl", "kubeadm", "kubectl", "kubelet", "runc"];

fn lab() -> &'static Lab {
    lab::shared().unwrap()
}

/// An artifact of the lab's catalog and its file in the mirror.
struct Found {
    version: String,
    path: PathBuf,
    stand_in: bool,
    note: Option<String>,
    sha256: Digest,
    size: Option<u64>,
}

fn found(component: &str) -> Found {
    let catalog = Catalog::load(Some(&lab().manifests())).unwrap();
    let component = catalog.component(component).unwrap();
    let release = component.newest_first(Arch::Amd64).next().unwrap();
    let url = component.url(&release.version, Arch::Amd64);
    let pin = release.pin(Arch::Amd64).unwrap();
    Found {
        version: release.version.to_string(),
        path: lab().mirror().join(url.strip_prefix("https://").unwrap()),
        stand_in: release.stand_in,
        note: release.note.clone(),
        sha256: pin.sha256,
        size: pin.size,
    }
}

#[test]
fn the_mirror_holds_what_the_catalog_names() {
    for component in COMPONENTS {
        let found = found(component);
        let (sha256, size) = Digest::of_reader(File::open(&found.path).unwrap()).unwrap();
        assert_eq!((sha256, Some(size)), (found.sha256, found.size), "{component}");
        let is_stand_in = matches!(component, "crictl" | "kubeadm" | "kubelet");
        assert_eq!(found.stand_in, is_stand_in, "{component}");
        if component != "kubectl" {
            let note = found.note.unwrap();
            assert!(note.contains(if is_stand_in { "stand-in" } else { "Debian's" }), "{component}: {note}");
        }
    }
}

#[test]
fn the_catalog_is_sound_and_made_of_the_shipped_one() {
    let (ours, shipped) = (Catalog::load(Some(&lab().manifests())).unwrap(), Catalog::embedded().unwrap());
    assert_eq!(catalog::lint(&ours), Vec::<String>::new());
    assert_eq!(ours.components.keys().collect::<Vec<_>>(), COMPONENTS);
    assert_eq!(ours.compat.minors.keys().collect::<Vec<_>>(), ["1.30"]);
    let names = |catalog: &Catalog| -> Vec<String> {
        catalog.compat.rules.iter().filter(|rule| !rule.security_floor).map(|rule| rule.name.clone()).collect()
    };
    assert_eq!(names(&ours), names(&shipped));
    assert!(ours.compat.rules.iter().all(|rule| !rule.security_floor));
    let comment = fs::read_to_string(lab().manifests().join("compat.yaml")).unwrap();
    assert!(comment.starts_with('#') && comment.contains("Debian patches security"), "{comment}");
}

#[test]
fn the_mirror_holds_images_whose_blobs_are_what_they_are_called() {
    let images = lab().images();
    let catalog = Catalog::load(Some(&lab().manifests())).unwrap();
    assert_eq!(catalog.compat.minors["1.30"].defaults.pause_image, images.pause);
    let mut blobs = 0;
    for repository in ["registry.k8s.io/v2/pause", "registry-1.docker.io/v2/library/busybox"] {
        for kind in ["blobs", "manifests"] {
            for entry in fs::read_dir(lab().mirror().join(repository).join(kind)).unwrap() {
                let path = entry.unwrap().path();
                let digest = Digest::of(&fs::read(&path).unwrap());
                assert_eq!(path.file_name().unwrap().to_str().unwrap(), format!("sha256:{digest}"));
                blobs += 1;
            }
        }
    }
    // Each: a config and two layers, of which one is the same; two manifests, and one index.
    assert_eq!(blobs, 9);
    for (image, place) in
        [(&images.pause, "registry.k8s.io/v2/pause"), (&images.busybox, "registry-1.docker.io/v2/library/busybox")]
    {
        let (_, digest) = image.split_once('@').unwrap();
        assert!(lab().mirror().join(place).join("manifests").join(digest).is_file(), "{image}");
    }
}

#[test]
fn kubectl_is_upstreams_and_pinned_by_the_shipped_catalog() {
    let found = found("kubectl");
    assert_eq!(found.sha256.to_string(), "7c3807c0f5c1b30110a2ff1e55da1d112a6d0096201f1beb81b269f582b5d1c5");
    let shipped = Catalog::embedded().unwrap();
    let releases = &shipped.component("kubectl").unwrap().releases;
    let release = releases.iter().find(|release| release.version == lab::KUBERNETES).unwrap();
    assert_eq!(release.pin(Arch::Amd64).unwrap().sha256, found.sha256);
}

/// Name as stored, owner, mode, time of each member.
fn members(archive: &Path) -> Vec<(String, u64, u32, u64)> {
    let mut tar = tar::Archive::new(GzDecoder::new(File::open(archive).unwrap()));
    let row = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let entry = entry.unwrap();
        let (name, header) = (String::from_utf8(entry.path_bytes().into_owned()).unwrap(), entry.header());
        assert_eq!(header.uid().unwrap(), header.gid().unwrap(), "{name}");
        (name, header.uid().unwrap(), header.mode().unwrap(), header.mtime().unwrap())
    };
    tar.entries().unwrap().map(row).collect()
}

#[test]
fn archives_have_upstreams_layouts() {
    const TIME: u64 = 1_713_312_000;
    let row = |name: &str, owner, mode| (name.to_owned(), owner, mode, TIME);

    let containerd = members(&found("containerd").path);
    assert_eq!(containerd[0], row("bin/", 0, 0o755));
    for program in ["bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr"] {
        assert!(containerd[1..].contains(&row(program, 0, 0o755)), "{program}");
    }
    assert!(containerd.iter().all(|(name, ..)| name.starts_with("bin/")), "{containerd:?}");

    let plugins = members(&found("cni-plugins").path);
    assert_eq!(plugins[..3], [row("./", 0, 0o755), row("./LICENSE", 0, 0o644), row("./README.md", 0, 0o644)]);
    assert!(plugins[3..].iter().all(|(name, owner, mode, _)| name.starts_with("./") && (*owner, *mode) == (0, 0o755)));
    let names: Vec<&str> = plugins.iter().map(|(name, ..)| name.trim_start_matches("./")).collect();
    let catalog = Catalog::embedded().unwrap();
    let shipped = catalog.component("cni-plugins").unwrap();
    let newest = shipped.newest_first(Arch::Amd64).next().unwrap();
    for install in shipped.artifact(newest, Arch::Amd64).unwrap().install {
        let member = install.member.unwrap();
        assert!(names.contains(&member.as_str()), "upstream's archive has {member}");
    }

    assert_eq!(members(&found("crictl").path), [row("crictl", 1001, 0o755)]);
    for raw in ["runc", "kubectl", "kubelet", "kubeadm"] {
        let mut magic = [0; 4];
        File::open(found(raw).path).unwrap().read_exact(&mut magic).unwrap();
        assert_eq!(&magic, b"\x7fELF", "{raw}");
    }
}

fn unpacked(component: &str) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    tar::Archive::new(GzDecoder::new(File::open(found(component).path).unwrap())).unpack(to.path()).unwrap();
    to
}

/// The raw program under its own name: the mirror's need not be executable, and a stand-in goes by its name.
fn installed(component: &str) -> (TempDir, PathBuf) {
    let to = tempfile::tempdir().unwrap();
    let path = to.path().join(component);
    fs::copy(found(component).path, &path).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&path, mode).unwrap();
    (to, path)
}

fn says(program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(&program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{:?}: {output:?}", program.as_ref());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_real_programs_run() {
    let containerd = unpacked("containerd");
    let version = found("containerd").version;
    for program in ["containerd", "ctr", "containerd-shim-runc-v2"] {
        let path = containerd.path().join("bin").join(program);
        let said = says(path, &[if program.contains("shim") { "-v" } else { "--version" }]);
        assert!(said.contains(&version), "{program}: {said}");
    }
    let (_folder, runc) = installed("runc");
    let said = says(runc, &["--version"]);
    assert!(said.starts_with(&format!("runc version {}", found("runc").version)), "{said}");
    let (_folder, kubectl) = installed("kubectl");
    let said = says(kubectl, &["version", "--client"]);
    assert!(said.contains("Client Version: v1.30.0"), "{said}");

    let plugins = unpacked("cni-plugins");
    for entry in fs::read_dir(plugins.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("LICENSE") || path.ends_with("README.md") {
            continue;
        }
        let output = Command::new(&path).env("CNI_COMMAND", "VERSION").stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains("supportedVersions"), "{}: {said}", path.display());
    }
}

#[test]
fn stand_ins_tell_their_version_and_what_they_are_and_refuse_the_rest() {
    let crictl = unpacked("crictl");
    let ((_kubelet_folder, kubelet), (_kubeadm_folder, kubeadm)) = (installed("kubelet"), installed("kubeadm"));
    let questions: [(PathBuf, &[&str], &str); 3] = [
        (kubelet, &["--version"], "Kubernetes v1.30.0\n"),
        (kubeadm, &["version", "-o", "short"], "v1.30.0\n"),
        (crictl.path().join("crictl"), &["--version"], "crictl version v1.30.0\n"),
    ];
    for (program, arguments, answer) in questions {
        let output = Command::new(&program).args(arguments).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), answer);
        assert!(String::from_utf8(output.stderr).unwrap().contains("stand-in"));
        let output = Command::new(&program).args(["--config", "/etc/some.yaml"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("stand-in"));
    }
}

/// Digest of every file below `root`, by its path there.
fn tree(root: &Path) -> BTreeMap<PathBuf, Digest> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let (sha256, _) = Digest::of_reader(File::open(&path).unwrap()).unwrap();
                files.insert(path.strip_prefix(root).unwrap().to_owned(), sha256);
            }
        }
    }
    files
}

fn lab_command(dir: &Path) -> Command {
    let mut command = Command::new(FLEXNODE_VM);
    command.arg("lab").arg(dir).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn stderr(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_lab_is_whole_or_absent_and_twice_the_same() {
    let expected = tree(lab().dir());
    let here = tempfile::tempdir().unwrap();
    let dir = here.path().join("lab");

    // Killed at work: nothing is there that looks like a lab.
    let mut killed = lab_command(&dir).spawn().unwrap();
    let mut lines = BufReader::new(killed.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("repacking")), "it gets to work");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(!dir.exists());

    // Two at once, elsewhere: one makes it, both end with it, and its bytes are those of the shared lab.
    let both = [lab_command(&dir), lab_command(&dir)].map(|mut command| command.spawn().unwrap());
    let both = both.map(|child| stderr(&child.wait_with_output().unwrap()));
    let made = both.iter().filter(|said| said.contains("is made")).count();
    let kept = both.iter().filter(|said| said.contains("kept")).count();
    assert_eq!((made, kept), (1, 1), "{both:?}");
    assert_eq!(tree(&dir), expected);
    assert!(!here.path().join("lab.partial").exists());

    // One flipped byte: made again.
    let victim = dir.join(expected.keys().find(|path| path.ends_with("runc.amd64")).unwrap());
    let mut bytes = fs::read(&victim).unwrap();
    bytes[1000] ^= 1;
    fs::write(&victim, bytes).unwrap();
    let said = stderr(&lab_command(&dir).output().unwrap());
    assert!(said.contains("has changed") && said.contains("is made"), "{said}");
    assert_eq!(tree(&dir), expected);
}

#[test]
fn a_kubelet_that_is_named_takes_the_stand_ins_place_if_it_is_of_the_labs_version() {
    let (folder, kubelet) = installed("kubelet");
    let dir = folder.path().join("lab");
    let said = stderr(&lab_command(&dir).env("FLEXNODE_KUBELET", &kubelet).output().unwrap());
    assert!(said.contains("taking the real kubelet") && said.contains("making a stand-in for kubeadm"), "{said}");
    let catalog = |name: &str| fs::read_to_string(dir.join(format!("manifests/{name}.yaml"))).unwrap();
    assert!(!catalog("kubelet").contains("standIn: true") && catalog("kubeadm").contains("standIn: true"));

    StandIn::Kubelet.write(Path::new(FLEXNODE_VM), "1.31.0", &kubelet).unwrap();
    let refused = lab_command(&dir).env("FLEXNODE_KUBELET", &kubelet).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("says \"Kubernetes v1.31.0\", and the lab wants \"Kubernetes v1.30.0\""), "{said}");
}

#[test]
fn what_is_no_lab_is_not_touched() {
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("thesis.txt"), "years of work").unwrap();
    let output = lab_command(here.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("holds something that is no lab") && said.contains("hint: "), "{said}");
    assert_eq!(fs::read_to_string(here.path().join("thesis.txt")).unwrap(), "years of work");
}

#[test]
fn without_its_clients_it_says_what_is_missing() {
    let here = tempfile::tempdir().unwrap();
    let output = lab_command(&here.path().join("lab"))
        .arg("--cache-dir")
        .arg(here.path().join("cache"))
        .env("PATH", here.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.contains("apt-get does not run here") && said.contains("hint: "), "{said}");
    assert!(!here.path().join("lab").exists());
}

#[test]
fn the_trap_among_the_wheels_is_an_error_page() {
    let cache = Cache::open(&Cache::default_dir().unwrap()).unwrap();
    let text = fs::read_to_string(NOT_A_KUBECTL.program(&cache).unwrap()).unwrap();
    assert_eq!(text.len(), 220);
    assert!(text.starts_with("<?xml"), "{text}");
}

#[test]
fn the_command_at_the_end_is_ready_for_a_shell() {
    let dir = lab().dir().display();
    assert_eq!(
        lab().command(),
        format!("flexnode-build --k8s 1.30 --manifests {dir}/manifests --mirror {dir}/mirror -o bundle.tar.zst")
    );
}
