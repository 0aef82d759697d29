//! A machine's root on a disk of its own: a power cut takes what nobody has synced.
//!
//! The guest's death alone loses nothing, because the page cache is this machine's. So the file system is shut down under
//! it without flushing its log, as xfstests does it (`FS_IOC_GOINGDOWN` with `NOLOGFLUSH`), and mounted again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::fs::statvfs;
use tempfile::TempDir;

use super::rootfs::run;

/// An ext4 image, mounted over the folder it was made of.
#[derive(Debug)]
pub(super) struct LossyDisk {
    place: TempDir,
    root: PathBuf,
}

/// Sparse: what the machine does not use takes no room.
const SIZE: u64 = 3 << 30;

/// For the kernel, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Rust has no safe call for it.
const SHUT_DOWN: &str = "
import fcntl, os, struct, sys
FS_IOC_GOINGDOWN, NOLOGFLUSH = 0x8004587d, 2
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), FS_IOC_GOINGDOWN, struct.pack('I', NOLOGFLUSH))
";

impl LossyDisk {
    /// Puts everything in `root` on a disk.
    ///
    /// # Errors
    /// When e2fsprogs is missing, or this is not root.
    pub(super) fn of(root: &Path) -> Result<Self> {
        let place = tempfile::tempdir_in(room()).context("create the disk's folder")?;
        let disk = Self { place, root: root.to_owned() };
        let image = disk.image();
        let file = File::create(&image).context("create the disk's image")?;
        file.set_len(SIZE).context("size the disk's image")?;
        run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).args([root, &image]))?;
        disk.mount()?;
        Ok(disk)
    }

    /// From here on nothing that is written reaches the disk.
    pub(super) fn fail(&self) -> Result<()> {
        run(Command::new("python3").args(["-c", SHUT_DOWN]).arg(&self.root))
    }

    /// Forgets what has not reached the disk.
    ///
    /// The kernel lets go of a file system some time after its last mount has gone, the guest's own ones among them. Until
    /// then a mount is the old one again, in which nothing can be opened.
    pub(super) fn mount_again(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.unmount()?;
            self.mount()?;
            match File::open(self.root.join("etc/hostname")) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error).context("mount the disk afresh"),
                Err(_) => {}
            }
        }
    }

    fn image(&self) -> PathBuf {
        self.place.path().join("disk.img")
    }

    fn mount(&self) -> Result<()> {
        run(Command::new("mount").args(["-o", "loop"]).args([&self.image(), &self.root]))
    }

    fn unmount(&self) -> Result<()> {
        run(Command::new("umount").arg(&self.root))
    }
}

/// In memory if there is room: every sync of the guest's is one of this machine's.
fn room() -> PathBuf {
    const MEMORY: &str = "/dev/shm";
    let free = statvfs(MEMORY).map_or(0, |memory| memory.f_bavail.saturating_mul(memory.f_frsize));
    if free > SIZE { MEMORY.into() } else { std::env::temp_dir() }
}

impl Drop for LossyDisk {
    fn drop(&mut self) {
        // A mount that stays keeps its folder, and no more.
        let _ = self.unmount();
    }
}
