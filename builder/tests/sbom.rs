//! What an SBOM promises: the same for the same content, modules out of any Go program, nothing broken by a broken one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::File;
use std::io::Write as _;

use flexnode_build::artifact::Proof;
use flexnode_build::atomic::Partial;
use flexnode_build::bundle::{Component, Manifest, Packing, pack};
use flexnode_build::catalog::Catalog;
use flexnode_build::digest::Digest;
use flexnode_build::failure::{Class, Failure};
use flexnode_build::lock::Lock;
use flexnode_build::overlay::{Content, Entry, FileEntry, Mode, Overlay};
use flexnode_build::request::Request;
use flexnode_build::resolve::resolve;
use flexnode_build::sbom::{Format, GoBuild, SPDX_PATH, collect, read};
use proptest::prelude::{ProptestConfig, any, proptest};
use serde_json::Value;

const EPOCH: u64 = 315_532_800;
const ADDRESS: u64 = 0x50_0000;

const TABLE: &str = "path\tk8s.io/kubernetes/cmd/kubelet\nmod\tk8s.io/kubernetes\t(devel)\t\n\
                     dep\tgithub.com/a/b\tv1.0.0\th1:sum=\ndep\tgithub.com/c/d\tv1.1.0\n=>\tgithub.com/e/d\tv1.1.1\th1:other=\n\
                     dep\tk8s.io/api\tv0.0.0\n=>\t./staging/src/k8s.io/api\t(devel)\t\nbuild\t-buildvcs=false\n";

/// How Go leaves its two strings: behind their lengths (since 1.18), or behind pointers to headers.
#[derive(Debug, Clone, Copy)]
enum Layout {
    Inline,
    Pointers,
}

