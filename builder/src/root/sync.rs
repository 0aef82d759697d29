//! Syncs files on a thread of its own, while the next ones are being unpacked.

use std::fs::File;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context as _, Error, Result, anyhow};

/// Files on their way to the disk. Few, because each holds a descriptor.
const WAITING: usize = 16;

/// Takes files to sync.
pub(super) type Queue = SyncSender<(String, File)>;

/// Runs `work`, and syncs every file that it hands over; both must succeed.
///
/// # Errors
/// Those of `work`, and of the disk.
pub(super) fn while_syncing(work: impl FnOnce(&Queue) -> Result<()>) -> Result<()> {
    std::thread::scope(|scope| {
        let (queue, files) = sync_channel(WAITING);
        let syncing = scope.spawn(move || sync(&files));
        let worked = work(&queue);
        drop(queue);
        let synced = syncing.join().unwrap_or_else(|_panic| Err(anyhow!("the syncing thread failed")));
        // Where the disk fails, the queue closes: its error says more than that.
        synced.and(worked)
    })
}

/// Hands a file over.
///
/// # Errors
/// When syncing has failed already.
pub(super) fn hand_over(queue: &Queue, name: String, file: File) -> Result<()> {
    queue.send((name, file)).map_err(|_closed| Error::msg("the disk failed"))
}

fn sync(files: &Receiver<(String, File)>) -> Result<()> {
    files.iter().try_for_each(|(name, file)| file.sync_all().with_context(|| format!("syncing {name}")))
}
