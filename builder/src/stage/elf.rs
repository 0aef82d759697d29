//! The ELF gate: lets a program pass if the target's kernel and C library can load it.
//!
//! What decides is what the loader reads: program headers and the dynamic segment. Section headers, which a file may
//! lack, only serve to name a symbol.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use anyhow::{Result, anyhow};
use object::LittleEndian as LE;
use object::elf as abi;
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use object::read::{ReadCache, ReadCacheOps, ReadRef};

use super::tar::show;
use crate::artifact::Arch;
use crate::failure::{Class, Failure};
use crate::target::Target;

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
pub(super) fn is_elf(head: &[u8]) -> bool {
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
    let standard = match arch {
        Arch::Amd64 => "/lib64/ld-linux-x86-64.so.2",
        Arch::Arm64 => "/lib/ld-linux-aarch64.so.1",
    };
    match interpreter.as_deref() {
        None => {}
        Some(path) if path == standard => {}
        Some(path) if path.contains("/ld-musl-") => {
            return Err(refuse(
                format!("{name} is built for musl (interpreter `{path}`), {target} has glibc"),
                "use a static build, or one for glibc",
            ));
        }
        Some(path) => {
            return Err(refuse(
                format!("{name} needs the interpreter `{path}`, {target} has `{standard}`"),
                "use a static build, or one for the distribution's own loader",
            ));
        }
    }
    let dynamic = elf.dynamic()?;
    if role == Role::Program && interpreter.is_none() && !dynamic.needed.is_empty() {
        return Err(refuse(
            format!("{name} is a shared library, not a program"),
            "a library takes a mode such as \"0644\" or a name that ends in `.so`",
        ));
    }
    let newest = elf.newest_glibc(&dynamic)?;
    let glibc = match newest {
        None => None,
        Some(need) => {
            let has = target.glibc();
            if need.version.is_none_or(|version| version > has) {
                let symbol = elf.symbol_with(need.index).map(|symbol| format!(" (symbol `{symbol}`)"));
                let symbol = symbol.unwrap_or_default();
                let message = format!("{name} needs {}{symbol}, {target} has {}.{}", need.name, has.0, has.1);
                return Err(refuse(message, "use a static build, an older version, or another --target"));
            }
            need.version
        }
    };
    let is_static = interpreter.is_none() && dynamic.needed.is_empty();
    Ok(ElfReport { machine: arch, interpreter, glibc, needed: dynamic.needed, is_static })
}

/// An ELF file whose headers are those of a program or library for Linux on the wanted architecture.
struct Elf<'a, D> {
    name: &'a str,
    data: D,
    header: &'a abi::FileHeader64<LE>,
    segments: &'a [abi::ProgramHeader64<LE>],
}

/// What the dynamic segment says.
#[derive(Default)]
struct DynamicSegment {
    needed: Vec<String>,
    /// Where the strings are in the file.
    strings: Range<u64>,
    /// Where the version needs are in the file, and how many libraries they list.
    versions: Option<(u64, u64)>,
}

/// A version of glibc that must be there.
struct GlibcNeed {
    name: String,
    /// `None` for one that no release promises.
    version: Option<(u32, u32)>,
    /// How the symbol table refers to it.
    index: abi::VersionIndex,
}

