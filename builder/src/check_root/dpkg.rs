//! What dpkg says is installed, from its status file.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::Check;
use crate::stage::package::relations;

/// Installed packages.
#[derive(Debug, Default)]
pub(super) struct Packages {
    /// By name.
    versions: BTreeMap<String, String>,
    /// Names that they can be taken for.
    provided: BTreeSet<String>,
}

impl Packages {
    /// Those of the root; none where there is no dpkg.
    pub(super) fn read(check: &mut Check<'_>) -> Result<Self> {
        Ok(check.text("var/lib/dpkg/status")?.map(|status| Self::parse(&status)).unwrap_or_default())
    }

    /// deb-control(5) paragraphs; what is removed but for its configuration does not count.
    fn parse(status: &str) -> Self {
        let mut packages = Self::default();
        for paragraph in status.split("\n\n") {
            let field = |name: &str| {
                paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::trim)
            };
            if let (Some(package), Some(status)) = (field("Package"), field("Status"))
                && status.ends_with(" installed")
            {
                packages.versions.insert(package.to_owned(), field("Version").unwrap_or_default().to_owned());
                packages.provided.extend(relations(field("Provides").unwrap_or_default()).concat());
            }
        }
        packages
    }

    /// The version of `package` if it is installed.
    pub(super) fn version(&self, package: &str) -> Option<&str> {
        self.versions.get(package).map(String::as_str)
    }

    /// Whether `package`, or another in its place, is installed.
    pub(super) fn has(&self, package: &str) -> bool {
        self.versions.contains_key(package) || self.provided.contains(package)
    }

    /// Whether there is no dpkg, or it knows of nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_counts() {
        let status = "Package: curl\nStatus: install ok installed\nVersion: 7.81.0-1\nDescription: a\n Package: b\n\n\
                      Package: docker.io\nStatus: deinstall ok config-files\nVersion: 24\n\n\
                      Package: kubelet\nStatus: hold ok installed\nVersion: 1.30.1-1.1\nProvides: agent (= 1), node\n";
        let packages = Packages::parse(status);
        assert_eq!(packages.version("curl"), Some("7.81.0-1"));
        assert_eq!(packages.version("kubelet"), Some("1.30.1-1.1"));
        assert_eq!((packages.version("docker.io"), packages.version("b")), (None, None));
        assert_eq!(["curl", "agent", "node", "docker.io"].map(|name| packages.has(name)), [true, true, true, false]);
    }
}
