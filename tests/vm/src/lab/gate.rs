//! The builder's own gate for programs, so that every lab can be built into a bundle.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};
use flexnode_build::artifact::Arch;
use flexnode_build::stage::elf::{self, Role};
use flexnode_build::target::Target;

/// Refuses the program at `path` if the default target could not load it.
pub(super) fn refuse_what_does_not_load(name: &str, path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("open `{}`", path.display()))?;
    elf::check(name, file, Arch::Amd64, Target::default(), Role::Program)?;
    Ok(())
}
