//! The ELF gate on real programs: what the target cannot load is refused by name and symbol.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be set up has failed")]

mod debian;

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use flexnode_build::artifact::{Arch, Artifact, Install, Kind, Ownership, Proof};
use flexnode_build::digest::Digest;
use flexnode_build::failure::{Class, Failure};
use flexnode_build::overlay::{Content, Entry, Mode, Overlay, OverlayPath};
use flexnode_build::stage::elf::{self, ElfReport, Role};
use flexnode_build::stage::{check_program, stage};
use flexnode_build::target::Target;
use proptest::prelude::{ProptestConfig, any, prop, proptest};

#[test]
fn sids_runc_is_refused_for_jammy_by_name_and_symbol_and_taken_for_noble() {
    let package = debian::package("sid", "runc");
    let version = version_of(&package);
    let error = stage_runc(&package, Target::Ubuntu2204).expect_err("sid's glibc is newer than jammy's");
    let message = format!("{error:#}");
    let needs = format!("runc {version} needs GLIBC_2.");
    assert!(
        message.starts_with(&needs) && message.contains(" (symbol `__isoc23_strtol`), ubuntu-22.04 has 2.35"),
        "{message}"
    );
    let (class, hint) = Failure::describe(&error);
    assert_eq!((class, hint), (Class::Verification, Some("use a static build, an older version, or another --target")));

    let report = stage_runc(&package, Target::Ubuntu2404).expect("noble's glibc is new enough");
    assert_eq!(report.glibc, Some((2, 38)));
    assert_eq!(report.interpreter.as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
    assert!(report.needed.contains(&"libc.so.6".to_owned()) && !report.is_static);
}

#[test]
fn bookworms_runc_runs_on_jammy_but_not_on_focal() {
    let package = debian::package("bookworm", "runc");
    let report = stage_runc(&package, Target::Ubuntu2204).expect("it needs 2.34");
    assert_eq!(report.glibc, Some((2, 34)));
    let error = stage_runc(&package, Target::Ubuntu2004).expect_err("focal has 2.31").to_string();
    assert!(error.contains(" needs GLIBC_2.34 (symbol `") && error.ends_with("`), ubuntu-20.04 has 2.31"), "{error}");
}

#[test]
fn several_members_of_one_real_package_are_staged_and_checked_without_loading_them() {
    let package = debian::package("bookworm", "containerd");
    let programs = ["containerd", "ctr", "containerd-shim-runc-v2"];
    let install = |name: &&str| install(Some(&format!("usr/bin/{name}")), &format!("usr/local/bin/{name}"));
    let artifact = artifact("containerd", "1.6.20", Kind::Deb, programs.iter().map(install).collect());
    let (overlay, reports) = stage_file(&artifact, &package, Target::Ubuntu2204).unwrap();
    assert_eq!(reports.len(), 3);
    for (path, _) in &reports {
        let Some(Entry::File(file)) = overlay.get(path) else { panic!("{path} is no file") };
        assert_eq!(Digest::of_reader(file.content.reader()).unwrap(), (file.sha256, file.size));
        assert!(file.size > 1 << 20 && file.component.as_deref() == Some("containerd"), "{path}");

        let Content::File(content) = &file.content else { panic!("programs are not kept in memory") };
        let read = Cell::new(0);
        let reader = Counting { inner: content, read: &read };
        elf::check("it", reader, Arch::Amd64, Target::Ubuntu2204, Role::Program).unwrap();
        assert!(read.get() < 64 << 10, "{} of {} bytes of {path} were read", read.get(), file.size);
    }
}

#[test]
fn a_program_of_this_system_passes_and_every_truncation_of_it_is_refused() {
    let (report, bytes) =
        (check_program("true", &File::open("/bin/true").unwrap(), Arch::Amd64, Target::Debian12), system_program());
    assert!(report.unwrap().glibc.is_some());
    for length in (0..bytes.len()).step_by(97).chain([4, 16, 63, 64, bytes.len() - 1]) {
        assert!(check(&bytes[..length], Arch::Amd64).is_err(), "{length} of {} bytes were taken", bytes.len());
    }
}

#[test]
fn foreign_programs_are_refused_with_what_they_are() {
    let bytes = system_program();
    let interpreter = bytes.windows(27).position(|window| window == b"/lib64/ld-linux-x86-64.so.2").unwrap();
    let patched = |at: usize, patch: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + patch.len()].copy_from_slice(patch);
        check(&bytes, Arch::Amd64).expect_err("it is foreign").to_string()
    };
    assert_eq!(patched(18, &183u16.to_le_bytes()), "it is built for arm64, the bundle is for amd64");
    assert_eq!(patched(18, &8u16.to_le_bytes()), "it is built for machine 8, the bundle is for amd64");
    assert_eq!(check(&bytes, Arch::Arm64).unwrap_err().to_string(), "it is built for amd64, the bundle is for arm64");
    assert_eq!(patched(4, &[1]), "it is not a 64-bit little-endian program, as amd64 needs");
    assert_eq!(patched(5, &[2]), "it is not a 64-bit little-endian program, as amd64 needs");
    assert_eq!(patched(7, &[9]), "it is not built for Linux");
    assert_eq!(patched(16, &1u16.to_le_bytes()), "it is an object file or a core dump, not a program");
    assert_eq!(
        patched(interpreter, b"/lib/ld-musl-x86_64.so.1\0"),
        "it is built for musl (interpreter `/lib/ld-musl-x86_64.so.1`), ubuntu-22.04 has glibc"
    );
    assert_eq!(
        patched(interpreter, b"/nix/store/ld-linux.so.2\0"),
        "it needs the interpreter `/nix/store/ld-linux.so.2`, ubuntu-22.04 has `/lib64/ld-linux-x86-64.so.2`"
    );
}

