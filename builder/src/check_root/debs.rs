//! Packages that first boot will install: dpkg does so offline, and only if what they depend on is there.

use anyhow::Result;

use super::Check;
use super::dpkg::Packages;
use crate::artifact::PACKAGES;
use crate::stage::package::Control;

/// The Arc agent has 85 MB.
const LARGEST: u64 = 1 << 30;

pub(super) fn check(check: &mut Check<'_>, installed: &Packages) -> Result<()> {
    let mut waiting = Vec::new();
    for name in check.names(PACKAGES)?.into_iter().filter(|name| name.ends_with(".deb")) {
        let path = format!("{PACKAGES}{name}");
        let opened = check.root.open_file(&path, LARGEST);
        let Some(file) = check.told(path.as_ref(), opened)? else { continue };
        match Control::read(file) {
            Ok(control) => waiting.push(control),
            Err(error) => {
                let cure = "apply the bundle again, or take the file away";
                check.error("package", format!("/{path} cannot be installed: {error:#}"), cure);
            }
        }
    }
    // Of a root without dpkg something else is told.
    if installed.is_empty() {
        return Ok(());
    }
    for control in &waiting {
        let is_there = |name: &String| {
            let brought = |other: &Control| other.name == *name || other.provides.contains(name);
            installed.has(name) || waiting.iter().any(brought)
        };
        for lacking in control.depends.iter().filter(|group| !group.iter().any(is_there)) {
            let (package, needed) = (&control.name, lacking.join(" or "));
            let message = format!("{package} {} depends on {needed}, which is not installed", control.version);
            let cure = format!("{}, or add it to the spec's `packages`", check.install(&lacking[0]));
            check.error("package-depends", message, cure);
        }
    }
    Ok(())
}
