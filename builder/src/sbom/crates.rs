//! The list of crates that a Rust program carries, in the form of cargo-auditable: the section `.dep-v0`, JSON packed by
//! zlib.

use std::fs::File;
use std::io::Read as _;

use auditable_serde::VersionInfo;
use flate2::read::ZlibDecoder;

use super::elf::look;

/// firstboot's has 12 KB.
const LIMIT: u64 = 8 << 20;

/// Reads it from `file`; nothing if there is none that can be read.
pub(super) fn read(file: &File) -> Option<VersionInfo> {
    look(file, |elf| {
        let (_, packed) = elf.section(b".dep-v0")?;
        let mut json = String::new();
        ZlibDecoder::new(packed).take(LIMIT).read_to_string(&mut json).ok()?;
        serde_json::from_str(&json).ok()
    })
}