#[test]
fn what_only_poses_as_a_program_is_refused_with_what_it_looks_like() {
    // The body that one PyPI wheel ships as kubectl begins so.
    let xml = b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code></Error>";
    let refusals: [(&[u8], &str); 4] = [
        (xml, "it looks like an XML document, `<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey`"),
        (b"<!DOCTYPE html>", "it looks like an HTML page, `<!DOCTYPE html>`"),
        (b"", "it is empty"),
        (b"#!/bin/sh\n", "it is a script"),
    ];
    for (bytes, what) in refusals {
        let error = stage_binary(bytes, "usr/local/bin/kubectl", Mode::EXECUTABLE).expect_err("it is no program");
        assert_eq!(error.to_string(), format!("kubectl 1.30.0 is not a program: {what}"));
        assert_eq!(Failure::describe(&error).0, Class::Verification);
    }
    let elsewhere = |bytes: &[u8], mode| stage_binary(bytes, "opt/tool/run", mode);
    elsewhere(b"#!/bin/sh\n", Mode::EXECUTABLE).expect("scripts have their place");
    elsewhere(b"key: value\n", Mode::FILE).expect("data is no program and need not be one");
    elsewhere(b"key: value\n", Mode::EXECUTABLE).expect_err("nobody can execute it");
    elsewhere(&system_program()[..100], Mode::FILE).expect_err("every ELF file is checked");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// A damaged program is refused or taken, and never makes the gate panic or say it needs more than the target has.
    #[test]
    fn no_damage_makes_the_gate_panic(
        edits in prop::collection::vec((0usize..8192, any::<u8>()), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = system_program();
        // The headers, the dynamic segment and its tables lie at the ends.
        for (at, byte) in edits {
            let at = if at < 4096 { at } else { bytes.len() - (at - 4095) };
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(report) = check(&bytes, Arch::Amd64) {
            assert!(report.glibc.is_none_or(|version| version <= Target::Ubuntu2204.glibc()));
        }
    }
}

/// Counts what is read through it.
struct Counting<'a> {
    inner: &'a File,
    read: &'a Cell<usize>,
}

impl Read for Counting<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.read.set(self.read.get() + n);
        Ok(n)
    }
}

impl Seek for Counting<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

fn system_program() -> Vec<u8> {
    fs::read("/bin/true").unwrap()
}

fn check(bytes: &[u8], arch: Arch) -> Result<ElfReport> {
    elf::check("it", Cursor::new(bytes), arch, Target::Ubuntu2204, Role::Program)
}

fn stage_runc(package: &Path, target: Target) -> Result<ElfReport> {
    let install = vec![install(Some("usr/sbin/runc"), "usr/local/sbin/runc")];
    let (_, mut reports) = stage_file(&artifact("runc", &version_of(package), Kind::Deb, install), package, target)?;
    Ok(reports.remove(0).1)
}

fn stage_binary(bytes: &[u8], path: &str, mode: Mode) -> Result<Overlay> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), bytes)?;
    let mut artifact = artifact("kubectl", "1.30.0", Kind::Binary, vec![Install { mode, ..install(None, path) }]);
    artifact.sha256 = Digest::of(bytes);
    stage_file(&artifact, file.path(), Target::Ubuntu2204).map(|(overlay, _)| overlay)
}

fn stage_file(artifact: &Artifact, path: &Path, target: Target) -> Result<(Overlay, Vec<(OverlayPath, ElfReport)>)> {
    let mut overlay = Overlay::default();
    let blob = Arc::new(File::open(path)?);
    let reports = stage(artifact, &blob, Arch::Amd64, target, &std::env::temp_dir(), &mut overlay)?;
    Ok((overlay, reports))
}

fn artifact(name: &str, version: &str, kind: Kind, install: Vec<Install>) -> Artifact {
    Artifact {
        name: name.to_owned(),
        version: version.to_owned(),
        url: format!("https://example.org/{name}"),
        size: None,
        sha256: Digest::of(b"archives are verified by the cache"),
        license: "Apache-2.0".to_owned(),
        proof: Proof::Pinned { by: vec![] },
        purl: None,
        stand_in: false,
        kind,
        ownership: Ownership::Root,
        install,
    }
}

fn install(member: Option<&str>, path: &str) -> Install {
    Install { member: member.map(str::to_owned), path: path.parse().unwrap(), mode: Mode::EXECUTABLE }
}

/// `1.3.6` of `runc_1.3.6+ds1-1_amd64.deb`.
fn version_of(package: &Path) -> String {
    let name = package.file_name().and_then(|name| name.to_str()).unwrap();
    name.split('_').nth(1).unwrap().split(['+', '-']).next().unwrap().to_owned()
}
