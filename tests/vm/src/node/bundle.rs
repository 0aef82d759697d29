//! Bundles of the lab, as the builder of this build makes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::lab::{KUBERNETES, Lab};

/// Builds the lab's own in `dir`, with an image to run pods of, by the `flexnode-build` that lies in `programs`.
///
/// # Errors
/// As for [`bundle_of`].
pub fn bundle(lab: &Lab, programs: &Path, dir: &Path) -> Result<PathBuf> {
    let minor = format!("{}.{}", KUBERNETES.major, KUBERNETES.minor);
    let arguments = ["--k8s", &minor, "--image", &lab.images().busybox];
    Ok(bundle_of(lab, &lab.manifests(), programs, &dir.join("bundle.tar.zst"), &arguments)?.path)
}

/// A bundle, and what was said when it was built.
#[derive(Debug)]
pub struct Built {
    /// Where it is.
    pub path: PathBuf,
    /// Standard error.
    pub said: String,
}

/// Builds what `arguments` ask for of `catalog`, from the lab's mirror and theirs; downloads stay beside `path`.
///
/// # Errors
/// When the builder is missing or fails.
pub fn bundle_of(lab: &Lab, catalog: &Path, programs: &Path, path: &Path, arguments: &[&str]) -> Result<Built> {
    let dir = path.parent().context("the bundle's path has no folder")?;
    fs::create_dir_all(dir).with_context(|| format!("create `{}`", dir.display()))?;
    let output = Command::new(programs.join("flexnode-build"))
        .args(arguments)
        .args(["--offline", "--level", "1", "--manifests"])
        .arg(catalog)
        .arg("--mirror")
        .arg(lab.mirror())
        .arg("-o")
        .arg(path)
        .env("FLEXNODE_CACHE_DIR", dir.join("cache"))
        .output()
        .context("run flexnode-build")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "flexnode-build failed: {}", said.trim_end());
    Ok(Built { path: path.to_owned(), said })
}
