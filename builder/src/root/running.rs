//! Programs of the bundle that run on this machine.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::entrance::Root;
use super::step::{Action, Step};
use crate::failure::{Class, Failure};

/// Refuses to take away what runs: the node would go on with deleted programs, and come up with none.
///
/// # Errors
/// When a file that goes is the program of a process, which is named.
pub(super) fn refuse(root: &Root, steps: &[Step]) -> Result<()> {
    // By inode: in a container the same name may be another file.
    let inode = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    let goes = steps.iter().filter(|step| step.action == Action::Remove && !step.is_directory());
    let goes = goes.map(|step| root.show(step.path.as_str()));
    let goes: HashMap<_, _> = goes.filter_map(|path| inode(Path::new(&path)).ok().zip(Some(path))).collect();
    let processes = match fs::read_dir("/proc") {
        // In a chroot without it nobody can tell.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        listed => listed.context("listing processes")?,
    };
    for entry in processes {
        let process = entry.context("listing processes")?.path();
        // Only processes have a program; kernel threads have none, and one that has ended meanwhile has none any more.
        let Ok(program) = inode(&process.join("exe")) else { continue };
        if let Some(path) = goes.get(&program) {
            let id = process.file_name().unwrap_or_default().to_string_lossy();
            bail!(Failure::new(Class::Local, format!("{path} runs, as process {id}")).hint(
                "systemctl disable --now flexnode-firstboot kubelet containerd; containers that still run end with a \
                 reboot"
            ));
        }
    }
    Ok(())
}
