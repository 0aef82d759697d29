//! What an audit promises: OSV's own rules, every ecosystem's own order of versions, and no trust in the dump.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use flexnode_build::audit::{Ecosystem, Inventory, Report, Subject, audit};
use flexnode_build::failure::{Class, Failure};
use proptest::prelude::{ProptestConfig, proptest};
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

fn subject(ecosystem: &Ecosystem, version: &str) -> Subject {
    Subject {
        name: "example.org/Thing".to_owned(),
        version: version.to_owned(),
        ecosystem: ecosystem.clone(),
        found_in: vec!["bin/thing".to_owned()],
    }
}

fn inventory(ecosystem: &Ecosystem, version: &str) -> Inventory {
    Inventory { subjects: [subject(ecosystem, version)].into(), unjudged: Vec::new() }
}

fn advisory(id: &str, affected: Value) -> Value {
    json!({"id": id, "modified": "2026-01-01T00:00:00Z", "affected": [affected]})
}

fn range(kind: &str, events: Value) -> Value {
    json!({"package": {"ecosystem": "Go", "name": "example.org/Thing"}, "ranges": [{"type": kind, "events": events}]})
}

fn audited(inventory: Inventory, advisories: &[Value]) -> Report {
    let dir = tempfile::tempdir().unwrap();
    for advisory in advisories {
        fs::write(dir.path().join(format!("{}.json", advisory["id"].as_str().unwrap())), advisory.to_string()).unwrap();
    }
    audit(inventory, dir.path()).unwrap()
}

/// The version that mends it, `-` for none, or nothing where the version is not concerned.
fn fixed(ecosystem: &Ecosystem, version: &str, affected: Value) -> Option<String> {
    let report = audited(inventory(ecosystem, version), &[advisory("A-1", affected)]);
    report.findings.first().map(|finding| finding.fixed.clone().unwrap_or_else(|| "-".to_owned()))
}

#[test]
fn ranges_are_evaluated_as_osv_defines_them() {
    let two = json!([{"introduced": "1.0.0"}, {"fixed": "1.0.5"}, {"introduced": "2.0.0"}, {"fixed": "2.1.0"}]);
    let shuffled = json!([{"fixed": "2.1.0"}, {"introduced": "2.0.0"}, {"fixed": "1.0.5"}, {"introduced": "1.0.0"}]);
    let last = json!([{"introduced": "0"}, {"last_affected": "1.4.0"}]);
    let open = json!([{"introduced": "1.2"}]);
    let limited = json!([{"introduced": "0"}, {"limit": "1.5.0"}]);
    let cases = [
        (&two, "v0.9.0", None),
        (&two, "v1.0.0", Some("1.0.5")),
        (&two, "v1.0.4", Some("1.0.5")),
        (&two, "v1.0.5", None),
        (&two, "v2.0.9+incompatible", Some("2.1.0")),
        (&two, "v2.1.0+incompatible", None),
        (&two, "v2.1.0-rc.1", Some("2.1.0")),
        (&two, "v2.0.1-0.20240101000000-abcdefabcdef", Some("2.1.0")),
        (&shuffled, "v1.0.4", Some("1.0.5")),
        (&shuffled, "v1.5.0", None),
        (&last, "v1.4.0", Some("-")),
        (&last, "v1.4.1", None),
        (&open, "v1.1.9", None),
        (&open, "v1.2.0", Some("-")),
        (&limited, "v1.4.9", Some("-")),
        (&limited, "v1.5.0", None),
    ];
    for (events, version, expected) in cases {
        let found = fixed(&Ecosystem::Go, version, range("SEMVER", events.clone()));
        assert_eq!(found.as_deref(), expected, "{version} in {events}");
    }
    assert_eq!(fixed(&Ecosystem::Go, "v1.0.0", range("GIT", json!([{"introduced": "0"}]))), None);
}

#[test]
fn versions_that_are_listed_count_and_what_cannot_be_compared_is_not_passed_over() {
    let listed = |version: &str| {
        let affected = json!({
            "package": {"ecosystem": "Go", "name": "example.org/thing"}, "versions": ["1.0.0", "1.2.0"],
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "9.0.0"}, {"fixed": "9.1.0"}]}],
        });
        fixed(&Ecosystem::Go, version, affected)
    };
    assert_eq!(listed("v1.2.0").as_deref(), Some("9.1.0"));
    assert_eq!(listed("v1.1.0"), None);
    // Enough of them, in disorder, for a sort to find out that they have no order.
    let odd =
        |n: u32| json!({"introduced": if n.is_multiple_of(3) { "odd".to_owned() } else { format!("{}.0.0", 90 - n) }});
    let events: Vec<Value> = (0..60).map(odd).collect();
    assert_eq!(fixed(&Ecosystem::Go, "v1.0.0", range("SEMVER", events.into())).as_deref(), Some("-"));
    assert_eq!(fixed(&Ecosystem::Go, "v1.0.0", range("SEMVER", json!([{"introduced": "one"}]))).as_deref(), Some("-"));
}

