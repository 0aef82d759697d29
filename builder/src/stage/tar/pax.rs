//! The records of a pax header, read by their lengths and to the last byte.

use anyhow::Result;

use super::{set, show};
use crate::stage::archive::refuse_archive;

/// The pax records that matter: POSIX.1-2017, pax, "pax Header Block". Times, comments and attributes are not restored.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) is_sparse: bool,
}

impl Pax {
    /// Reads `<length> <key>=<value>\n` records; the length counts all of it.
    pub(super) fn parse(mut records: &[u8]) -> Result<Self> {
        let malformed = || refuse_archive("has a malformed pax header");
        let mut pax = Self::default();
        while !records.is_empty() {
            let digits = records.iter().take_while(|b| b.is_ascii_digit()).count();
            let length = decimal(&records[..digits]).map_err(|_not_a_length| malformed())?;
            let length = usize::try_from(length)?;
            let record = records.get(..length).ok_or_else(malformed)?;
            let body = record.get(digits..).and_then(|rest| rest.strip_prefix(b" ")?.strip_suffix(b"\n"));
            let body = body.ok_or_else(malformed)?;
            let equals = body.iter().position(|b| *b == b'=').ok_or_else(malformed)?;
            pax.apply(&body[..equals], &body[equals + 1..])?;
            records = &records[length..];
        }
        Ok(pax)
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key {
            b"path" => set(&mut self.path, value.to_vec()),
            b"linkpath" => set(&mut self.linkpath, value.to_vec()),
            b"size" => set(&mut self.size, decimal(value)?),
            b"uid" => set(&mut self.uid, decimal(value)?),
            b"gid" => set(&mut self.gid, decimal(value)?),
            _ => {
                self.is_sparse |= key.starts_with(b"GNU.sparse.");
                Ok(())
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn decimal(value: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(number),
        _ => Err(refuse_archive(format!("has the pax number `{}`", show(value)))),
    }
}
