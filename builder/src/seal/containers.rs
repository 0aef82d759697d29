//! Containers that ran here. Images are wanted in an image; containers are records in containerd's database, which only
//! containerd can take out.

use anyhow::Result;

use super::{Clearing, Trace, glob};
use crate::finding::Shell;
use crate::image_root::ImageRoot;

pub(super) fn look(root: &ImageRoot, shell: &Shell) -> Result<Option<Trace>> {
    let mut paths = Vec::new();
    for pattern in [
        "var/lib/containerd/io.containerd.runtime.v2.task/*/*",
        "var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/*",
        "var/lib/containerd/io.containerd.grpc.v1.cri/containers/*",
    ] {
        paths.extend(glob::matches(root, pattern)?);
    }
    if paths.is_empty() {
        return Ok(None);
    }
    let why = "containers of another machine, which containerd would look for";
    let trace = Trace::new("containers", why, paths, shell);
    let by_hand = Clearing::ByHand("only a running containerd can remove containers and keep images");
    let cure = "on the machine, before it is imaged: `systemctl stop kubelet && crictl rmp --all --force`";
    Ok(Some(trace.cleared_by(by_hand, cure)))
}