impl<'a, D: ReadRef<'a>> Elf<'a, D> {
    fn parse(name: &'a str, data: D, arch: Arch) -> Result<Self> {
        const CHECK: &str = "check the URL and whose digest is pinned";
        let wrong = |what: String| Err(refuse(format!("{name} {what}"), CHECK));
        let length = data.len().map_err(|()| damaged(name, "length"))?;
        // Read unparsed first, to tell what is foreign from what is broken.
        let header: &abi::FileHeader64<LE> = data.read_at(0).map_err(|()| damaged(name, "header"))?;
        let ident = &header.e_ident;
        if ident.magic != abi::ELFMAG {
            return wrong("is no ELF file".to_owned());
        }
        if ident.class != abi::ELFCLASS64 || ident.data != abi::ELFDATA2LSB {
            return wrong(format!("is not a 64-bit little-endian program, as {arch} needs"));
        }
        if !matches!(ident.os_abi, abi::ELFOSABI_SYSV | abi::ELFOSABI_GNU) {
            return wrong("is not built for Linux".to_owned());
        }
        let header = abi::FileHeader64::<LE>::parse(data).map_err(|_broken| damaged(name, "header"))?;
        let machine = match header.e_machine(LE) {
            abi::EM_X86_64 => "amd64".to_owned(),
            abi::EM_AARCH64 => "arm64".to_owned(),
            abi::EM_RISCV => "riscv64".to_owned(),
            other => format!("machine {}", other.0),
        };
        if machine != arch.to_string() {
            return wrong(format!("is built for {machine}, the bundle is for {arch}"));
        }
        if !matches!(header.e_type(LE), abi::ET_EXEC | abi::ET_DYN) {
            return wrong("is an object file or a core dump, not a program".to_owned());
        }
        let segments = header.program_headers(LE, data).map_err(|_broken| damaged(name, "program headers"))?;
        let sections = header.section_headers(LE, data).map(size_of_val).map_err(|_broken| damaged(name, "end"))?;
        let end_of_sections = header.e_shoff(LE).checked_add(sections as u64);
        let ends = segments.iter().filter(|segment| segment.p_type(LE) == abi::PT_LOAD).map(|segment| {
            let (offset, size) = segment.file_range(LE);
            offset.checked_add(size)
        });
        if ends.chain([end_of_sections]).any(|end| end.is_none_or(|end| end > length)) {
            return wrong("is truncated".to_owned());
        }
        if !segments.iter().any(|segment| segment.p_type(LE) == abi::PT_LOAD) {
            return wrong("has nothing to load".to_owned());
        }
        Ok(Self { name, data, header, segments })
    }

    fn interpreter(&self) -> Result<Option<String>> {
        for segment in self.segments {
            let path = segment.interpreter(LE, self.data).map_err(|_broken| self.damaged("interpreter"))?;
            if let Some(path) = path {
                return Ok(Some(show(path)));
            }
        }
        Ok(None)
    }

    fn dynamic(&self) -> Result<DynamicSegment> {
        let broken = || self.damaged("dynamic segment");
        let mut dynamic = DynamicSegment::default();
        let Some(segment) = self.segments.iter().find(|segment| segment.p_type(LE) == abi::PT_DYNAMIC) else {
            return Ok(dynamic);
        };
        let entries = segment.dynamic(LE, self.data).map_err(|_broken| broken())?.unwrap_or_default();
        let entries = entries.iter().map(|entry| (entry.d_tag(LE), entry.d_val(LE)));
        let (mut needed, mut strings, mut size, mut versions, mut count) = (Vec::new(), None, 0, None, 0);
        for (tag, value) in entries.take_while(|(tag, _)| *tag != abi::DT_NULL) {
            match tag {
                abi::DT_NEEDED => needed.push(value),
                abi::DT_STRTAB => strings = Some(value),
                abi::DT_STRSZ => size = value,
                abi::DT_VERNEED => versions = Some(value),
                abi::DT_VERNEEDNUM => count = value,
                _ => {}
            }
        }
        if let Some(address) = strings {
            let start = self.offset_of(address).ok_or_else(broken)?;
            dynamic.strings = start..start.checked_add(size).ok_or_else(broken)?;
        }
        for at in needed {
            dynamic.needed.push(show(self.string(&dynamic, at)?));
        }
        if let Some(address) = versions {
            dynamic.versions = Some((self.offset_of(address).ok_or_else(broken)?, count));
        }
        Ok(dynamic)
    }

    /// The newest glibc that must be there; needs that the linker marked as weak do not keep a program from loading.
    fn newest_glibc(&self, dynamic: &DynamicSegment) -> Result<Option<GlibcNeed>> {
        let broken = |()| self.damaged("version needs");
        let after = |at: u64, step: u32| at.checked_add(step.into()).ok_or(());
        let mut newest: Option<GlibcNeed> = None;
        let Some((mut library_at, count)) = dynamic.versions else { return Ok(None) };
        for _ in 0..count {
            let library: &abi::Verneed<LE> = self.data.read_at(library_at).map_err(broken)?;
            let mut need_at = after(library_at, library.vn_aux.get(LE)).map_err(broken)?;
            for _ in 0..library.vn_cnt.get(LE) {
                let need: &abi::Vernaux<LE> = self.data.read_at(need_at).map_err(broken)?;
                let name = self.string(dynamic, need.vna_name.get(LE).into())?;
                let is_weak = need.vna_flags.get(LE).contains(abi::VER_FLG_WEAK);
                if name.starts_with(b"GLIBC_") && !is_weak {
                    let version = glibc_version(name);
                    let rank = |version: Option<(u32, u32)>| (version.is_none(), version);
                    if newest.as_ref().is_none_or(|newest| rank(version) > rank(newest.version)) {
                        newest = Some(GlibcNeed { name: show(name), version, index: need.vna_other(LE).index() });
                    }
                }
                match need.vna_next.get(LE) {
                    0 => break,
                    step => need_at = after(need_at, step).map_err(broken)?,
                }
            }
            match library.vn_next.get(LE) {
                0 => break,
                step => library_at = after(library_at, step).map_err(broken)?,
            }
        }
        Ok(newest)
    }

    /// One symbol that needs the version `index`; nothing if the file's section headers are of no help.
    fn symbol_with(&self, index: abi::VersionIndex) -> Option<String> {
        let sections = self.header.sections(LE, self.data).ok()?;
        let symbols = sections.symbols(LE, self.data, abi::SHT_DYNSYM).ok()?;
        let (versions, _) = sections.gnu_versym(LE, self.data).ok()??;
        let mut named = symbols.enumerate().filter_map(|(at, symbol)| {
            let version = versions.get(at.0)?.0.get(LE).index();
            (version == index).then(|| symbols.symbol_name(LE, symbol).ok()).flatten()
        });
        named.next().map(show)
    }

    fn string(&self, dynamic: &DynamicSegment, at: u64) -> Result<&'a [u8]> {
        let Range { start, end } = dynamic.strings;
        let start = start.checked_add(at).filter(|start| *start < end);
        start
            .and_then(|start| self.data.read_bytes_at_until(start..end, 0).ok())
            .ok_or_else(|| self.damaged("dynamic strings"))
    }

    /// Where in the file the byte is that is loaded at `address`.
    fn offset_of(&self, address: u64) -> Option<u64> {
        self.segments.iter().filter(|segment| segment.p_type(LE) == abi::PT_LOAD).find_map(|segment| {
            let within = address.checked_sub(segment.p_vaddr(LE))?;
            (within < segment.p_filesz(LE)).then(|| segment.p_offset(LE).checked_add(within))?
        })
    }

    fn damaged(&self, what: &str) -> anyhow::Error {
        damaged(self.name, what)
    }
}

