//! Reads what the loader reads of an ELF file: program headers and the dynamic segment.
//!
//! Section headers, which a file may lack, only serve to name a symbol.

use std::ops::Range;

use anyhow::Result;
use object::LittleEndian as LE;
use object::elf as abi;
use object::read::ReadRef;
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};

use super::{damaged, refuse};
use crate::artifact::Arch;
use crate::stage::tar::show;

/// An ELF file whose headers are those of a program or library for Linux on the wanted architecture.
pub(super) struct Elf<'a, D> {
    name: &'a str,
    data: D,
    header: &'a abi::FileHeader64<LE>,
    segments: &'a [abi::ProgramHeader64<LE>],
}

/// What the dynamic segment says.
#[derive(Default)]
pub(super) struct DynamicSegment {
    pub(super) needed: Vec<String>,
    /// Where the strings are in the file.
    strings: Range<u64>,
    /// Where the version needs are in the file, and how many libraries they list.
    versions: Option<(u64, u64)>,
}

/// A version of glibc that must be there.
pub(super) struct GlibcNeed {
    pub(super) name: String,
    /// `None` for one that no release promises.
    pub(super) version: Option<(u32, u32)>,
    /// How the symbol table refers to it.
    pub(super) index: abi::VersionIndex,
}

impl<'a, D: ReadRef<'a>> Elf<'a, D> {
    pub(super) fn parse(name: &'a str, data: D, arch: Arch) -> Result<Self> {
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

    pub(super) fn interpreter(&self) -> Result<Option<String>> {
        for segment in self.segments {
            let path = segment.interpreter(LE, self.data).map_err(|_broken| self.damaged("interpreter"))?;
            if let Some(path) = path {
                return Ok(Some(show(path)));
            }
        }
        Ok(None)
    }

    pub(super) fn dynamic(&self) -> Result<DynamicSegment> {
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
    pub(super) fn newest_glibc(&self, dynamic: &DynamicSegment) -> Result<Option<GlibcNeed>> {
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
    pub(super) fn symbol_with(&self, index: abi::VersionIndex) -> Option<String> {
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
