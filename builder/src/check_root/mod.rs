//! `check-root`: does this root have what a node needs? Looks at files alone; nothing of the root is run or changed.

mod debs;
mod dpkg;
mod firewall;
mod kernel;
mod kubelet;
mod programs;
mod release;
mod rivals;
mod space;
mod swap;
mod systemd;

use std::io;
use std::path::Path;

use anyhow::Result;
use semver::Version;

use self::dpkg::Packages;
use crate::bundle::{MANIFEST_PATH, Manifest};
use crate::finding::{Finding, Severity, Shell};
use crate::image_root::{Found, ImageRoot};
use crate::target::Target;

/// What a bundle needs of its root.
#[derive(Debug, Clone)]
pub struct Needs {
    /// The release it was built for.
    pub target: Option<Target>,
    /// Its Kubernetes version.
    pub kubernetes: Option<Version>,
    /// Bytes that are still to be written.
    pub bytes: u64,
}

/// Room for a bundle without images, unpacked, and for the Arc agent.
const BYTES_OF_A_BUNDLE: u64 = 1 << 30;

impl Needs {
    /// Those of a bundle that is yet to be written.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        let bytes = manifest.files.iter().map(|item| item.kind.size()).sum();
        Self { target: Some(manifest.target), kubernetes: Some(manifest.kubernetes.clone()), bytes }
    }

    /// Those of the bundle that is installed in `root`, which are met as far as its bytes go; else those of any bundle.
    #[must_use]
    pub fn of_installed(root: &ImageRoot) -> Self {
        // A record that cannot be read is `verify`'s to tell.
        let manifest = root
            .read(MANIFEST_PATH, LARGEST)
            .ok()
            .flatten()
            .and_then(|bytes| Manifest::parse(std::str::from_utf8(&bytes).ok()?).ok());
        match manifest {
            Some(manifest) => Self { bytes: 0, ..Self::of(&manifest) },
            None => Self { target: None, kubernetes: None, bytes: BYTES_OF_A_BUNDLE },
        }
    }
}

/// All findings about `root`, the worst first, in the same order every time.
///
/// # Errors
/// When the root cannot be looked at, for want of rights for example; what is wrong in it is a finding.
pub fn check(root: &ImageRoot, needs: &Needs) -> Result<Vec<Finding>> {
    let mut check = Check { root, shell: Shell::new(root.path()), findings: Vec::new() };
    let packages = Packages::read(&mut check)?;
    release::check(&mut check, needs.target)?;
    systemd::check(&mut check, &packages)?;
    programs::check(&mut check, needs.kubernetes.as_ref())?;
    kernel::check(&mut check)?;
    swap::check(&mut check, &packages)?;
    kubelet::check(&mut check)?;
    rivals::check(&mut check, &packages);
    debs::check(&mut check, &packages)?;
    firewall::check(&mut check)?;
    space::check(&mut check, needs.bytes)?;
    check.findings.sort_by_key(|finding| finding.severity);
    Ok(check.findings)
}

/// Larger than any file that is read: dpkg's status of a machine with everything has 10 MB.
const LARGEST: u64 = 64 << 20;

/// A root under check, and what was found.
struct Check<'a> {
    root: &'a ImageRoot,
    shell: Shell,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn find(&mut self, severity: Severity, name: &'static str, message: impl Into<String>, cure: impl Into<String>) {
        self.findings.push(Finding { name, severity, message: message.into(), cure: cure.into() });
    }

    fn error(&mut self, name: &'static str, message: impl Into<String>, cure: impl Into<String>) {
        self.find(Severity::Error, name, message, cure);
    }

    fn warning(&mut self, name: &'static str, message: impl Into<String>, cure: impl Into<String>) {
        self.find(Severity::Warning, name, message, cure);
    }

    fn note(&mut self, name: &'static str, message: impl Into<String>, cure: impl Into<String>) {
        self.find(Severity::Note, name, message, cure);
    }

    /// `apt-get install` in the root.
    fn install(&self, package: &str) -> String {
        self.shell.run(&format!("apt-get install -y {package}"))
    }

    /// `command` on a file of the root.
    fn edit(&self, command: &str, path: impl AsRef<Path>) -> String {
        if self.root.is_straight(&path) {
            self.shell.with_paths(command, &[path])
        } else {
            self.shell.with_paths_inside(command, &[path])
        }
    }

    /// What `path` leads to; a path that cannot be followed is a finding and counts as absent.
    fn found(&mut self, path: impl AsRef<Path>) -> Result<Option<Found>> {
        let found = self.root.found(&path);
        self.told(path.as_ref(), found)
    }

    fn is_there(&mut self, path: impl AsRef<Path>) -> Result<bool> {
        Ok(self.found(path)?.is_some())
    }

    /// The text of a file; one that cannot be read is a finding and counts as absent.
    fn text(&mut self, path: impl AsRef<Path>) -> Result<Option<String>> {
        let read = self.root.read(&path, LARGEST);
        let bytes = self.told(path.as_ref(), read)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The names in a directory that are UTF-8; all names that are looked for are.
    fn names(&mut self, path: impl AsRef<Path>) -> Result<Vec<String>> {
        let names = self.root.names(&path).map(Some);
        let names = self.told(path.as_ref(), names)?.unwrap_or_default();
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    /// Whether a program of this name is on the node's search path.
    fn has_program(&mut self, name: &str) -> Result<bool> {
        for directory in ["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin"] {
            // After the merge of /usr the last two are the two before them.
            if self.root.found_itself(directory)? == Some(Found::Link) {
                continue;
            }
            if let Some(Found::File { size: 1.., mode }) = self.found(format!("{directory}/{name}"))?
                && mode & 0o111 != 0
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether systemd would start `unit` at boot.
    fn is_enabled(&mut self, unit: &str) -> Result<bool> {
        const UNITS: &str = "etc/systemd/system";
        for name in self.names(UNITS)? {
            let wants = name.ends_with(".wants") || name.ends_with(".requires");
            let link = Path::new(UNITS).join(&name).join(unit);
            let found = if wants { self.root.found_itself(&link) } else { Ok(None) };
            if self.told(&link, found)?.is_some() {
                return Ok(!self.is_masked(unit)?);
            }
        }
        Ok(false)
    }

    /// Whether the administrator forbade `unit`: `systemctl mask` links it to /dev/null.
    fn is_masked(&mut self, unit: &str) -> Result<bool> {
        let path = Path::new("etc/systemd/system").join(unit);
        let target = self.root.link_target(&path);
        Ok(self.told(&path, target)?.is_some_and(|target| target == Path::new("/dev/null")))
    }

    /// What cannot be looked at for want of rights, or because the disk fails, ends the check: it would be wrong about
    /// all that follows. What is odd about the root itself is a finding.
    fn told<T>(&mut self, path: &Path, looked: io::Result<Option<T>>) -> Result<Option<T>> {
        match looked {
            Ok(found) => Ok(found),
            Err(error) if error.raw_os_error().is_some() => {
                let path = self.root.path().join(path.strip_prefix("/").unwrap_or(path));
                Err(anyhow::Error::new(error).context(format!("looking at {}", path.display())))
            }
            Err(error) => {
                let cure = format!("look at it: `{}`", self.shell.with_paths("ls -ld", &[path]));
                let path = Path::new("/").join(path);
                self.error("unreadable", format!("{} {error}", path.display()), cure);
                Ok(None)
            }
        }
    }
}
