//! Paths in a root by pattern: `*` stands for any part of one name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use anyhow::Result;

use super::seen;
use crate::image_root::ImageRoot;

/// What matches, sorted; a pattern without `*` is returned whether it is there or not. Links are followed within the
/// root: a home that is elsewhere is a home too.
pub(super) fn matches(root: &ImageRoot, pattern: &str) -> Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.split('/') {
        if !part.contains('*') {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut next = Vec::new();
        for directory in found {
            let names = seen(root, &directory, root.names(&directory))?;
            next.extend(names.iter().filter(|name| fits(name, part)).map(|name| directory.join(name)));
        }
        found = next;
    }
    Ok(found)
}

fn fits(name: &OsStr, pattern: &str) -> bool {
    let name = name.as_bytes();
    let mut parts = pattern.split('*').map(str::as_bytes);
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = (0..=rest.len()).find(|at| rest[*at..].starts_with(part)) else { return false };
        rest = &rest[at + part.len()..];
    }
    // As shells have it: a leading dot is not meant by a star.
    rest.ends_with(last) && (pattern.starts_with('.') || !name.starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_part_of_a_name() {
        let holds = |name: &str, pattern| fits(OsStr::new(name), pattern);
        assert!(holds("ssh_host_rsa_key", "ssh_host_*_key") && holds("joined.ab", "joined.*") && holds("a", "*"));
        assert!(holds(".joined.a.partial", ".joined.*.partial"));
        assert!(!holds("ssh_host_rsa_key.pub", "ssh_host_*_key") && !holds(".hidden", "*"));
        assert!(!holds("ab", "a*bc*") && !holds("aa", "a*aa"), "parts may not overlap");
    }
}
