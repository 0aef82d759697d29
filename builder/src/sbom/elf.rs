//! Reads single sections and addresses of an ELF file, never more of it than a budget allows.

use std::cell::Cell;
use std::fs::File;

use object::LittleEndian as LE;
use object::elf as abi;
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::read::{ReadCache, ReadRef as _};

use crate::stage::elf::{FileAt, Frugal};

/// The largest file of upstream's has 2 MB of what is read here.
const BUDGET: u64 = 64 << 20;

/// Opens `file` and lets `read` look into it; nothing if it is no 64-bit ELF file of a little-endian machine.
pub(super) fn look<T>(file: &File, read: impl FnOnce(&Elf<'_>) -> Option<T>) -> Option<T> {
    let cache = ReadCache::new(FileAt::new(file));
    let budget = Cell::new(BUDGET);
    let data = Frugal { cache: &cache, budget: &budget };
    let header = abi::FileHeader64::<LE>::parse(data).ok()?;
    let segments = header.program_headers(LE, data).ok()?;
    read(&Elf { data, header, segments })
}

/// An ELF file.
pub(super) struct Elf<'a> {
    data: Frugal<'a, FileAt<'a>>,
    header: &'a abi::FileHeader64<LE>,
    segments: &'a [abi::ProgramHeader64<LE>],
}

impl Elf<'_> {
    /// Address and content of the section called `name`.
    pub(super) fn section(&self, name: &[u8]) -> Option<(u64, &[u8])> {
        let sections = self.header.sections(LE, self.data).ok()?;
        let (_, section) = sections.section_by_name(LE, name)?;
        Some((section.sh_addr(LE), section.data(LE, self.data).ok()?))
    }

    /// Address and content of the first segment that can be written but not executed.
    pub(super) fn writable_segment(&self) -> Option<(u64, &[u8])> {
        let is_data = |segment: &&abi::ProgramHeader64<LE>| {
            let flags = segment.p_flags(LE).0;
            segment.p_type(LE) == abi::PT_LOAD && flags & (abi::PF_X.0 | abi::PF_W.0) == abi::PF_W.0
        };
        let segment = self.segments.iter().find(is_data)?;
        Some((segment.p_vaddr(LE), segment.data(LE, self.data).ok()?))
    }

    /// The bytes that are loaded at `address`.
    pub(super) fn at(&self, address: u64, length: u64) -> Option<&[u8]> {
        self.segments.iter().filter(|segment| segment.p_type(LE) == abi::PT_LOAD).find_map(|segment| {
            let within = address.checked_sub(segment.p_vaddr(LE))?;
            let is_inside = within.checked_add(length)? <= segment.p_filesz(LE);
            let offset = segment.p_offset(LE).checked_add(within)?;
            is_inside.then(|| self.data.read_bytes_at(offset, length).ok())?
        })
    }
}
