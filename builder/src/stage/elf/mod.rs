//! The ELF gate: lets a program pass if the target's kernel and C library can load it.

mod file;
mod source;

use std::cell::Cell;
use std::io::{Read, Seek};

use anyhow::{Result, anyhow};
use object::read::ReadCache;

use crate::artifact::Arch;
use crate::failure::{Class, Failure};
use crate::target::Target;
use file::Elf;
pub(crate) use source::{FileAt, Frugal};

/// What an ELF file needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElfReport {
    /// The architecture it was built for.
    pub machine: Arch,
    /// The program that loads it, such as `/lib64/ld-linux-x86-64.so.2`.
    pub interpreter: Option<String>,
    /// The newest glibc version that one of its symbols needs.
    pub glibc: Option<(u32, u32)>,
    /// The libraries it names, in their order.
    pub needed: Vec<String>,
    /// Whether it runs without any library.
    pub is_static: bool,
}

/// What a file is installed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Somebody executes it.
    Program,
    /// It is loaded by a program, or only lies there.
    Library,
}

/// Whether these leading bytes claim to be an ELF file.
pub(crate) fn is_elf(head: &[u8]) -> bool {
    head.starts_with(b"\x7fELF")
}

/// Checks that the file behind `reader` loads on `target`; `name` is what messages call it.
///
/// Reads headers and tables only: memory stays in proportion to the dynamic symbols, and below 64 MiB for any input.
///
/// # Errors
/// A [`Failure`] of [`Class::Verification`] that says what the file needs and the target lacks.
pub fn check(name: &str, reader: impl Read + Seek, arch: Arch, target: Target, role: Role) -> Result<ElfReport> {
    let cache = ReadCache::new(reader);
    let data = Frugal { cache: &cache, budget: &Cell::new(64 << 20) };
    let elf = Elf::parse(name, data, arch)?;
    let interpreter = elf.interpreter()?;
    if let Some(path) = &interpreter {
        expect_standard(name, path, arch, target)?;
    }
    let dynamic = elf.dynamic()?;
    if role == Role::Program && interpreter.is_none() && !dynamic.needed.is_empty() {
        return Err(refuse(
            format!("{name} is a shared library, not a program"),
            "a library takes a mode such as \"0644\" or a name that ends in `.so`",
        ));
    }
    let mut glibc = None;
    if let Some(need) = elf.newest_glibc(&dynamic)? {
        let has = target.glibc();
        if need.version.is_none_or(|version| version > has) {
            let symbol = elf.symbol_with(need.index).map(|symbol| format!(" (symbol `{symbol}`)")).unwrap_or_default();
            let message = format!("{name} needs {}{symbol}, {target} has {}.{}", need.name, has.0, has.1);
            return Err(refuse(message, "use a static build, an older version, or another --target"));
        }
        glibc = need.version;
    }
    let is_static = interpreter.is_none() && dynamic.needed.is_empty();
    Ok(ElfReport { machine: arch, interpreter, glibc, needed: dynamic.needed, is_static })
}

/// The interpreter's path is part of each architecture's ABI, so all distributions with glibc agree on it.
fn expect_standard(name: &str, path: &str, arch: Arch, target: Target) -> Result<()> {
    let standard = match arch {
        Arch::Amd64 => "/lib64/ld-linux-x86-64.so.2",
        Arch::Arm64 => "/lib/ld-linux-aarch64.so.1",
    };
    if path == standard {
        return Ok(());
    }
    if path.contains("/ld-musl-") {
        return Err(refuse(
            format!("{name} is built for musl (interpreter `{path}`), {target} has glibc"),
            "use a static build, or one for glibc",
        ));
    }
    Err(refuse(
        format!("{name} needs the interpreter `{path}`, {target} has `{standard}`"),
        "use a static build, or one for the distribution's own loader",
    ))
}

fn refuse(message: String, hint: &str) -> anyhow::Error {
    anyhow!(Failure::new(Class::Verification, message).hint(hint))
}

fn damaged(name: &str, what: &str) -> anyhow::Error {
    refuse(
        format!("{name} is a damaged ELF file: its {what} cannot be read"),
        "check the URL and whose digest is pinned",
    )
}
