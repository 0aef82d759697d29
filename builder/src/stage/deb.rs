//! Finds the control and data archives of a Debian package: deb(5), an ar archive of three members in a fixed order.
//!
//! Only the layout that dpkg itself writes is taken. That is 60 bytes per header with no long names, so no general
//! ar reader stands between us and the bytes.

use std::io::{self, BufRead, Read};

use anyhow::Result;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use super::archive::{read_failure, refuse, refuse_archive};
use super::tar::show;

/// xz -9 needs 65 MiB to unpack; `dpkg-deb` uses -6 with 9 MiB.
const XZ_MEMORY_KIB: u32 = 128 << 10;

/// zstd's own default; `dpkg-deb` stays below it.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Hands the unpacked data archive to `visit`, which must read it to its end.
///
/// # Errors
/// A refusal if the package is not laid out as dpkg does it, whatever the decoder or `visit` reports otherwise.
pub(super) fn read_data(mut deb: impl BufRead, visit: impl FnOnce(&mut dyn Read) -> Result<()>) -> Result<()> {
    open(&mut deb)?;
    let control = expect_member(&mut deb, "control.tar")?;
    skip(&mut deb, control.size)?;
    skip_padding(&mut deb, control.size)?;

    let data = expect_member(&mut deb, "data.tar")?;
    unpack(&mut deb, &data, visit)?;
    skip_padding(&mut deb, data.size)?;

    // deb(5) lets others, signatures for instance, append members whose names begin with an underscore.
    while let Some(extra) = next_member(&mut deb)? {
        if !extra.name.starts_with('_') {
            return Err(refuse(format!("`{}` does not belong behind the package's data", extra.name)));
        }
        skip(&mut deb, extra.size)?;
        skip_padding(&mut deb, extra.size)?;
    }
    Ok(())
}

/// Hands the unpacked control archive to `visit`, which must read it to its end; returns when the package was written, in
/// seconds since 1970.
///
/// # Errors
/// As for [`read_data`].
pub(super) fn read_control(mut deb: impl BufRead, visit: impl FnOnce(&mut dyn Read) -> Result<()>) -> Result<u64> {
    let written = open(&mut deb)?;
    let control = expect_member(&mut deb, "control.tar")?;
    unpack(&mut deb, &control, visit)?;
    Ok(written)
}

/// Reads up to the control archive; returns the date of the package.
fn open(deb: &mut impl BufRead) -> Result<u64> {
    let mut magic = [0; 8];
    deb.read_exact(&mut magic).map_err(read_failure)?;
    if magic != *b"!<arch>\n" {
        return Err(refuse_archive("is no Debian package"));
    }
    let version = expect_member(deb, "debian-binary")?;
    let mut text = Vec::new();
    deb.take(version.size.min(16)).read_to_end(&mut text).map_err(read_failure)?;
    if text != b"2.0\n" {
        return Err(refuse(format!("`debian-binary` says `{}`, not version 2.0", show(&text))));
    }
    Ok(version.date)
}

fn unpack(deb: &mut impl BufRead, member: &ArMember, visit: impl FnOnce(&mut dyn Read) -> Result<()>) -> Result<()> {
    let mut packed = deb.take(member.size);
    match member.name.rsplit_once(".tar").map(|(_, compression)| compression) {
        Some("") => visit(&mut packed)?,
        Some(".gz") => visit(&mut MultiGzDecoder::new(&mut packed))?,
        Some(".xz") => visit(&mut XzReader::new_mem_limit(&mut packed, true, XZ_MEMORY_KIB))?,
        Some(".zst") => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&mut packed).map_err(read_failure)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(read_failure)?;
            visit(&mut decoder)?;
        }
        _ => return Err(refuse(format!("`{}` is compressed in a way that is not supported", member.name))),
    }
    if packed.limit() != 0 {
        return Err(refuse(format!("`{}` goes on behind its end, or is truncated", member.name)));
    }
    Ok(())
}

#[derive(Debug)]
struct ArMember {
    name: String,
    /// Seconds since 1970.
    date: u64,
    size: u64,
}

/// The next member, which must be `stem` or `stem.…`.
fn expect_member(deb: &mut impl BufRead, stem: &str) -> Result<ArMember> {
    let Some(member) = next_member(deb)? else {
        return Err(refuse(format!("the package ends before `{stem}`")));
    };
    let rest = member.name.strip_prefix(stem);
    if rest.is_none_or(|rest| !rest.is_empty() && !rest.starts_with('.')) {
        return Err(refuse(format!("`{}` is where the package's `{stem}` should be", member.name)));
    }
    Ok(member)
}

/// Reads a header of ar(5), or nothing at the end of the input.
fn next_member(deb: &mut impl BufRead) -> Result<Option<ArMember>> {
    if deb.fill_buf().map_err(read_failure)?.is_empty() {
        return Ok(None);
    }
    let mut header = [0; 60];
    deb.read_exact(&mut header).map_err(read_failure)?;
    let malformed = || refuse_archive("has a malformed ar header");
    if &header[58..] != b"`\n" {
        return Err(malformed());
    }
    // GNU's ar ends names with a slash, dpkg does not.
    let name = header[..16].trim_ascii_end();
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let (date, size) = (header[16..28].trim_ascii_end(), header[48..58].trim_ascii_end());
    let is_plain = |name: &[u8]| name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if name.is_empty() || !is_plain(name) {
        return Err(malformed());
    }
    let date = decimal(date).ok_or_else(malformed)?;
    let size = decimal(size).ok_or_else(malformed)?;
    Ok(Some(ArMember { name: show(name), date, size }))
}

/// A field of a header: at most twelve digits, which no 64 bits are too few for.
fn decimal(digits: &[u8]) -> Option<u64> {
    let number = |sum: u64, digit: &u8| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'));
    if digits.is_empty() { None } else { digits.iter().try_fold(0, number) }
}

fn skip(deb: &mut impl BufRead, size: u64) -> Result<()> {
    match io::copy(&mut deb.take(size), &mut io::sink()).map_err(read_failure)? {
        skipped if skipped == size => Ok(()),
        _ => Err(refuse_archive("is truncated")),
    }
}

/// Members begin at even offsets; a newline fills the gap.
fn skip_padding(deb: &mut impl BufRead, size: u64) -> Result<()> {
    let mut padding = [b'\n'];
    if size % 2 == 1 {
        deb.read_exact(&mut padding).map_err(read_failure)?;
    }
    if padding == *b"\n" { Ok(()) } else { Err(refuse_archive("has a malformed ar header")) }
}
