//! Fuzz targets: each takes any bytes and panics where a promise is broken.
//!
//! To add one: a line in [`TARGETS`], its function, and a seed in `seeds/<name>/`.

mod archive;
mod documents;

use std::io::Cursor;
use std::str::FromStr;

use flexnode_build::artifact::Arch;
use flexnode_build::digest::Digest;
use flexnode_build::overlay::{Mode, OverlayPath};
use flexnode_build::request::Wanted;
use flexnode_build::stage::elf::{self, Role};
use flexnode_build::target::Target;

/// A name, as `FUZZ_TARGET` gives it, and what to feed.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// All targets. `.ci/fuzz` runs each; it reads them from the program's own list.
pub const TARGETS: &[FuzzTarget] = &[
    ("archive", archive::extract),
    ("bundle-json", |bytes| documents::bundle_json(&String::from_utf8_lossy(bytes))),
    ("catalog", |bytes| documents::catalog(&String::from_utf8_lossy(bytes))),
    ("compat", |bytes| documents::compat(&String::from_utf8_lossy(bytes))),
    ("digest", |bytes| round_trip::<Digest>(bytes)),
    ("elf", elf_gate),
    ("lock", |bytes| documents::lock(&String::from_utf8_lossy(bytes))),
    ("mode", |bytes| round_trip::<Mode>(bytes)),
    ("node-config", |bytes| documents::node_config(&String::from_utf8_lossy(bytes))),
    ("overlay-path", |bytes| round_trip::<OverlayPath>(bytes)),
    ("set", |bytes| documents::set(&String::from_utf8_lossy(bytes))),
    ("spec", |bytes| documents::spec(&String::from_utf8_lossy(bytes))),
    ("wanted", |bytes| round_trip::<Wanted>(bytes)),
];

fn elf_gate(bytes: &[u8]) {
    for role in [Role::Program, Role::Library] {
        let verdict = elf::check("it", Cursor::new(bytes), Arch::Amd64, Target::Ubuntu2204, role);
        if let Ok(report) = verdict {
            assert!(report.glibc.is_none_or(|version| version <= Target::Ubuntu2204.glibc()), "{report:?}");
        }
    }
}

/// What parses is written as it parses again.
fn round_trip<T>(bytes: &[u8])
where
    T: FromStr + ToString + PartialEq + std::fmt::Debug,
{
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse::<T>().ok(), Some(value));
    }
}
