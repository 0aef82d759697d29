//! A virtual machine's disk: made of the prepared root, readable while the machine is off.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};

use crate::node::rootfs::run;

/// Sparse: it takes as much as is written to it.
const SIZE: u64 = 6 << 30;

/// The disk, and the folder where its files are while the machine is off.
#[derive(Debug)]
pub(in crate::node) struct Disk {
    image: PathBuf,
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The root is an ordinary folder.
    Folder,
    /// The root is the disk, mounted.
    Mounted,
    /// The machine has the disk.
    InUse,
}

impl Disk {
    pub(in crate::node) fn new(image: PathBuf, root: PathBuf) -> Self {
        Self { image, root, state: Mutex::new(State::Folder) }
    }

    pub(super) fn image(&self) -> &Path {
        &self.image
    }

    /// Takes the files away, for the machine to have the disk alone.
    pub(super) fn hand_over(&self) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Folder => {
                self.make()?;
                // From now on they are on the disk.
                fs::remove_dir_all(&self.root).context("clear the prepared root")?;
                fs::create_dir(&self.root).context("create a mount point")?;
            }
            State::Mounted => run(Command::new("umount").arg(&self.root))?,
            State::InUse => anyhow::bail!("the machine is running"),
        }
        *state = State::InUse;
        Ok(())
    }

    /// Gives the files back; mounting takes back what a power cut left in the journal, as the next boot would.
    pub(super) fn take_back(&self) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == State::InUse {
            run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.root))?;
            *state = State::Mounted;
        }
        Ok(())
    }

    fn make(&self) -> Result<()> {
        let file = File::create(&self.image).context("create the disk")?;
        file.set_len(SIZE).context("set the disk's size")?;
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1", "-d"]).arg(&self.root).arg(&self.image);
        run(&mut mke2fs)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if *self.state.get_mut().unwrap_or_else(PoisonError::into_inner) == State::Mounted {
            // A test that has failed may still have a file open: the mount goes when that does.
            let _ = Command::new("umount").arg("--lazy").arg(&self.root).status();
        }
    }
}
