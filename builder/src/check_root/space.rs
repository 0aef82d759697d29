//! Room for the bundle.

use anyhow::{Context as _, Result};
use indicatif::HumanBytes;

use super::Check;

pub(super) fn check(check: &mut Check<'_>, needed: u64) -> Result<()> {
    let free = check.root.free().with_context(|| format!("looking at {}", check.root.path().display()))?;
    if free < needed {
        let cure = format!("free {}, or enlarge the file system", HumanBytes(needed - free));
        let message = format!("{} are free, a bundle needs {}", HumanBytes(free), HumanBytes(needed));
        check.error("space", message, cure);
    }
    Ok(())
}
