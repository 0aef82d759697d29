//! What a bundle says is inside it: accepted by the formats' own validators, and true.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use flexnode_build::bundle::{Bundle, Kind};
use flexnode_build::sbom::{self, Format};
use serde_json::Value;

use super::{builder, bundle, cache, lab, program, run};

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bundle/sbom").join(name)
}

pub(super) fn document(format: Format) -> Value {
    serde_json::from_slice(&sbom::read(bundle(), format).unwrap()).unwrap()
}

pub(super) fn list<'a>(document: &'a Value, key: &str) -> &'a Vec<Value> {
    document[key].as_array().unwrap()
}

/// The component that is called `name` and is of `kind`.
pub(super) fn component(document: &Value, kind: &str, name: &str) -> Value {
    let mut all = list(document, "components").iter();
    all.find(|component| component["type"] == kind && component["name"] == name).unwrap().clone()
}

/// Where the validators lie: once a build, by pip.
fn validators() -> &'static Path {
    static VALIDATORS: OnceLock<PathBuf> = OnceLock::new();
    VALIDATORS.get_or_init(|| {
        let (dir, wanted) = (lab().dir().with_file_name("validators"), here("validators.txt"));
        let installed = dir.join("installed.txt");
        if fs::read(&installed).ok() != Some(fs::read(&wanted).unwrap()) {
            if dir.exists() {
                fs::remove_dir_all(&dir).unwrap();
            }
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
            pip.args(["--root-user-action", "ignore", "--only-binary=:all:", "--target"]);
            run(pip.arg(&dir).arg("--requirement").arg(&wanted));
            fs::copy(&wanted, &installed).unwrap();
        }
        dir
    })
}

fn validate(script: &str, document: &Path) -> Output {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", validators()).env("PYTHONDONTWRITEBYTECODE", "1").arg(here(script)).arg(document);
    python.output().unwrap()
}

#[test]
fn the_official_validators_accept_both_documents_and_refuse_spoilt_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("document.json");
    let cases = [
        ("spdx", "validate_spdx.py", "\"filesAnalyzed\": true", "\"filesAnalyzed\": false"),
        ("cyclonedx", "validate_cyclonedx.py", "\"type\": \"library\"", "\"type\": \"book\""),
    ];
    for (format, script, right, wrong) in cases {
        let document = run(Command::new(program()).args(["inspect", "--sbom", format]).arg(bundle())).stdout;
        fs::write(&path, &document).unwrap();
        let output = validate(script, &path);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{said}");
        let document = String::from_utf8(document).unwrap();
        assert!(document.contains(right), "{format}");
        fs::write(&path, document.replacen(right, wrong, 1)).unwrap();
        assert_eq!(validate(script, &path).status.code(), Some(1), "{format}");
    }
}

#[test]
fn every_file_but_the_documents_themselves_is_listed_with_its_digest() {
    let manifest = Bundle::manifest(bundle()).unwrap();
    let mut expected = BTreeMap::new();
    for item in &manifest.files {
        if let Kind::File { sha256, .. } = item.kind {
            expected.insert(item.path.to_string(), sha256.to_string());
        }
    }
    for format in [Format::Spdx, Format::Cyclonedx] {
        expected.remove(format.path()).unwrap();
    }
    let spdx = document(Format::Spdx);
    let of_spdx = list(&spdx, "files").iter().map(|file| {
        let sha256 = list(file, "checksums").iter().find(|sum| sum["algorithm"] == "SHA256").unwrap();
        (text(&file["fileName"]).trim_start_matches("./").to_owned(), text(&sha256["checksumValue"]))
    });
    assert_eq!(of_spdx.collect::<BTreeMap<_, _>>(), expected);
    let cyclonedx = document(Format::Cyclonedx);
    let files = list(&cyclonedx, "components").iter().filter(|component| component["type"] == "file");
    let of_cyclonedx = files.map(|file| {
        let sha256 = list(file, "hashes").iter().find(|hash| hash["alg"] == "SHA-256").unwrap();
        (text(&file["name"]), text(&sha256["content"]))
    });
    assert_eq!(of_cyclonedx.collect::<BTreeMap<_, _>>(), expected);
}

#[test]
fn the_go_modules_are_those_that_another_reader_finds_in_kubectl() {
    let dir = tempfile::tempdir().unwrap();
    super::unpacked(dir.path());
    let kubectl = "usr/local/bin/kubectl";
    let output = run(Command::new("python3").arg(here("modules.py")).arg(dir.path().join(kubectl)));
    let read = String::from_utf8(output.stdout).unwrap();
    // Kubernetes leaves the versions of its own modules out; they are published as v0.30.0 with 1.30.0.
    let mut expected: BTreeSet<String> = read
        .lines()
        .map(|line| match line.split_once('@').unwrap() {
            ("k8s.io/kubernetes", _) => "k8s.io/kubernetes@v1.30.0".to_owned(),
            (path, "(devel)") => format!("{path}@v0.30.0"),
            _ => line.to_owned(),
        })
        .collect();
    assert!(expected.len() > 60 && expected.contains("github.com/spf13/cobra@v1.7.0"), "{read}");
    let version = run(Command::new(dir.path().join(kubectl)).args(["version", "--client", "--output=json"]));
    let version: Value = serde_json::from_slice(&version.stdout).unwrap();
    let go = text(&version["clientVersion"]["goVersion"]);
    expected.insert(format!("stdlib@{}", go.strip_prefix("go").unwrap()));

    for (format, found) in [(Format::Spdx, found_by_spdx(kubectl)), (Format::Cyclonedx, found_by_cyclonedx(kubectl))] {
        assert_eq!(found, expected, "{format:?}");
    }
}

