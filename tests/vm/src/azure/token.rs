//! Access tokens: JWTs that carry audience, tenant, object id and expiry, signed with the emulator's own key.
//!
//! Entra ID signs with RS256; ring makes no RSA keys, so these are ES256. A client does not look inside.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a token says; names as in Entra ID's v1.0 access tokens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// The resource it is for.
    pub aud: String,
    /// Who issued it: `https://sts.windows.net/<tenant>/`.
    pub iss: String,
    /// When it was issued, in seconds since 1970.
    pub iat: u64,
    /// When it begins to hold.
    pub nbf: u64,
    /// When it ends.
    pub exp: u64,
    /// The application, or the client id of a machine's identity.
    pub appid: String,
    /// `app`: no user stands behind it.
    pub idtyp: String,
    /// The object id of the principal.
    pub oid: String,
    /// The tenant.
    pub tid: String,
    /// A unique id.
    pub uti: String,
    /// `1.0`.
    pub ver: String,
    /// The resource whose identity this is, for a machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xms_mirid: Option<String>,
    /// Counts what happens in the emulator: a role with a higher number came after this token.
    #[serde(rename = "x-lab-sequence")]
    pub sequence: u64,
}

/// Who a token is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bearer<'a> {
    pub(super) client_id: &'a str,
    pub(super) object_id: &'a str,
    pub(super) machine: Option<&'a str>,
}

/// A token and what it says.
#[derive(Debug, Clone)]
pub(super) struct Issued {
    pub(super) token: String,
    pub(super) claims: Claims,
}

/// Why a token was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flaw {
    /// No JWT of this emulator.
    Invalid,
    /// Its time is over.
    Expired { at: Duration },
    /// Its time has not come.
    NotYet { from: Duration },
}

/// The key that signs, and checks its own signatures.
pub(super) struct Signer {
    key: EcdsaKeyPair,
    id: String,
}

impl Signer {
    pub(super) fn new() -> Result<Self> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| anyhow!("this machine has no randomness"))?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
            .map_err(|error| anyhow!("read the key just made: {error}"))?;
        let id = BASE64.encode(&key.public_key().as_ref()[1..16]);
        Ok(Self { key, id })
    }

    pub(super) fn sign(&self, claims: &Claims) -> Result<String> {
        let header = json!({"typ": "JWT", "alg": "ES256", "kid": self.id});
        let payload = serde_json::to_vec(claims).context("write a token")?;
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(payload));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_| anyhow!("this machine has no randomness"))?;
        Ok(format!("{signed}.{}", BASE64.encode(signature)))
    }

    /// The claims of a token that this key signed and that holds `now`.
    pub(super) fn verify(&self, token: &str, now: Duration) -> Result<Claims, Flaw> {
        let claims = self.read(token).ok_or(Flaw::Invalid)?;
        if now.as_secs() >= claims.exp {
            return Err(Flaw::Expired { at: Duration::from_secs(claims.exp) });
        }
        if now.as_secs() + TOLERANCE < claims.nbf {
            return Err(Flaw::NotYet { from: Duration::from_secs(claims.nbf) });
        }
        Ok(claims)
    }

    fn read(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (_header, payload) = signed.split_once('.')?;
        let signature = BASE64.decode(signature).ok()?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .ok()?;
        serde_json::from_slice(&BASE64.decode(payload).ok()?).ok()
    }

    /// The public key as a set of JSON Web Keys.
    pub(super) fn key_set(&self) -> Value {
        let point = &self.key.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        json!({"keys": [{
            "kty": "EC", "use": "sig", "crv": "P-256", "alg": "ES256", "kid": self.id,
            "x": BASE64.encode(x), "y": BASE64.encode(y),
        }]})
    }
}

/// Azure allows clocks to differ by five minutes where a token begins to hold.
const TOLERANCE: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        let text = String::new;
        Claims {
            aud: "a".to_owned(),
            iss: text(),
            iat: 1000,
            nbf: 1000,
            exp: 2000,
            appid: text(),
            idtyp: text(),
            oid: text(),
            tid: text(),
            uti: text(),
            ver: text(),
            xms_mirid: None,
            sequence: 1,
        }
    }

    #[test]
    fn a_token_holds_in_its_time_and_with_its_signature() {
        let signer = Signer::new().unwrap();
        let token = signer.sign(&claims()).unwrap();
        let at = |seconds| signer.verify(&token, Duration::from_secs(seconds)).map(|claims| claims.aud);
        assert_eq!(at(1500).as_deref(), Ok("a"));
        assert_eq!(at(2000), Err(Flaw::Expired { at: Duration::from_secs(2000) }));
        assert_eq!(at(699), Err(Flaw::NotYet { from: Duration::from_secs(1000) }));
        assert_eq!(at(700).as_deref(), Ok("a"), "five minutes of difference are allowed");

        let mut forged = token.clone().into_bytes();
        let middle = token.find('.').unwrap() + 5;
        forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        let now = Duration::from_secs(1500);
        assert_eq!(signer.verify(&forged, now).map(|_| ()), Err(Flaw::Invalid));
        assert_eq!(Signer::new().unwrap().verify(&token, now).map(|_| ()), Err(Flaw::Invalid));
        assert_eq!(signer.verify("no token", now).map(|_| ()), Err(Flaw::Invalid));
    }
}
