//! Which C library a program needs, to take only programs that run on the bundle's target.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use object::elf::{EM_X86_64, FileHeader64};
use object::read::elf::{FileHeader as _, SectionHeader as _};
use object::{Endianness, FileKind};

/// The newest glibc symbol version that the x86-64 program at `path` needs; `None` for one that needs none.
///
/// # Errors
/// The file cannot be read or is no program for this architecture.
pub(super) fn glibc_needed(path: &Path) -> Result<Option<(u32, u32)>> {
    let context = || format!("read the ELF headers of `{}`", path.display());
    let bytes = std::fs::read(path).with_context(context)?;
    let data = bytes.as_slice();
    ensure!(FileKind::parse(data).is_ok_and(|kind| kind == FileKind::Elf64), "`{}` is no program", path.display());
    let header = FileHeader64::<Endianness>::parse(data).with_context(context)?;
    let endian = header.endian().with_context(context)?;
    ensure!(header.e_machine(endian) == EM_X86_64, "`{}` is no x86-64 program", path.display());
    let sections = header.sections(endian, data).with_context(context)?;
    let Some((mut needs, strings)) = sections.gnu_verneed(endian, data).with_context(context)? else { return Ok(None) };
    let strings = sections.section(strings).and_then(|s| s.strings(endian, data)).with_context(context)?;
    let strings = strings.context("find the names of symbol versions").with_context(context)?;
    let mut newest = None;
    while let Some((_, mut versions)) = needs.next().with_context(context)? {
        while let Some(version) = versions.next().with_context(context)? {
            let name = version.name(endian, strings).with_context(context)?;
            newest = newest.max(glibc_version(name));
        }
    }
    Ok(newest)
}

/// `GLIBC_2.34` and `GLIBC_2.2.5`; private and foreign names are none.
fn glibc_version(name: &[u8]) -> Option<(u32, u32)> {
    let mut numbers = std::str::from_utf8(name).ok()?.strip_prefix("GLIBC_")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(glibc_version(b"GLIBC_2.34") > glibc_version(b"GLIBC_2.4"));
        assert_eq!(glibc_version(b"GLIBC_2.2.5"), Some((2, 2)));
        assert_eq!(glibc_version(b"GLIBC_PRIVATE"), None);
        assert_eq!(glibc_version(b"GCC_3.0"), None);
    }

    #[test]
    fn this_test_program_needs_some_glibc() {
        let needed = glibc_needed(&std::env::current_exe().unwrap()).unwrap();
        assert!(needed >= Some((2, 2)), "{needed:?}");
    }
}