/// `GLIBC_2.34` and `GLIBC_2.2.5` as major and minor; `GLIBC_PRIVATE` and ABI marks of unknown age as nothing.
fn glibc_version(name: &[u8]) -> Option<(u32, u32)> {
    let version = std::str::from_utf8(name).ok()?.strip_prefix("GLIBC_")?;
    if version == "ABI_DT_RELR" {
        // Relative relocations packed by `-z pack-relative-relocs`: glibc 2.36, NEWS.
        return Some((2, 36));
    }
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
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

/// Lends out at most a budget of bytes, because the cache keeps all it ever read and tables can claim any size.
struct Frugal<'a, R: ReadCacheOps> {
    cache: &'a ReadCache<R>,
    budget: &'a Cell<u64>,
}

impl<R: ReadCacheOps> Clone for Frugal<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: ReadCacheOps> Copy for Frugal<'_, R> {}

impl<R: ReadCacheOps> Frugal<'_, R> {
    /// What the cache spends on an entry beside its bytes is counted too, or a million small reads would pass for few.
    fn spend(self, size: u64) -> Result<(), ()> {
        self.budget.set(self.budget.get().checked_sub(size.max(256)).ok_or(())?);
        Ok(())
    }
}

impl<'a, R: ReadCacheOps> ReadRef<'a> for Frugal<'a, R> {
    fn len(self) -> Result<u64, ()> {
        self.cache.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        self.spend(size)?;
        self.cache.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        let found = self.cache.read_bytes_at_until(range, delimiter)?;
        self.spend(found.len() as u64)?;
        Ok(found)
    }
}

/// Reads a file by offset, so that its cursor, which others may share, stays where it is.
#[derive(Debug)]
pub(super) struct FileAt<'a> {
    file: &'a File,
    at: u64,
}

impl<'a> FileAt<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for FileAt<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for FileAt<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, offset) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(offset) => (self.at, offset),
            SeekFrom::End(offset) => (self.file.metadata()?.len(), offset),
        };
        self.at = base.checked_add_signed(offset).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
