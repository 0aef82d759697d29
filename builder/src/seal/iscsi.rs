//! The iSCSI initiator's name, which must be another on each machine.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Clearing, Trace, seen};
use crate::finding::Shell;
use crate::image_root::{Found, ImageRoot};

const PATH: &str = "etc/iscsi/initiatorname.iscsi";

/// What open-iscsi's package installs: its start script makes a name out of it.
const UNNAMED: &[u8] = b"GenerateName=yes\n";

const LARGEST: u64 = 1 << 16;

pub(super) fn look(root: &ImageRoot, shell: &Shell) -> Result<Option<Trace>> {
    let path = Path::new(PATH);
    let Some(Found::File { size: ..=LARGEST, .. }) = seen(root, path, root.found(path))? else { return Ok(None) };
    let text = seen(root, path, root.read(path, LARGEST))?.unwrap_or_default();
    if !text.split(|byte| *byte == b'\n').any(|line| line.trim_ascii().starts_with(b"InitiatorName=")) {
        return Ok(None);
    }
    let why = "two machines with one initiator name destroy each other's volumes";
    let cure = if root.is_straight(path) {
        format!("echo GenerateName=yes > {}", shell.path(path))
    } else {
        shell.run(&format!("sh -c 'echo GenerateName=yes > /{PATH}'"))
    };
    let trace = Trace::new("iscsi-initiator", why, vec![PathBuf::from(PATH)], shell);
    Ok(Some(trace.cleared_by(Clearing::Replace(UNNAMED.to_vec()), cure)))
}
