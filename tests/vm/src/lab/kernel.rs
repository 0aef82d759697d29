//! A kernel to boot: Debian's for clouds, from the archive that this machine uses, unpacked once and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::apt::{Source, Suite};
use super::cache::Cache;

/// The release whose root file system the nodes have.
const SUITE: &str = "bookworm";

/// Depends on the package of the newest version, and holds nothing itself.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// Counts up whenever the same package gives another folder.
const RECIPE: u32 = 1;

/// A kernel with its modules, ready for `modprobe`.
#[derive(Debug)]
pub struct Kernel {
    dir: PathBuf,
    /// `6.1.0-49-cloud-amd64`
    pub version: String,
}

impl Kernel {
    /// The one in the cache, or what Debian has now.
    ///
    /// # Errors
    /// When apt, dpkg or depmod is missing or fails.
    pub fn shared() -> Result<Self> {
        let cache = Cache::open(&Cache::default_dir()?)?;
        let dir = cache.note(&format!("kernel-{SUITE}-{RECIPE}"));
        if !dir.exists() {
            eprintln!("lab: fetching a kernel with apt");
            let scratch = cache.scratch()?;
            let made = fetch(scratch.path())?;
            fs::rename(&made, &dir).with_context(|| format!("keep `{}`", dir.display()))?;
        }
        let version = only(&dir.join("lib/modules"))?;
        Ok(Self { version: version.file_name().unwrap_or_default().to_string_lossy().into_owned(), dir })
    }

    /// The kernel itself.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.dir.join("boot").join(format!("vmlinuz-{}", self.version))
    }

    /// `/lib/modules/VERSION`, with its indexes.
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        self.dir.join("lib/modules").join(&self.version)
    }
}

fn fetch(scratch: &Path) -> Result<PathBuf> {
    let suite = Suite::fetch(SUITE, &Source::of_system()?)?;
    let [newest, package, root] = ["newest", "package", "root"].map(|name| scratch.join(name));
    for dir in [&newest, &package] {
        fs::create_dir(dir).context("create a folder for a package")?;
    }
    let newest = suite.download(PACKAGE, &newest)?;
    let depends = run(Command::new("dpkg-deb").arg("--field").arg(newest).arg("Depends"))?;
    let name = depends.split_whitespace().next().with_context(|| format!("find out which kernel {PACKAGE} is"))?;
    let deb = suite.download(name, &package)?;
    run(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(&root))?;
    let version = only(&root.join("lib/modules"))?;
    let version = version.file_name().context("find the kernel's version")?;
    run(Command::new("depmod").arg("--basedir").arg(&root).arg(version))?;
    Ok(root)
}

/// The only entry of a folder.
fn only(dir: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(dir).with_context(|| format!("list `{}`", dir.display()))?;
    let first = entries.next().with_context(|| format!("find a kernel in `{}`", dir.display()))?;
    ensure!(entries.next().is_none(), "`{}` has several kernels", dir.display());
    Ok(first.context("list the kernels")?.path())
}

fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("run {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {}", said.trim_end());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