#[test]
fn an_ecosystem_is_that_of_the_release_and_of_no_other() {
    let of = |name: &str| {
        json!({"package": {"ecosystem": name, "name": "example.org/Thing"},
               "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}]})
    };
    let (debian, ubuntu) = (Ecosystem::Debian("12".to_owned()), Ecosystem::Ubuntu("22.04".to_owned()));
    for (ecosystem, right) in
        [(&debian, "Debian:12"), (&ubuntu, "Ubuntu:22.04:LTS"), (&Ecosystem::CratesIo, "crates.io")]
    {
        assert_eq!(fixed(ecosystem, "1.0.0", of(right)).as_deref(), Some("2.0"), "{right}");
        for other in ["Debian", "Debian:1", "Debian:120", "Debian:11", "Ubuntu:Pro:22.04:LTS", "Ubuntu:20.04:LTS", "Go"]
        {
            assert_eq!(fixed(ecosystem, "1.0.0", of(other)), None, "{right} {other}");
        }
    }
}

#[test]
fn databases_that_copy_from_each_other_are_one_finding_in_any_order() {
    let affected = |fixed: &str| range("SEMVER", json!([{"introduced": "0"}, {"fixed": fixed}]));
    let named = |id: &str, aliases: Value, fixed: &str| {
        let mut advisory = advisory(id, affected(fixed));
        advisory["aliases"] = aliases;
        advisory
    };
    let dump = [
        named("GHSA-1", json!(["CVE-1"]), "1.1.0"),
        named("GO-1", json!(["CVE-2"]), "1.2.0"),
        // Joins what was two until now.
        named("X-1", json!(["CVE-1", "CVE-2"]), "1.3.0"),
        named("GO-2", json!([]), "1.4.0"),
    ];
    let report = audited(inventory(&Ecosystem::Go, "v1.0.0"), &dump);
    let ids: Vec<Vec<&str>> =
        report.findings.iter().map(|finding| finding.advisories.iter().map(String::as_str).collect()).collect();
    assert_eq!(ids, [vec!["GHSA-1", "GO-1", "X-1"], vec!["GO-2"]]);
    assert_eq!(report.findings[0].fixed.as_deref(), Some("1.1.0"));
}

fn refusal(osv: &Path) -> String {
    let error = audit(inventory(&Ecosystem::Go, "v1.0.0"), osv).unwrap_err();
    let (class, hint) = Failure::describe(&error);
    assert!(class == Class::Usage && hint.is_some(), "{error:#}");
    format!("{error:#}")
}

#[test]
fn a_dump_that_is_broken_empty_or_a_bomb_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let zip = |name: &str, member: &str, content: &[u8]| {
        let mut zip = ZipWriter::new(File::create(at(name)).unwrap());
        zip.start_file(member, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
        zip.finish().unwrap();
        at(name)
    };
    let bomb = zip("bomb.zip", "A.json", &vec![b' '; (16 << 20) + 1]);
    assert!(fs::metadata(&bomb).unwrap().len() < 100_000);
    let deep = format!("{{\"id\": \"A\", \"affected\": {}", "[".repeat(100_000));
    let cases = [
        (bomb, "A.json in ", "is larger than 16777216 bytes"),
        (zip("deep.zip", "A.json", deep.as_bytes()), "A.json", "is no advisory"),
        (zip("type.zip", "A.json", b"{\"id\": 1}"), "A.json", "is no advisory"),
        (zip("cut.zip", "A.json", b"{\"id\": \"A\""), "A.json", "is no advisory"),
        (zip("none.zip", "A.txt", b"hello"), "none.zip", "holds no advisories"),
    ];
    for (path, name, words) in cases {
        let said = refusal(&path);
        assert!(said.contains(name) && said.contains(words), "{said}");
    }
    fs::write(at("no.zip"), "hello").unwrap();
    assert!(refusal(&at("no.zip")).contains("reading the zip archive"));
    fs::create_dir(at("empty")).unwrap();
    assert!(refusal(&at("empty")).contains("holds no advisories"));
    fs::create_dir(at("loop")).unwrap();
    std::os::unix::fs::symlink(".", at("loop").join("again")).unwrap();
    assert!(refusal(&at("loop")).contains("is too deep"));
}

#[test]
fn a_byte_that_flips_in_an_archive_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("osv.zip");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    zip.start_file("A-1.json", SimpleFileOptions::default()).unwrap();
    let events = json!([{"introduced": "0"}, {"fixed": "1.5.0"}]);
    zip.write_all(advisory("A-1", range("SEMVER", events)).to_string().as_bytes()).unwrap();
    zip.finish().unwrap();
    let whole = fs::read(&path).unwrap();
    let told = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        audit(inventory(&Ecosystem::Go, "v1.4.0"), &path).ok().map(|report| report.findings)
    };
    let right = told(&whole).unwrap();
    assert_eq!(right.len(), 1);
    for at in 0..whole.len() {
        let mut spoilt = whole.clone();
        spoilt[at] ^= 0x20;
        // Dates, flags and comments of a zip archive may flip; what an advisory says may not.
        assert!(told(&spoilt).is_none_or(|findings| findings == right), "byte {at}");
    }
}

fn dpkg(left: &str, operator: &str, right: &str) -> bool {
    Command::new("dpkg").args(["--compare-versions", left, operator, right]).output().unwrap().status.success()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn debian_versions_are_ordered_as_dpkg_orders_them(
        left in "([01]:)?[0-9][0-9a-c.+~]{0,4}(-[0-9a-b.+~]{1,3})?",
        right in "([01]:)?[0-9][0-9a-c.+~]{0,4}(-[0-9a-b.+~]{1,3})?",
    ) {
        let order = Ecosystem::Debian("12".to_owned()).compare(&left, &right).unwrap();
        let operator = match order { Ordering::Less => "lt", Ordering::Equal => "eq", Ordering::Greater => "gt" };
        assert!(dpkg(&left, operator, &right), "{left} {operator} {right}");
    }

    #[test]
    fn no_text_breaks_a_comparison(left in ".{0,12}", right in ".{0,12}") {
        for ecosystem in [Ecosystem::Go, Ecosystem::Debian("12".to_owned())] {
            let order = ecosystem.compare(&left, &right);
            assert_eq!(ecosystem.compare(&right, &left), order.map(Ordering::reverse));
        }
    }
}
