//! The secrets of one join, and every form in which they would be found.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// What to look for: the operator's secret, tokens, and the keys of HIMDS's challenges.
pub(crate) struct Canaries(Vec<(&'static str, Vec<u8>)>);

impl Canaries {
    /// `core` is the part of the operator's secret that needs no escaping in any format.
    pub(crate) fn new(core: &str, tokens: &[String], keys: &[String]) -> Self {
        let mut all = vec![
            ("the secret", core.as_bytes().to_vec()),
            ("the secret in hex", core.bytes().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()),
        ];
        for offset in 0..3 {
            // Wherever it stands in what is encoded, one of the three forms without their ragged ends is there.
            let encoded = STANDARD_NO_PAD.encode([&vec![0; offset], core.as_bytes()].concat());
            all.push(("the secret in Base64", encoded.as_bytes()[4..encoded.len() - 4].to_vec()));
        }
        all.extend(tokens.iter().map(|token| ("a token", token.clone().into_bytes())));
        // All tokens begin alike: so much of one is found even if the rest was cut off.
        all.extend(tokens.first().map(|token| ("the beginning of a token", token.as_bytes()[..24].to_vec())));
        all.extend(keys.iter().map(|key| ("a key of HIMDS", key.clone().into_bytes())));
        Self(all)
    }

    /// The first one that is in these bytes.
    pub(crate) fn found_in(&self, bytes: &[u8]) -> Option<&'static str> {
        let is_in = |needle: &[u8]| count(bytes, needle) > 0;
        self.0.iter().find(|(_, needle)| is_in(needle)).map(|(what, _)| *what)
    }

    /// The files below a folder that hold one, or are called like one.
    pub(crate) fn files_below(&self, folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                found.extend(self.files_below(&path));
            } else if metadata.is_file() && self.found_in(&fs::read(&path).unwrap()).is_some() {
                found.push(path.clone());
            }
            assert_eq!(self.found_in(path.as_os_str().as_bytes()), None, "{}", path.display());
        }
        found
    }
}

/// How often one is part of the other. Programs and memory are large, so the first byte is looked for first.
pub(crate) fn count(bytes: &[u8], needle: &[u8]) -> usize {
    let (mut rest, mut found) = (bytes, 0);
    while let Some(at) = rest.iter().position(|byte| *byte == needle[0]) {
        found += usize::from(rest[at..].starts_with(needle));
        rest = &rest[at + 1..];
    }
    found
}

#[test]
fn a_canary_is_found_in_every_form() {
    let core = "Canary0123456789abcdef";
    let canaries =
        Canaries::new(core, &["eyJ0eXAiOiJKV1QiLCJhbGciOi.payload.signature".to_owned()], &["k3y".to_owned()]);
    for before in ["", "a", "ab", "abc"] {
        let encoded = STANDARD_NO_PAD.encode(format!("{before}{core}~.-_"));
        assert_eq!(canaries.found_in(encoded.as_bytes()), Some("the secret in Base64"), "{before}");
    }
    assert_eq!(canaries.found_in(format!("x{core}y").as_bytes()), Some("the secret"));
    assert_eq!(canaries.found_in(b"eyJ0eXAiOiJKV1QiLCJhbGciOi..."), Some("the beginning of a token"));
    assert_eq!(canaries.found_in(b"a k3y"), Some("a key of HIMDS"));
    assert_eq!(canaries.found_in(b"Canary, eyJ0"), None);
}
