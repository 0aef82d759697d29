//! Decompresses zstd frames one after another, hashes them, and tells them from the zeros that fill up a device.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write as _};

use super::source::SourceReader;
use crate::digest::{Digest, HashingWriter};

/// The largest window that we (and stock zstd) decode.
const WINDOW_LOG_MAX: u32 = 27;

/// What a bundle decompresses to.
pub struct Frames(State);

enum State {
    Within(zstd::Decoder<'static, Hashed>),
    Ended {
        archive: (Digest, u64),
        padding: u64,
    },
    /// Only while a frame gives way to the next, and after an error.
    Broken,
}

impl Frames {
    pub(super) fn new(reader: SourceReader) -> io::Result<Self> {
        let buffered = BufReader::with_capacity(1 << 17, reader);
        let hashed = Hashed { inner: buffered, hasher: HashingWriter::new(io::sink()) };
        Ok(Self(State::Within(decoder(hashed)?)))
    }

    /// Digest and length of the archive, and how many zero bytes follow it, once all was read.
    pub(super) fn finish(self) -> io::Result<((Digest, u64), u64)> {
        match self.0 {
            State::Ended { archive, padding } => Ok((archive, padding)),
            State::Within(_) | State::Broken => Err(io::Error::other("it was not read to its end")),
        }
    }
}

impl Read for Frames {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.0 {
                State::Ended { .. } => return Ok(0),
                State::Broken => return Err(io::Error::other("it is damaged")),
                State::Within(decoder) => match decoder.read(buf)? {
                    0 if !buf.is_empty() => {}
                    n => return Ok(n),
                },
            }
            if let State::Within(decoder) = std::mem::replace(&mut self.0, State::Broken) {
                self.0 = after(decoder.finish())?;
            }
        }
    }
}

/// A frame begins with a number other than zero, so a zero after the last one can only be padding.
fn after(mut hashed: Hashed) -> io::Result<State> {
    match hashed.fill_buf()?.first() {
        Some(0) => {}
        Some(_) => return Ok(State::Within(decoder(hashed)?)),
        None => {
            let (_, sha256, size) = hashed.hasher.finish();
            return Ok(State::Ended { archive: (sha256, size), padding: 0 });
        }
    }
    let (_, sha256, size) = hashed.hasher.finish();
    let mut padding = 0;
    loop {
        let bytes = hashed.inner.fill_buf()?;
        if bytes.is_empty() {
            return Ok(State::Ended { archive: (sha256, size), padding });
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "there is data after the end of the archive"));
        }
        let n = bytes.len();
        padding += n as u64;
        hashed.inner.consume(n);
    }
}

fn decoder(hashed: Hashed) -> io::Result<zstd::Decoder<'static, Hashed>> {
    let mut decoder = zstd::Decoder::with_buffer(hashed)?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// Hashes what is consumed, and not what is only looked at.
struct Hashed {
    inner: BufReader<SourceReader>,
    hasher: HashingWriter<io::Sink>,
}

impl Read for Hashed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Hashed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        let _infallible = self.hasher.write_all(&self.inner.buffer()[..n]);
        self.inner.consume(n);
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").finish_non_exhaustive()
    }
}