fn found_by_spdx(program: &str) -> BTreeSet<String> {
    let document = document(Format::Spdx);
    let is_in = |package: &&Value| {
        let info = package["sourceInfo"].as_str().unwrap_or_default();
        info.trim_start_matches("found in ").split(", ").any(|path| path == program)
    };
    let packages = list(&document, "packages").iter().filter(is_in);
    packages.map(|package| format!("{}@{}", text(&package["name"]), text(&package["versionInfo"]))).collect()
}

fn found_by_cyclonedx(program: &str) -> BTreeSet<String> {
    let document = document(Format::Cyclonedx);
    let is_in = |component: &&Value| {
        let places = component["evidence"]["occurrences"].as_array();
        places.is_some_and(|places| places.iter().any(|place| place["location"] == program))
    };
    let components = list(&document, "components").iter().filter(is_in);
    components.map(|component| format!("{}@{}", text(&component["name"]), text(&component["version"]))).collect()
}

#[test]
fn the_crates_are_those_of_the_lock_file_that_the_agent_is_linked_with() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock")).unwrap();
    let locked: BTreeSet<(&str, &str)> = lock
        .split("[[package]]")
        .filter_map(|entry| {
            let field = |key: &str| entry.lines().find_map(|line| line.strip_prefix(key)?.strip_suffix('"'));
            Some((field("name = \"")?, field("version = \"")?))
        })
        .collect();
    let found = found_by_cyclonedx("usr/local/bin/flexnode-firstboot");
    for found in &found {
        assert!(locked.contains(&found.split_once('@').unwrap()), "{found} is not in Cargo.lock");
    }
    let names: BTreeSet<&str> = found.iter().filter_map(|found| Some(found.split_once('@')?.0)).collect();
    for linked in ["flexnode-firstboot", "azure_identity", "reqwest", "rustls", "ring", "tokio"] {
        assert!(names.contains(linked), "{linked} is missing");
    }
    // Of the build, of tests, and of other systems.
    for other in ["serde_derive", "object", "proptest", "insta", "windows-sys", "wasm-bindgen", "axum"] {
        assert!(!names.contains(other), "{other} is not in the agent");
    }
}

#[test]
fn components_have_the_names_that_advisories_know_and_stand_ins_do_not() {
    let document = document(Format::Cyclonedx);
    let purl = |name: &str| text(&component(&document, "application", name)["purl"]);
    for (name, package) in [("containerd", "containerd"), ("runc", "runc")] {
        assert!(purl(name).starts_with(&format!("pkg:deb/debian/{package}@")), "{}", purl(name));
    }
    assert!(purl("runc").contains("&distro=debian-"), "{}", purl("runc"));
    assert!(
        purl("cni-plugins").contains("upstream=golang-github-containernetworking-plugins"),
        "{}",
        purl("cni-plugins")
    );
    assert!(purl("kubectl").contains("download_url=") && purl("kubectl").contains("checksum=sha256:7c3807c0f5c1b301"));
    for stand_in in ["kubelet", "kubeadm", "crictl"] {
        assert!(purl(stand_in).starts_with("pkg:generic/"), "{}", purl(stand_in));
        assert!(!purl(stand_in).contains("download_url"), "{}", purl(stand_in));
        let component = component(&document, "application", stand_in);
        assert_eq!(component["description"], "a stand-in for tests, not the real program");
        assert_eq!(component["supplier"]["name"], "Flexnode");
    }
    assert_eq!(component(&document, "application", "kubectl")["licenses"][0]["expression"], "Apache-2.0");
}

#[test]
fn the_date_is_the_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bundle.tar.zst");
    run(builder(&cache(), &["--k8s", "1.30", "--level", "1", "-o"]).arg(&path).env("SOURCE_DATE_EPOCH", "1700000000"));
    let read = |format| -> Value { serde_json::from_slice(&sbom::read(&path, format).unwrap()).unwrap() };
    assert_eq!(read(Format::Spdx)["creationInfo"]["created"], "2023-11-14T22:13:20Z");
    assert_eq!(read(Format::Cyclonedx)["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
    assert_ne!(read(Format::Cyclonedx)["serialNumber"], document(Format::Cyclonedx)["serialNumber"]);
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
