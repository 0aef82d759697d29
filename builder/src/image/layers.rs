//! Whether a layer unpacks to what the image's config names: containerd would find out on the node, and fail there.

use std::io::{self, BufReader, Read};

use anyhow::Result;
use flate2::bufread::MultiGzDecoder;

use super::document::{Packing, refusal};
use crate::digest::Digest;
use crate::fetch::Blob;

/// A small file can unpack to any length; no layer of a node's image has more.
const LARGEST: u64 = 64 << 30;

/// The largest window that `zstd -d` takes without a flag: 128 MiB.
const WINDOW_LOG: u32 = 27;

/// Unpacks `blob` to nowhere and compares.
pub(super) fn check(blob: &Blob, packing: Packing, diff_id: Digest, name: &str) -> Result<()> {
    let content = blob.content();
    let unpacked = unpack(BufReader::new(content.reader()), packing);
    let why = match unpacked {
        Ok((_, size)) if size > LARGEST => format!("unpacks to more than {LARGEST} bytes"),
        Ok((found, _)) if found == diff_id => return Ok(()),
        Ok((found, _)) => format!("unpacks to sha256 {found}, its config says {diff_id}"),
        Err(error) => format!("cannot be unpacked: {error}"),
    };
    Err(refusal(name, &format!("its layer sha256:{} {why}", blob.sha256())).into())
}

fn unpack(packed: BufReader<impl Read>, packing: Packing) -> io::Result<(Digest, u64)> {
    match packing {
        Packing::Plain => measure(packed),
        Packing::Gzip => measure(MultiGzDecoder::new(packed)),
        Packing::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(packed)?;
            decoder.window_log_max(WINDOW_LOG)?;
            measure(decoder)
        }
    }
}

fn measure(unpacked: impl Read) -> io::Result<(Digest, u64)> {
    Digest::of_reader(unpacked.take(LARGEST + 1))
}
