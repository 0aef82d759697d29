//! Archives and packages: what is taken out of them, and what must not be.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be set up has failed")]

#[path = "../debian/mod.rs"]
mod debian;
mod forge;
mod honest;
mod hostile;
mod packages;
mod properties;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use anyhow::Result;
use flexnode_build::artifact::{Arch, Artifact, Install, Kind, Ownership, Proof};
use flexnode_build::digest::Digest;
use flexnode_build::failure::{Class, Failure};
use flexnode_build::overlay::{Content, Mode, Overlay};
use flexnode_build::stage::archive::{Extracted, Limits, extract};
use flexnode_build::stage::stage;
use flexnode_build::target::Target;

const TOOL: &[u8] = b"#!/bin/sh\n";

/// A name, the archive, and what the message must say beside the artifact's name.
type Case = (&'static str, Vec<u8>, &'static str);

fn assert_refused(kind: Kind, cases: &[Case]) {
    let artifact = artifact(kind);
    for (name, bytes, reason) in cases {
        let error = match stage_bytes(&artifact, bytes) {
            Ok(_) => panic!("{name} ({kind:?}) was taken"),
            Err(error) => error,
        };
        let message = format!("{error:#}");
        assert!(message.starts_with("unpack tool 1.2.3: "), "{name} ({kind:?}): {message}");
        assert!(message.contains(reason), "{name} ({kind:?}): {message}");
        let (class, hint) = Failure::describe(&error);
        assert_eq!(class, Class::Verification, "{name} ({kind:?})");
        assert!(hint.is_some(), "{name} ({kind:?})");
    }
}

/// One install: the member `bin/tool`, to a place where scripts may be.
fn artifact(kind: Kind) -> Artifact {
    Artifact {
        name: "tool".to_owned(),
        version: "1.2.3".to_owned(),
        url: "https://example.org/tool".to_owned(),
        size: None,
        sha256: Digest::of(b"archives are verified by the cache"),
        license: "MIT".to_owned(),
        proof: Proof::Pinned { by: vec![] },
        purl: None,
        stand_in: false,
        kind,
        ownership: Ownership::Root,
        install: vec![Install {
            member: Some("bin/tool".to_owned()),
            path: "opt/tool".parse().unwrap(),
            mode: Mode::EXECUTABLE,
        }],
    }
}

fn stage_bytes(artifact: &Artifact, bytes: &[u8]) -> Result<Overlay> {
    let mut blob = tempfile::tempfile()?;
    blob.write_all(bytes)?;
    let blob: Arc<File> = Arc::new(blob);
    let scratch = tempfile::tempdir()?;
    let mut overlay = Overlay::default();
    let result = stage(artifact, &blob, Arch::Amd64, Target::Ubuntu2204, scratch.path(), &mut overlay);
    assert_eq!(fs::read_dir(scratch.path())?.count(), 0, "nothing has a name in the scratch directory");
    result.map(|_| overlay)
}

fn take(kind: Kind, bytes: &[u8], limits: &Limits) -> Result<Extracted> {
    extract_into_empty(&artifact(kind), bytes, limits).map(|mut files| files.remove(0))
}

fn extract_into_empty(artifact: &Artifact, bytes: &[u8], limits: &Limits) -> Result<Vec<Extracted>> {
    let scratch = tempfile::tempdir()?;
    let result = extract(artifact, bytes, scratch.path(), limits);
    assert_eq!(fs::read_dir(scratch.path())?.count(), 0, "nothing has a name in the scratch directory");
    result
}

fn content(file: &Extracted) -> Vec<u8> {
    let mut content = Vec::new();
    Content::File(Arc::clone(&file.file)).reader().read_to_end(&mut content).unwrap();
    content
}

fn spoiled(mut bytes: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    bytes[at] = byte;
    bytes
}
