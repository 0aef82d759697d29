//! Advisories from a dump that the test makes, against what really is in the lab's bundle.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use flexnode_build::sbom::Format;
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::sbom::{component, document, text};
use super::{bundle, program};

/// `[ecosystem, package]`, from the first version on and up to `fixed`.
fn advisory(id: &str, package: [&str; 2], fixed: &str) -> Value {
    let kind = if matches!(package[0], "Go" | "crates.io") { "SEMVER" } else { "ECOSYSTEM" };
    json!({
        "schema_version": "1.7.0", "id": id, "modified": "2026-01-01T00:00:00Z", "summary": format!("{id} in words"),
        "affected": [{
            "package": {"ecosystem": package[0], "name": package[1]},
            "ranges": [{"type": kind, "events": [{"introduced": "0"}, {"fixed": fixed}]}],
        }],
    })
}

fn with(mut advisory: Value, key: &str, value: Value) -> Value {
    advisory[key] = value;
    advisory
}

/// What concerns the lab's bundle, and what just does not.
fn dump() -> Vec<Value> {
    let sbom = document(Format::Cyclonedx);
    let ring = text(&component(&sbom, "library", "ring")["version"]);
    let runc = text(&component(&sbom, "application", "runc")["purl"]);
    let release = runc.split("distro=debian-").nth(1).unwrap().split('&').next().unwrap();
    let version = runc.split('@').nth(1).unwrap().split('?').next().unwrap().replace("%2B", "+");
    let (debian, other) = (format!("Debian:{release}"), format!("Debian:{}", release.parse::<u32>().unwrap() + 1));
    vec![
        // kubectl 1.30.0 has golang.org/x/net 0.23.0 and Go 1.22.2.
        with(advisory("GO-0-NET", ["Go", "golang.org/x/net"], "0.24.0"), "aliases", json!(["CVE-0-NET"])),
        with(advisory("GHSA-net", ["Go", "golang.org/x/net"], "0.24.0"), "aliases", json!(["CVE-0-NET"])),
        advisory("GO-0-NET-FIXED", ["Go", "golang.org/x/net"], "0.23.0"),
        advisory("GO-0-KUBE", ["Go", "k8s.io/kubernetes"], "1.30.1"),
        advisory("GO-0-KUBE-FIXED", ["Go", "k8s.io/kubernetes"], "1.30.0"),
        advisory("GO-0-STAGING", ["Go", "k8s.io/client-go"], "0.30.1"),
        advisory("GO-0-STAGING-FIXED", ["Go", "k8s.io/client-go"], "0.30.0"),
        advisory("GO-0-PSEUDO", ["Go", "k8s.io/utils"], "0.0.0-20230726121420-000000000000"),
        advisory("GO-0-PSEUDO-FIXED", ["Go", "k8s.io/utils"], "0.0.0-20230726121419-3b25d923346b"),
        advisory("GO-0-INCOMPATIBLE", ["Go", "github.com/evanphx/json-patch"], "4.12.1"),
        advisory("GO-0-INCOMPATIBLE-FIXED", ["Go", "github.com/evanphx/json-patch"], "4.12.0"),
        advisory("GO-0-CASE", ["Go", "github.com/MakeNowJust/heredoc"], "1.0.1"),
        with(
            advisory("GO-0-WITHDRAWN", ["Go", "golang.org/x/net"], "9.0.0"),
            "withdrawn",
            json!("2026-01-02T00:00:00Z"),
        ),
        advisory("RUSTSEC-0-RING", ["crates.io", "ring"], "99.0.0"),
        advisory("RUSTSEC-0-RING-FIXED", ["crates.io", "ring"], &ring),
        advisory("RUSTSEC-0-TEST", ["crates.io", "proptest"], "99.0.0"),
        advisory("NPM-0", ["npm", "ring"], "99.0.0"),
        advisory("DSA-0", [&debian, "runc"], &format!("{version}.1")),
        advisory("DSA-0-FIXED", [&debian, "runc"], &version),
        advisory("DSA-0-OTHER", [&other, "runc"], "99.0"),
    ]
}

const CONCERNS: [&str; 8] = [
    "DSA-0",
    "GO-0-CASE",
    "GO-0-INCOMPATIBLE",
    "GHSA-net GO-0-NET",
    "GO-0-KUBE",
    "GO-0-PSEUDO",
    "GO-0-STAGING",
    "RUSTSEC-0-RING",
];

fn write_directory(dir: &Path, advisories: &[Value]) {
    for advisory in advisories {
        let folder = dir.join(text(&advisory["affected"][0]["package"]["ecosystem"]).replace(':', "-"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{}.json", text(&advisory["id"]))), advisory.to_string()).unwrap();
    }
}

fn write_zip(path: &Path, advisories: &[Value]) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    for advisory in advisories {
        zip.start_file(format!("{}.json", text(&advisory["id"])), SimpleFileOptions::default()).unwrap();
        zip.write_all(advisory.to_string().as_bytes()).unwrap();
    }
    zip.finish().unwrap();
}

fn audit(osv: &Path, flags: &[&str]) -> (i32, String, String) {
    let output = Command::new(program()).arg("audit").arg(bundle()).arg("--osv").arg(osv).args(flags).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code().unwrap(), stdout, stderr)
}

#[test]
fn advisories_that_concern_the_bundle_are_listed_and_those_that_do_not_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let (directory, zip) = (dir.path().join("osv"), dir.path().join("osv.zip"));
    write_directory(&directory, &dump());
    write_zip(&zip, &dump());
    let (code, json, stderr) = audit(&directory, &["--json"]);
    assert_eq!(code, 9, "{stderr}");
    let report: Value = serde_json::from_str(&json).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let ids = |finding: &Value| -> String {
        finding["advisories"].as_array().unwrap().iter().map(text).collect::<Vec<_>>().join(" ")
    };
    let mut found: Vec<String> = findings.iter().map(ids).collect();
    let mut expected = CONCERNS.map(str::to_owned);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let net = findings.iter().find(|finding| finding["name"] == "golang.org/x/net").unwrap();
    assert_eq!((&net["fixed"], &net["version"]), (&json!("0.24.0"), &json!("v0.23.0")));
    assert_eq!((&net["aliases"], &net["foundIn"]), (&json!(["CVE-0-NET"]), &json!(["usr/local/bin/kubectl"])));

    let (code, of_zip, _) = audit(&zip, &["--json"]);
    assert_eq!((code, of_zip), (9, json));
    let (code, table, stderr) = audit(&zip, &[]);
    assert_eq!(code, 9);
    let row = table.lines().find(|line| line.starts_with("golang.org/x/net ")).unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words[..5], ["golang.org/x/net", "v0.23.0", "0.24.0", "GHSA-net", "GO-0-NET"], "{row}");
    assert!(stderr.contains("19 advisories: 8 concern this bundle"), "{stderr}");
    assert!(stderr.contains("warning: nothing is known of ") && stderr.contains("kubelet ("), "{stderr}");
}

#[test]
fn a_bundle_that_no_advisory_concerns_is_a_success() {
    let dir = tempfile::tempdir().unwrap();
    let (zip, mut dump) = (dir.path().join("osv.zip"), dump());
    dump.retain(|advisory| !CONCERNS.join(" ").split(' ').any(|id| advisory["id"] == id));
    write_zip(&zip, &dump);
    let (code, stdout, stderr) = audit(&zip, &[]);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    assert!(stderr.contains("0 concern this bundle"), "{stderr}");
}
