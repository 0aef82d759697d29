//! The build information that Go's linker leaves in a program: its version, and every module that was linked in.
//!
//! The layout is that of Go's own reader, debug/buildinfo: a magic number at an address divisible by 16, then (since
//! Go 1.18) two strings, each behind its length, or (before) two pointers to string headers.

use std::fs::File;

use super::elf::{Elf, look};

const MAGIC: &[u8] = b"\xff Go buildinf:";

/// What follows the magic number, up to the strings.
const HEADER: u64 = 32;

/// kubelet's has 20 KB.
const STRING_LIMIT: u64 = 4 << 20;

/// What a Go program is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GoBuild {
    /// `go1.22.2`, or what a vendor calls its own.
    pub version: String,
    /// Import path of the program's main package, if it tells.
    pub path: Option<String>,
    /// The module that the main package is in; none where it was built without modules, as Debian builds.
    pub main: Option<Module>,
    /// Every other module.
    pub dependencies: Vec<Module>,
    /// How it was built: `-buildvcs`, `vcs.revision`, `GOOS`, as key and value.
    pub settings: Vec<(String, String)>,
}

/// One module of a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Module {
    /// Its path.
    pub path: String,
    /// Its version: `(devel)` or nothing where it was built from a working copy.
    pub version: String,
    /// Its digest in go.sum's form.
    pub sum: Option<String>,
    /// The module or directory that was taken in its place.
    pub replacement: Option<Box<Module>>,
}

impl GoBuild {
    /// Reads it from `file`; nothing if that is no program of Go's.
    #[must_use]
    pub fn read(file: &File) -> Option<Self> {
        look(file, |elf| {
            let place = elf.section(b".go.buildinfo").or_else(|| elf.writable_segment())?;
            let (version, modules) = strings(elf, place)?;
            Self::parse(&version, &modules)
        })
    }

    /// Parses the two strings.
    pub(super) fn parse(version: &str, modules: &[u8]) -> Option<Self> {
        if version.is_empty() {
            return None;
        }
        let mut build = Self { version: version.to_owned(), ..Self::default() };
        // The table stands between two marks of 16 bytes.
        let framed = modules.len() >= 33 && modules[modules.len() - 17] == b'\n';
        let text = if framed { std::str::from_utf8(&modules[16..modules.len() - 16]).ok()? } else { "" };
        for line in text.lines() {
            let Some((key, rest)) = line.split_once('\t') else { continue };
            match key {
                "path" => build.path = Some(rest.to_owned()),
                "mod" => build.main = Some(module(rest)?),
                "dep" => build.dependencies.push(module(rest)?),
                "=>" => {
                    let replaced = build.dependencies.last_mut().or(build.main.as_mut())?;
                    replaced.replacement = Some(Box::new(module(rest)?));
                }
                "build" => {
                    let (key, value) = rest.split_once('=')?;
                    build.settings.push((key.to_owned(), value.to_owned()));
                }
                _ => {}
            }
        }
        Some(build)
    }

    /// Version of the standard library as advisories write it: `go1.22rc1 X:nocoverage` is `1.22.0-rc.1`.
    #[must_use]
    pub fn stdlib(&self) -> Option<String> {
        let version = self.version.split_whitespace().next()?.strip_prefix("go")?;
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
        let (numbers, rest) = version.split_at(end);
        let mut numbers: Vec<&str> = numbers.split('.').collect();
        numbers.resize(3, "0");
        let release = numbers.join(".");
        let before = ["rc", "beta"].iter().find_map(|stage| Some((stage, rest.strip_prefix(stage)?)));
        let version = before.map_or(release.clone(), |(stage, n)| format!("{release}-{stage}.{n}"));
        semver::Version::parse(&version).ok().map(|_| version)
    }
}

fn module(fields: &str) -> Option<Module> {
    let mut fields = fields.split('\t');
    let (path, version) = (fields.next().filter(|path| !path.is_empty())?, fields.next().unwrap_or_default());
    let sum = fields.next().filter(|sum| !sum.is_empty()).map(str::to_owned);
    Some(Module { path: path.to_owned(), version: version.to_owned(), sum, replacement: None })
}

