//! Sigstore bundles that a key pair made: a signature over bytes, or over a statement, in JSON.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::public::PublicKey;
use crate::digest::Digest;

/// The one version that cosign 2.4 and later write.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

const SHA256: &str = "SHA2_256";

/// The JSON, with what is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Envelope {
    media_type: String,
    verification_material: Material,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_signature: Option<MessageSignature>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dsse_envelope: Option<Dsse>,
}

/// What else there is to check. With a key of one's own that is nothing: a log's entry neither adds to it nor can it be
/// checked offline without knowing the log, so it is carried and not looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Material {
    public_key: Hint,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tlog_entries: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp_verification_data: Option<Value>,
}

/// Which key it may be. It is not signed, so nothing is decided by it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hint {
    #[serde(default)]
    hint: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MessageSignature {
    #[serde(default)]
    message_digest: MessageDigest,
    signature: String,
}

/// cosign 3 leaves both out for Ed25519 keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageDigest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

/// A statement that is signed together with its type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Dsse {
    payload: String,
    payload_type: String,
    signatures: Vec<DsseSignature>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DsseSignature {
    sig: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
}

/// A signature over bytes that are elsewhere.
#[derive(Debug)]
pub(super) struct Detached {
    pub(super) signature: Vec<u8>,
    /// The digest that it says these bytes have.
    pub(super) digest: Option<Digest>,
}

/// A signed statement.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) payload_type: String,
    pub(super) payload: Vec<u8>,
    pub(super) signatures: Vec<Vec<u8>>,
}

impl Envelope {
    pub(super) fn of_message(key: &PublicKey, sha256: Digest, signature: &[u8]) -> Self {
        let digest = Some(BASE64_STANDARD.encode(sha256.as_bytes()));
        let message_digest = MessageDigest { algorithm: Some(SHA256.to_owned()), digest };
        let signature = BASE64_STANDARD.encode(signature);
        Self::new(key, Some(MessageSignature { message_digest, signature }), None)
    }

    pub(super) fn of_statement(key: &PublicKey, payload_type: &str, payload: &[u8], signature: &[u8]) -> Self {
        let signatures = vec![DsseSignature { sig: BASE64_STANDARD.encode(signature), keyid: None }];
        let (payload, payload_type) = (BASE64_STANDARD.encode(payload), payload_type.to_owned());
        Self::new(key, None, Some(Dsse { payload, payload_type, signatures }))
    }

    fn new(key: &PublicKey, message_signature: Option<MessageSignature>, dsse_envelope: Option<Dsse>) -> Self {
        let verification_material =
            Material { public_key: Hint { hint: key.hint() }, tlog_entries: None, timestamp_verification_data: None };
        Self { media_type: MEDIA_TYPE.to_owned(), verification_material, message_signature, dsse_envelope }
    }

    pub(super) fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string(self).context("encoding the signature")? + "\n")
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let envelope: Self = serde_json::from_str(text).context("it is no sigstore bundle of a key pair")?;
        let found = &envelope.media_type;
        ensure!(found == MEDIA_TYPE, "it is of type `{}`, not `{MEDIA_TYPE}`", found.escape_debug());
        Ok(envelope)
    }

    /// Whether it hints at `key`.
    pub(super) fn hints_at(&self, key: &PublicKey) -> bool {
        self.verification_material.public_key.hint == key.hint()
    }

    /// # Errors
    /// When it holds something else, or what it holds is no such thing.
    pub(super) fn detached(&self) -> Result<Detached> {
        let (Some(message), None) = (&self.message_signature, &self.dsse_envelope) else {
            anyhow::bail!("it holds no signature over a file");
        };
        let signature = BASE64_STANDARD.decode(&message.signature).context("its signature is no base64")?;
        let digest = match (&message.message_digest.algorithm, &message.message_digest.digest) {
            (None, None) => None,
            (Some(algorithm), Some(digest)) => {
                ensure!(algorithm == SHA256, "its digest is of type `{}`, not `{SHA256}`", algorithm.escape_debug());
                let digest = BASE64_STANDARD.decode(digest).context("its digest is no base64")?;
                Some(hex::encode(digest).parse()?)
            }
            _ => anyhow::bail!("its digest is not whole"),
        };
        Ok(Detached { signature, digest })
    }

    /// # Errors
    /// As above.
    pub(super) fn attached(&self) -> Result<Attached> {
        let (None, Some(dsse)) = (&self.message_signature, &self.dsse_envelope) else {
            anyhow::bail!("it holds no signed statement");
        };
        let payload = BASE64_STANDARD.decode(&dsse.payload).context("its payload is no base64")?;
        let signatures = dsse.signatures.iter().map(|one| BASE64_STANDARD.decode(&one.sig));
        let signatures = signatures.collect::<Result<_, _>>().context("its signature is no base64")?;
        Ok(Attached { payload_type: dsse.payload_type.clone(), payload, signatures })
    }
}
