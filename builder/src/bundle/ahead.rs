//! Reads on a thread of its own, a few megabytes ahead: decompressing and hashing take two processors then.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// How many chunks wait at most.
const WAITING: usize = 4;

/// What a reader has, read ahead of whoever asks for it.
#[derive(Debug)]
pub struct Ahead<R> {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
    /// What the reader failed with: it stays failed.
    failed: Option<(io::ErrorKind, String)>,
    thread: JoinHandle<R>,
}

impl<R: Read + Send + 'static> Ahead<R> {
    pub(super) fn new(mut reader: R) -> Self {
        let (queue, chunks) = sync_channel(WAITING);
        let thread = std::thread::spawn(move || {
            // It ends with the input, with an error, and when nobody listens any more.
            while send(&mut reader, &queue) {}
            reader
        });
        Self { chunks, chunk: Vec::new(), at: 0, failed: None, thread }
    }

    /// The reader, as far as it has got.
    pub(super) fn finish(self) -> io::Result<R> {
        drop(self.chunks);
        self.thread.join().map_err(|_panic| io::Error::other("the reading thread failed"))
    }
}

/// Whether there is more to come.
fn send(reader: &mut impl Read, queue: &SyncSender<io::Result<Vec<u8>>>) -> bool {
    let mut chunk = Vec::with_capacity(CHUNK);
    let read = reader.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
    let (failed, empty) = (read.is_err(), chunk.is_empty());
    let sent = empty || queue.send(Ok(chunk)).is_ok();
    let heard = read.map_or_else(|error| queue.send(Err(error)).is_ok(), |_| true);
    sent && heard && !failed && !empty
}

impl<R> Read for Ahead<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some((kind, message)) = &self.failed {
            return Err(io::Error::new(*kind, message.clone()));
        }
        if self.at == self.chunk.len() {
            match self.chunks.recv() {
                Ok(Ok(chunk)) => (self.chunk, self.at) = (chunk, 0),
                Ok(Err(error)) => {
                    self.failed = Some((error.kind(), error.to_string()));
                    return Err(error);
                }
                Err(_ended) => return Ok(0),
            }
        }
        let n = buf.len().min(self.chunk.len() - self.at);
        buf[..n].copy_from_slice(&self.chunk[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
