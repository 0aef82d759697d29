//! The Arc agent's package, which the bundle brings along.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::DEADLINE;
use crate::atomic;
use crate::failure::{Exit, Failure};
use crate::join::Join;
use crate::paths;
use crate::retry::Schedule;
use crate::state::Step;

const INSTALL: Duration = Duration::from_secs(5 * 60);

/// Installs the bundled package, offline. A note on disk tells a finished installation from one that was cut off,
/// which may have left the program without its services.
pub(super) async fn install(join: &Join<'_>) -> Result<()> {
    let note = join.host.path(paths::INSTALL_NOTE);
    if join.host.commands.has("azcmagent") && !note.exists() {
        return Ok(());
    }
    let package = package(join)?;
    atomic::ensure(&note, b"", 0o600)?;
    join.progress.note(Step::Arc, &format!("installing {}", package.display()));
    let package = package.display().to_string();
    let dpkg = async || {
        let arguments = ["--install", "--force-confold", package.as_str()];
        let said = join.host.commands.run("dpkg", &arguments, join.host.pace.of(INSTALL)).await?;
        if said.success {
            return Ok(());
        }
        let summary = said.summary();
        // Its status for this is the same as for everything else.
        let exit = if summary.contains("lock") { Exit::Transient } else { Exit::Local };
        let hint = format!("`dpkg --configure --pending; dpkg --install {package}` shows why");
        Err(Failure::new(exit, format!("the Arc agent's package cannot be installed: {summary}"), hint).into())
    };
    join.retry(Step::Arc, Schedule::until(DEADLINE), dpkg).await?;
    atomic::remove(&note)
}

/// The newest `azcmagent_*.deb` of the bundle.
fn package(join: &Join<'_>) -> Result<PathBuf> {
    let directory = join.host.path(paths::PACKAGES);
    let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = entries.filter(|path| version(path).is_some()).max_by_key(|path| version(path));
    newest.ok_or_else(|| {
        let hint = "build the bundle with the azcmagent package in its `packages`, or install the agent into the image";
        Failure::new(Exit::Local, format!("no azcmagent on PATH and no package in {}", directory.display()), hint)
            .into()
    })
}

/// The numbers in the name of an `azcmagent_*.deb`: an older bundle's package may still lie beside the newer one, and
/// 1.100 is newer than 1.99.
fn version(path: &Path) -> Option<Vec<u64>> {
    let name = path.file_name()?.to_str()?.strip_prefix("azcmagent_")?.strip_suffix(".deb")?;
    Some(name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_package_is_told_by_its_numbers() {
        let version = |name: &str| version(Path::new(name));
        assert!(version("/d/azcmagent_1.100.02900-1_amd64.deb") > version("/d/azcmagent_1.99.03000-1_amd64.deb"));
        assert!(version("azcmagent_1.61_amd64.deb").is_some());
        assert_eq!((version("azcmagent_1.61_amd64.deb.partial"), version("other_1.61_amd64.deb")), (None, None));
    }
}