/// The version and the table of modules.
fn strings(elf: &Elf<'_>, (address, data): (u64, &[u8])) -> Option<(String, Vec<u8>)> {
    let skip = usize::try_from(address.next_multiple_of(16) - address).ok()?;
    let at = (skip..data.len()).step_by(16).find(|at| data[*at..].starts_with(MAGIC))?;
    let start = address.checked_add(at as u64)?;
    let header = elf.at(start, HEADER)?;
    let (pointer_size, flags) = (header[14], header[15]);
    let (version, modules) = if flags & 2 != 0 {
        let (version, end) = inline(elf, start + HEADER)?;
        (version, inline(elf, end).map_or(Vec::new(), |(modules, _)| modules))
    } else {
        // Only 64-bit, little-endian programs come here.
        (pointer_size == 8 && flags & 1 == 0).then_some(())?;
        let header_of_string = |at: usize| Some(u64::from_le_bytes(header.get(at..at + 8)?.try_into().ok()?));
        let modules = pointed(elf, header_of_string(24)?).unwrap_or_default();
        (pointed(elf, header_of_string(16)?)?, modules)
    };
    Some((String::from_utf8(version).ok()?, modules))
}

/// A string behind its length as a varint, and the address after it.
fn inline(elf: &Elf<'_>, address: u64) -> Option<(Vec<u8>, u64)> {
    let (mut length, mut at) = (0_u64, address);
    for shift in (0..).step_by(7).take(9) {
        let byte = elf.at(at, 1)?[0];
        at += 1;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let text = (length <= STRING_LIMIT).then(|| elf.at(at, length))??;
            return Some((text.to_vec(), at + length));
        }
    }
    None
}

/// The string whose header, an address and a length, is at `address`.
fn pointed(elf: &Elf<'_>, address: u64) -> Option<Vec<u8>> {
    let header = elf.at(address, 16)?;
    let (start, length) = header.split_at(8);
    let [start, length] = [start, length].map(|bytes| bytes.try_into().map(u64::from_le_bytes));
    let (start, length) = (start.ok()?, length.ok().filter(|length| *length <= STRING_LIMIT)?);
    elf.at(start, length).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(table: &str) -> Vec<u8> {
        [&[b'<'; 16], table.as_bytes(), &[b'>'; 16]].concat()
    }

    #[test]
    fn modules_replacements_and_settings_are_read() {
        let table = "path\tk8s.io/kubernetes/cmd/kubectl\nmod\tk8s.io/kubernetes\t(devel)\t\n\
                     dep\tgithub.com/a/b\tv1.0.0\th1:sum=\ndep\tk8s.io/api\tv0.0.0\n=>\t./staging/src/k8s.io/api\t(devel)\t\n\
                     build\t-ldflags=-X a=b\n";
        let build = GoBuild::parse("go1.22.2", &framed(table)).unwrap();
        assert_eq!(build.path.as_deref(), Some("k8s.io/kubernetes/cmd/kubectl"));
        assert_eq!(build.main.unwrap().version, "(devel)");
        assert_eq!(build.dependencies[0].sum.as_deref(), Some("h1:sum="));
        assert_eq!(build.dependencies[1].replacement.as_ref().unwrap().path, "./staging/src/k8s.io/api");
        assert_eq!(build.settings, [("-ldflags".to_owned(), "-X a=b".to_owned())]);
        assert_eq!(GoBuild::parse("go1.19", b"").unwrap().dependencies, []);
        assert_eq!(GoBuild::parse("", &framed(table)), None);
        assert_eq!(GoBuild::parse("go1.19", &framed("=>\tx\n")), None);
    }

    #[test]
    fn the_standard_library_has_the_version_that_advisories_write() {
        let stdlib = |version: &str| GoBuild { version: version.to_owned(), ..GoBuild::default() }.stdlib();
        let cases = [
            ("go1.22.2", Some("1.22.2")),
            ("go1.20", Some("1.20.0")),
            ("go1.22rc1", Some("1.22.0-rc.1")),
            ("go1.21.0-2 X:boringcrypto", Some("1.21.0")),
            ("devel go1.23-abc", None),
            ("go", None),
        ];
        for (version, expected) in cases {
            assert_eq!(stdlib(version).as_deref(), expected, "{version}");
        }
    }
}
