//! For labs alone: the end of this process, as by `kill -9`, at a chosen point of the join.
//!
//! Points lie where a power cut hurts most: around each request and command, and inside each atomic write. Their
//! order is that of the join, so a matrix of "killed at 1, 2, 3, …" meets all of them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Points still to pass; zero is never.
static LEFT: AtomicU64 = AtomicU64::new(0);

/// From now on, the `nth` point (1 is the next) ends the process.
pub fn at(nth: u64) {
    LEFT.store(nth, Ordering::SeqCst);
}

/// One such point.
pub(crate) fn point() {
    let left = LEFT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if left == Ok(1) {
        // Nothing is flushed, dropped or cleaned up, as little as by a power cut.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
