//! The archive reader. The first byte chooses the wrapping, so that the fuzzer also gets behind checksums.

use std::io::{Read as _, Write as _};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use flexnode_build::artifact::{Artifact, Install, Kind, Ownership, Proof};
use flexnode_build::digest::Digest;
use flexnode_build::overlay::{Content, Mode};
use flexnode_build::stage::archive::{self, Limits};

const LIMITS: Limits = Limits { member: 1 << 20, total: 4 << 20, entries: 1000 };

/// Whatever is taken out has the digest and the size that are reported for it, and is within the limits.
pub(crate) fn extract(bytes: &[u8]) {
    let Some((selector, bytes)) = bytes.split_first() else { return };
    let (kind, blob) = match selector % 8 {
        0 => (Kind::Tar, bytes.to_vec()),
        1 => (Kind::Tar, with_checksums(bytes)),
        2 => (Kind::TarGz, bytes.to_vec()),
        3 => (Kind::TarGz, gzip(&with_checksums(bytes))),
        4 => (Kind::Deb, bytes.to_vec()),
        5 => (Kind::Deb, package("data.tar", &with_checksums(bytes))),
        6 => (Kind::Deb, package("data.tar.xz", bytes)),
        _ => (Kind::Deb, package("data.tar.zst", bytes)),
    };
    let artifact = artifact(kind, if selector & 8 == 0 { Ownership::Root } else { Ownership::Any });
    // Nameless files in memory where there is such a place: a disk would set the pace.
    let scratch = Path::new("/dev/shm");
    let scratch = if scratch.is_dir() { scratch.to_owned() } else { std::env::temp_dir() };
    if let Ok(files) = archive::extract(&artifact, blob.as_slice(), &scratch, &LIMITS) {
        assert_eq!(files.len(), artifact.install.len());
        for file in files {
            let mut content = Vec::new();
            Content::File(file.file).reader().read_to_end(&mut content).expect("read the scratch file");
            assert_eq!((Digest::of(&content), content.len() as u64), (file.sha256, file.size));
            assert!(file.size <= LIMITS.member);
        }
    }
}

fn artifact(kind: Kind, ownership: Ownership) -> Artifact {
    let path = "usr/local/bin/a".parse().expect("a path");
    Artifact {
        name: "it".to_owned(),
        version: "1.0.0".to_owned(),
        url: "https://example.org/it".to_owned(),
        size: None,
        sha256: Digest::of(b""),
        license: "MIT".to_owned(),
        proof: Proof::Pinned { by: Vec::new() },
        purl: None,
        stand_in: false,
        kind,
        ownership,
        install: vec![Install { member: Some("bin/a".to_owned()), path, mode: Mode::EXECUTABLE }],
    }
}

/// Makes right the checksum of every block that is a header if sizes are read as plain octal.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut tar = bytes.to_vec();
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + 512) {
        at += 512;
        if header.iter().any(|b| *b != 0) {
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
            header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            let digits = header[124..136].iter().take_while(|b| (b'0'..=b'7').contains(*b));
            let size = digits.fold(0, |size: usize, digit| size << 3 | usize::from(digit - b'0'));
            at = at.saturating_add(size.min(1 << 40).next_multiple_of(512));
        }
    }
    tar
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("compress into memory");
    encoder.finish().expect("compress into memory")
}

fn package(data_name: &str, data: &[u8]) -> Vec<u8> {
    let mut deb = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", b"2.0\n".as_slice()), ("control.tar", b""), (data_name, data)] {
        deb.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).as_bytes());
        deb.extend(content);
        deb.extend(&b"\n"[..content.len() % 2]);
    }
    deb
}