/// A program of headers and one writable segment, as `strip` and `sstrip` leave it: without any section.
fn program(layout: Layout, version: &str, table: &str) -> Vec<u8> {
    let table = [&[b'<'; 16], table.as_bytes(), &[b'>'; 16]].concat();
    // The magic number stands at a multiple of 16, and not at the first.
    let mut data = vec![0; 32];
    data.extend(b"\xff Go buildinf:");
    data.push(8);
    match layout {
        Layout::Inline => {
            data.push(2);
            data.extend([0; 16]);
            for text in [version.as_bytes(), &table] {
                let mut length = text.len();
                while length >= 0x80 {
                    data.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                    length >>= 7;
                }
                data.push(u8::try_from(length).unwrap());
                data.extend(text);
            }
        }
        Layout::Pointers => {
            data.push(0);
            let at = |offset: usize| ADDRESS + offset as u64;
            let strings = 64 + 32;
            let words =
                [at(64), at(80), at(strings), version.len() as u64, at(strings + version.len()), table.len() as u64];
            data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            data.extend(version.as_bytes());
            data.extend(&table);
        }
    }
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2_u8, 0, 62, 0, 1, 0, 0, 0]);
    for word in [0_u64, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    for half in [0_u16, 0, 64, 56, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend([1_u8, 0, 0, 0, 6, 0, 0, 0]);
    let size = data.len() as u64;
    for word in [120, ADDRESS, ADDRESS, size, size, 4096] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(data);
    elf
}

fn on_disk(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn modules_are_read_from_stripped_programs_of_old_and_new_go() {
    for (layout, version) in [(Layout::Inline, "go1.22.2"), (Layout::Pointers, "go1.17.13")] {
        let build = GoBuild::read(&on_disk(&program(layout, version, TABLE))).unwrap();
        assert_eq!(build.version, version);
        assert_eq!(build.main.unwrap().path, "k8s.io/kubernetes", "{layout:?}");
        assert_eq!(build.dependencies.len(), 3);
        assert_eq!(build.settings, [("-buildvcs".to_owned(), "false".to_owned())]);
    }
    let without = GoBuild::read(&on_disk(&program(Layout::Inline, "go1.19.8", ""))).unwrap();
    assert_eq!((without.main, without.dependencies.len()), (None, 0));
    assert_eq!(GoBuild::read(&File::open("/bin/true").unwrap()), None);
    assert_eq!(GoBuild::read(&on_disk(b"#!/bin/sh\n")), None);
}

fn lock() -> Lock {
    let request = Request { kubernetes: Some("1.30".parse().unwrap()), ..Request::default() };
    resolve(request, &Catalog::embedded().unwrap()).unwrap().lock
}

fn kubelet(license: &str) -> (Component, Overlay) {
    let bytes = program(Layout::Inline, "go1.22.2", TABLE);
    let component = Component {
        name: "kubelet".to_owned(),
        version: "1.30.4".to_owned(),
        url: "https://dl.k8s.io/release/v1.30.4/bin/linux/amd64/kubelet".to_owned(),
        sha256: Digest::of(&bytes),
        size: bytes.len() as u64,
        license: license.to_owned(),
        proof: Proof::Pinned { by: Vec::new() },
        purl: None,
        stand_in: false,
    };
    let entry = FileEntry {
        mode: Mode::EXECUTABLE,
        size: bytes.len() as u64,
        sha256: component.sha256,
        content: Content::File(on_disk(&bytes).into()),
        component: Some("kubelet".to_owned()),
    };
    let mut overlay = Overlay::default();
    overlay.insert("usr/local/bin/kubelet".parse().unwrap(), Entry::File(entry)).unwrap();
    (component, overlay)
}

fn document(format: Format, license: &str, epoch: u64) -> Value {
    let (component, overlay) = kubelet(license);
    let sbom = collect(&lock(), &[component], &overlay, epoch).unwrap();
    serde_json::from_slice(&sbom.document(format).unwrap()).unwrap()
}

fn purls(document: &Value) -> Vec<&str> {
    document["components"].as_array().unwrap().iter().filter_map(|component| component["purl"].as_str()).collect()
}

#[test]
fn modules_have_the_version_that_was_linked_in() {
    let document = document(Format::Cyclonedx, "Apache-2.0", EPOCH);
    let expected = [
        // Itself, by the component's version.
        "pkg:golang/k8s.io/kubernetes@v1.30.4",
        "pkg:golang/github.com/a/b@v1.0.0",
        // What replaced another, and what came from Kubernetes' staging directory.
        "pkg:golang/github.com/e/d@v1.1.1",
        "pkg:golang/k8s.io/api@v0.30.4",
        "pkg:golang/stdlib@1.22.2",
    ];
    for purl in expected {
        assert!(purls(&document).contains(&purl), "{purl}: {:?}", purls(&document));
    }
    assert_eq!(purls(&document).len(), 1 + expected.len());
}

#[test]
fn the_same_content_gives_the_same_document_and_another_date_another_identity() {
    for (format, id) in [(Format::Spdx, "documentNamespace"), (Format::Cyclonedx, "serialNumber")] {
        let first = document(format, "MIT", EPOCH);
        assert_eq!(first, document(format, "MIT", EPOCH));
        assert_ne!(first[id], document(format, "MIT", EPOCH + 1)[id]);
        assert_ne!(first[id], document(format, "ISC", EPOCH)[id]);
    }
}

#[test]
fn a_licence_that_is_no_expression_of_spdx_is_not_asserted() {
    let declared = |license: &str| document(Format::Spdx, license, EPOCH)["packages"][1]["licenseDeclared"].clone();
    assert_eq!(declared("Apache-2.0 OR MIT"), "Apache-2.0 OR MIT");
    for other in ["NOASSERTION", "MIT OR NONE", "Apache 2", "LicenseRef-Ours", "", "proprietary"] {
        assert_eq!(declared(other), "NOASSERTION", "{other}");
        assert!(document(Format::Cyclonedx, other, EPOCH)["components"][0]["licenses"].is_null(), "{other}");
    }
}

#[test]
fn a_document_that_is_missing_or_not_what_the_bundle_lists_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bundle.tar.zst");
    let refused = |listed: Option<&[u8]>, packed: Option<&[u8]>| {
        let overlay = |content: Option<&[u8]>| {
            let mut overlay = Overlay::default();
            if let Some(bytes) = content {
                let (size, sha256, content) = (bytes.len() as u64, Digest::of(bytes), Content::Bytes(bytes.into()));
                let entry = FileEntry { mode: Mode::FILE, size, sha256, content, component: None };
                overlay.insert(SPDX_PATH.parse().unwrap(), Entry::File(entry)).unwrap();
            }
            overlay
        };
        let manifest = Manifest::new(&lock(), Vec::new(), &overlay(listed), EPOCH);
        let packing = Packing { level: 1, jobs: 1, epoch: EPOCH };
        pack(&manifest, &overlay(packed), Partial::create(&path).unwrap(), packing, &|_| ()).unwrap();
        let result = read(&path, Format::Spdx);
        result.map_err(|error| {
            let (class, hint) = Failure::describe(&error);
            assert!(class == Class::BadBundle && hint.is_some(), "{error:#}");
            format!("{error:#}")
        })
    };
    assert_eq!(refused(Some(b"{}"), Some(b"{}")), Ok(b"{}".to_vec()));
    assert!(refused(None, None).unwrap_err().contains("has no SBOM"));
    assert!(refused(None, Some(b"{}")).unwrap_err().contains("has no SBOM"));
    assert!(refused(Some(b"{}"), None).unwrap_err().contains("lacks usr/share/flexnode/sbom.spdx.json"));
    assert!(refused(Some(b"{}"), Some(b"{ }")).unwrap_err().contains("is not what its bundle.json says"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_broken_program_gives_modules_or_none_but_no_crash(
        is_new in any::<bool>(),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), 1_u8..=255), 1..8),
        end in any::<proptest::sample::Index>(),
    ) {
        let layout = if is_new { Layout::Inline } else { Layout::Pointers };
        let mut bytes = program(layout, "go1.22.2", TABLE);
        let length = bytes.len();
        for (at, mask) in flips {
            bytes[at.index(length)] ^= mask;
        }
        let _whatever = GoBuild::read(&on_disk(&bytes));
        bytes.truncate(end.index(length));
        let _whatever = GoBuild::read(&on_disk(&bytes));
    }
}
