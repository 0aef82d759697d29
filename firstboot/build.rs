//! Leaves a list of the crates that the agent is made of in the agent, as `cargo auditable` does: packed JSON in the
//! section `.dep-v0`, which bundles' SBOMs and other scanners read.
//!
//! `cargo tree` knows features and targets and needs nothing that the build itself has not downloaded.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use auditable_serde::{DependencyKind, Package, Source, VersionInfo};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use object::write::Object;
use object::{Architecture, BinaryFormat, Endianness, FileFlags, SectionFlags, SectionKind, elf};

const AGENT: &str = "flexnode-firstboot";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.toml");
    println!("cargo::rerun-if-changed=../Cargo.toml");
    println!("cargo::rerun-if-changed=../Cargo.lock");

    let tree = Tree::parse(&cargo_tree("normal,build"));
    let runtime = Tree::parse(&cargo_tree("normal,no-proc-macro")).needs;
    let list = tree.list(&runtime);

    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&serde_json::to_vec(&list).expect("the list becomes JSON")).expect("memory takes it");
    let object = object_with(&packed.finish().expect("memory takes it"));
    let path = Path::new(&env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("crates.o");
    fs::write(&path, object).expect("OUT_DIR can be written");
    println!("cargo::rustc-link-arg-bins={}", path.display());
}

/// One line a package, with its depth in front: `2serde v1.0.229`.
fn cargo_tree(edges: &str) -> String {
    let variable = |name: &str| env::var(name).expect("cargo sets it");
    let output = Command::new(variable("CARGO"))
        .args(["tree", "--locked", "--offline", "--package", AGENT, "--target", &variable("TARGET"), "--edges", edges])
        .args(["--prefix", "depth", "--format", "{p}", "--color", "never"])
        .current_dir(variable("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

/// What needs what.
#[derive(Default)]
struct Tree {
    needs: BTreeMap<Crate, BTreeSet<Crate>>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: semver::Version,
    source: Source,
}

impl Tree {
    fn parse(text: &str) -> Self {
        let mut tree = Self::default();
        let mut above: Vec<Crate> = Vec::new();
        for line in text.lines() {
            let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let Ok(depth) = line[..digits].parse::<usize>() else { continue };
            let found = Crate::parse(&line[digits..]);
            above.truncate(depth);
            if let Some(parent) = above.last() {
                tree.needs.entry(parent.clone()).or_default().insert(found.clone());
            }
            tree.needs.entry(found.clone()).or_default();
            above.push(found);
        }
        tree
    }

    fn list(&self, runtime: &BTreeMap<Crate, BTreeSet<Crate>>) -> VersionInfo {
        let crates: Vec<&Crate> = self.needs.keys().collect();
        let index = |wanted: &Crate| crates.iter().position(|listed| *listed == wanted).expect("it is listed");
        let packages = self.needs.iter().map(|(listed, needs)| Package {
            name: listed.name.clone(),
            version: listed.version.clone(),
            source: listed.source.clone(),
            kind: if runtime.contains_key(listed) { DependencyKind::Runtime } else { DependencyKind::Build },
            dependencies: needs.iter().map(index).collect(),
            root: listed.name == AGENT,
        });
        // Format 1: procedural macros count as part of the build, not of the program.
        VersionInfo { packages: packages.collect(), format: 1 }
    }
}

impl Crate {
    /// `name v1.2.3`, and behind it where it is from, unless that is cargo's own registry, `(proc-macro)` and `(*)`.
    fn parse(text: &str) -> Self {
        let mut words = text.split(' ');
        let name = words.next().expect("a name").to_owned();
        let version = words.next().and_then(|word| word.strip_prefix('v')).expect("a version");
        let version = version.parse().expect("a version as cargo has them");
        let source = match words.find(|word| !matches!(*word, "(proc-macro)" | "(*)")) {
            None => Source::CratesIo,
            Some(place) if place.starts_with("(/") => Source::Local,
            Some("(registry") => Source::Registry,
            Some(_) => Source::Git,
        };
        Self { name, version, source }
    }
}

/// An object file whose only section the linker must keep, though nothing refers to it.
fn object_with(content: &[u8]) -> Vec<u8> {
    let architecture = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("aarch64") => Architecture::Aarch64,
        _ => Architecture::X86_64,
    };
    let mut object = Object::new(BinaryFormat::Elf, architecture, Endianness::Little);
    let section = object.add_section(Vec::new(), b".dep-v0".to_vec(), SectionKind::ReadOnlyData);
    object.append_section_data(section, content, 1);
    let sh_flags = elf::SHF_ALLOC | elf::SHF_GNU_RETAIN;
    object.section_mut(section).flags = SectionFlags::Elf { sh_type: elf::SHT_PROGBITS, sh_flags };
    // GNU ld heeds SHF_GNU_RETAIN in files that say they are GNU's.
    object.flags = FileFlags::Elf { os_abi: elf::ELFOSABI_GNU, abi_version: 0, e_flags: elf::FileFlags(0) };
    object.write().expect("the object file can be written")
}
