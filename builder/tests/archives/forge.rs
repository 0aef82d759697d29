//! Forges archives byte by byte, the ones that no honest tool writes included.

use std::io::Write as _;

/// A ustar header's fields, and where they are.
const MODE: usize = 100;
const UID: usize = 108;
const GID: usize = 116;
pub(crate) const SIZE: usize = 124;
const KIND: usize = 156;
const LINK: usize = 157;
pub(crate) const MAGIC: usize = 257;
const PREFIX: usize = 345;

/// A tar archive in the making.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    /// With the member everybody wants, `bin/tool`.
    pub(crate) fn with_tool() -> Self {
        Self::default().directory("bin/").file("bin/tool", b"#!/bin/sh\n")
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.member(name.as_bytes(), b'0', content, |_| ())
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.member(name.as_bytes(), b'5', b"", |header| header.octal(MODE, 0o755))
    }

    pub(crate) fn link(self, kind: u8, name: &str, target: &str) -> Self {
        self.member(name.as_bytes(), kind, b"", |header| header.text(LINK, target.as_bytes()))
    }

    /// A header that describes the next member: pax `x` and `g`, GNU `L` and `K`.
    pub(crate) fn extension(self, kind: u8, content: &[u8]) -> Self {
        self.member(b"././@Extension", kind, content, |_| ())
    }

    /// A member whose header `forge` may spoil before the checksum is made.
    pub(crate) fn member(mut self, name: &[u8], kind: u8, content: &[u8], forge: impl FnOnce(&mut Header)) -> Self {
        let mut header = Header([0; 512]);
        header.text(0, name);
        header.octal(MODE, 0o644);
        header.octal(UID, 0);
        header.octal(GID, 0);
        header.size(content.len() as u64);
        header.0[KIND] = kind;
        header.text(MAGIC, b"ustar\x0000");
        forge(&mut header);
        header.0[148..156].fill(b' ');
        let sum: u32 = header.0.iter().map(|b| u32::from(*b)).sum();
        header.0[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(header.0);
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// With the two blocks of zeros that end an archive.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

pub(crate) struct Header(pub(crate) [u8; 512]);

impl Header {
    pub(crate) fn text(&mut self, at: usize, text: &[u8]) {
        self.0[at..at + text.len()].copy_from_slice(text);
    }

    pub(crate) fn size(&mut self, size: u64) {
        self.text(SIZE, format!("{size:011o}\0").as_bytes());
    }

    pub(crate) fn mode(&mut self, mode: u32) {
        self.octal(MODE, mode);
    }

    pub(crate) fn owner(&mut self, uid: u32, gid: u32) {
        self.octal(UID, uid);
        self.octal(GID, gid);
    }

    pub(crate) fn prefix(&mut self, prefix: &[u8]) {
        self.text(PREFIX, prefix);
    }

    fn octal(&mut self, at: usize, number: u32) {
        self.text(at, format!("{number:07o}\0").as_bytes());
    }
}

/// One pax record: `<length> <key>=<value>\n`, where the length counts its own digits.
pub(crate) fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length += 1;
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// An ar archive of these members.
pub(crate) fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let size = content.len();
        bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100_644).as_bytes());
        bytes.extend(*content);
        bytes.extend(&b"\n"[..size % 2]);
    }
    bytes
}

/// A Debian package with this data archive.
pub(crate) fn deb(data_name: &str, data: &[u8]) -> Vec<u8> {
    ar(&[("debian-binary", b"2.0\n"), ("control.tar.xz", b"not looked at"), (data_name, data)])
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(0);
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}
