//! What of a statement is signed: its type and its bytes, each with its length (DSSE's pre-authentication encoding).

/// The type of in-toto's statements.
pub(super) const IN_TOTO: &str = "application/vnd.in-toto+json";

/// The bytes to sign.
pub(super) fn encode(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut encoded = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    encoded.extend(payload);
    encoded
}
