//! The machine-id: an image carries an empty file, which systemd fills at the first boot (machine-id(5)).

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Clearing, Trace, seen};
use crate::finding::Shell;
use crate::image_root::{Found, ImageRoot};

const PATH: &str = "etc/machine-id";
const OF_DBUS: &str = "var/lib/dbus/machine-id";
const WHY: &str = "every clone would be the same machine: one DHCP lease, one node, one journal for all";

/// Longer than an id; a file with more is none, and not empty either.
const LONGEST: u64 = 1 << 16;

pub(super) fn look(root: &ImageRoot, shell: &Shell) -> Result<Vec<Trace>> {
    let mut traces = Vec::new();
    let empty = Clearing::Replace(Vec::new());
    if names_a_machine(root, PATH)? {
        const EMPTY: &str = "truncate -s 0";
        let straight = root.is_straight(PATH);
        let cure = if straight { shell.with_paths(EMPTY, &[PATH]) } else { shell.with_paths_inside(EMPTY, &[PATH]) };
        let by_hand = Clearing::ByHand("it is a link; empty what it leads to");
        let is_link = seen(root, Path::new(PATH), root.found_itself(PATH))? == Some(Found::Link);
        let trace = Trace::new("machine-id", WHY, vec![PathBuf::from(PATH)], shell);
        traces.push(trace.cleared_by(if is_link { by_hand } else { empty }, cure));
    }
    // A link leads to the file above and is what Debian has; a copy would outlive that.
    let copied = matches!(seen(root, Path::new(OF_DBUS), root.found_itself(OF_DBUS))?, Some(Found::File { .. }));
    if copied && names_a_machine(root, OF_DBUS)? {
        let cure = shell.with_paths("rm -f", &[OF_DBUS]);
        let trace = Trace::new("machine-id-of-dbus", WHY, vec![PathBuf::from(OF_DBUS)], shell);
        traces.push(trace.cleared_by(Clearing::Remove, cure));
    }
    Ok(traces)
}

/// Empty and `uninitialized` name none.
fn names_a_machine(root: &ImageRoot, path: &str) -> Result<bool> {
    match seen(root, Path::new(path), root.found(path))? {
        Some(Found::File { size, .. }) if size <= LONGEST => {
            let bytes = seen(root, Path::new(path), root.read(path, LONGEST))?.unwrap_or_default();
            let id = bytes.trim_ascii();
            Ok(!id.is_empty() && id != b"uninitialized")
        }
        Some(Found::File { .. }) => Ok(true),
        _ => Ok(false),
    }
}
