//! The lab's bundle, as the builder of this build makes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::lab::{KUBERNETES, Lab};

/// Builds it in `dir` with the `flexnode-build` that lies in `programs`; what that has downloaded stays there.
///
/// # Errors
/// When the builder is missing or fails.
pub fn bundle(lab: &Lab, programs: &Path, dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir).with_context(|| format!("create `{}`", dir.display()))?;
    let path = dir.join("bundle.tar.zst");
    let output = Command::new(programs.join("flexnode-build"))
        .args(["--k8s", &format!("{}.{}", KUBERNETES.major, KUBERNETES.minor), "--offline", "--level", "1"])
        .arg("--manifests")
        .arg(lab.manifests())
        .arg("--mirror")
        .arg(lab.mirror())
        .arg("-o")
        .arg(&path)
        .env("FLEXNODE_CACHE_DIR", dir.join("cache"))
        .output()
        .context("run flexnode-build")?;
    ensure!(output.status.success(), "flexnode-build failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    Ok(path)
}
