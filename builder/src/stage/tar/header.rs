//! The 512 bytes before each member.

use anyhow::Result;

use super::show;
use crate::stage::archive::{refuse, refuse_archive};

pub(super) const BLOCK: usize = 512;

/// One block that describes a member. Offsets: POSIX.1-2017, pax, "ustar Interchange Format".
#[derive(Debug)]
pub(super) struct Header(pub(super) [u8; BLOCK]);

impl Header {
    pub(super) fn verify(&self) -> Result<()> {
        // The checksum counts its own field as spaces.
        let sum = self.0[..148].iter().chain(&self.0[156..]).map(|b| u64::from(*b)).sum::<u64>() + 8 * 32;
        match self.number(148..156, "checksum") {
            Ok(stated) if stated == sum => Ok(()),
            _ => Err(refuse_archive("has a header with a wrong checksum")),
        }
    }

    pub(super) fn name(&self) -> Vec<u8> {
        let name = field(&self.0[..100]);
        // GNU's own format (`ustar  `) keeps times where POSIX keeps the prefix.
        let prefix = if &self.0[257..263] == b"ustar\0" { field(&self.0[345..500]) } else { b"" };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    /// A number in octal, or in GNU's base 256 where the first bit is set.
    pub(super) fn number(&self, at: std::ops::Range<usize>, what: &str) -> Result<u64> {
        let bytes = &self.0[at];
        let shown = || show(field(&self.0[..100]));
        if bytes[0] & 0x80 != 0 {
            if bytes[0] & 0x40 != 0 {
                return Err(refuse(format!("member `{}` has a negative {what}", shown())));
            }
            let mut number = u64::from(bytes[0] & 0x3f);
            for byte in &bytes[1..] {
                if number >> 56 != 0 {
                    return Err(refuse(format!("member `{}` has an impossible {what}", shown())));
                }
                number = number << 8 | u64::from(*byte);
            }
            return Ok(number);
        }
        let digits = field(bytes).trim_ascii();
        if digits.iter().any(|b| !(b'0'..=b'7').contains(b)) {
            return Err(refuse(format!("member `{}` has the {what} `{}`", shown(), show(digits))));
        }
        // At most twelve octal digits: 36 bits.
        Ok(digits.iter().fold(0, |number, digit| number << 3 | u64::from(digit - b'0')))
    }
}

/// A field up to its first NUL.
pub(super) fn field(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}
