//! Fresh GUIDs.

use anyhow::{Result, anyhow};
use ring::rand::{SecureRandom as _, SystemRandom};

/// A random GUID (version 4), in lower case.
pub(crate) fn fresh() -> Result<String> {
    let mut bytes = random::<16>()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow!("this machine has no randomness"))?;
    Ok(bytes)
}

/// Whether the text is a GUID: 8-4-4-4-12 hex digits.
pub(super) fn is_guid(text: &str) -> bool {
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_one_is_one_and_no_two_are_alike() {
        let (one, other) = (fresh().unwrap(), fresh().unwrap());
        assert!(is_guid(&one) && is_guid(&other) && one != other, "{one} {other}");
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(!is_guid("common") && !is_guid("5c6a7d1e-0f0c-4b77-9a51-3f2d3f0a9b1g"));
    }
}
