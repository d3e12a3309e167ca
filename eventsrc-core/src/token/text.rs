//! The text form of tokens, safe in an HTTP header. This file alone knows its layout.
//!
//! `1.PAYLOAD` or, signed, `1.PAYLOAD.KEYID.MAC`. The payload is base64url (RFC 4648 §5, no padding) of the postcard
//! encoding of `[(name, number, zone)]`, ascending by name. The MAC is base64url of HMAC-SHA-256 (RFC 2104) over all
//! of the text before its dot. One token has one text.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::set::{Positions, Token};
use crate::stream::{StreamName, Zone};

/// Writes and reads the text form of tokens.
#[derive(Debug, Clone)]
pub struct TokenCodec {
    keys: Vec<TokenKey>,
    limit: usize,
}

/// A secret that signs tokens, and the id that names it in them.
#[derive(Clone)]
pub struct TokenKey {
    id: String,
    secret: Vec<u8>,
}

/// The longest text a codec writes or reads unless told otherwise, in bytes.
const DEFAULT_LIMIT: usize = 4096;

impl TokenCodec {
    /// Tokens without signatures: whoever holds one can change it, so it is not trusted when it comes back.
    pub fn unsigned() -> Self {
        Self { keys: Vec::new(), limit: DEFAULT_LIMIT }
    }

    /// Tokens signed with `key`; those signed with one of `accepted` are still read, which is how keys are replaced.
    pub fn signed(key: TokenKey, accepted: impl IntoIterator<Item = TokenKey>) -> Self {
        Self { keys: std::iter::once(key).chain(accepted).collect(), limit: DEFAULT_LIMIT }
    }

    /// The same codec with another limit on the text, in bytes.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The text of `token`: letters, digits and `-_.` only.
    ///
    /// # Errors
    ///
    /// [`TokenError::TooLarge`] past the limit. Ask for less: a token of the streams that the reader needs.
    pub fn encode(&self, token: &Token) -> Result<String, TokenError> {
        let entries: Vec<_> =
            token.positions().map(|(name, at)| (name.as_str(), at.number, at.zone)).collect();
        let payload =
            postcard::to_allocvec(&entries).map_err(|_| TokenError::Malformed("it cannot be encoded"))?;
        let mut text = format!("{VERSION}.{}", URL_SAFE_NO_PAD.encode(payload));
        if let Some(key) = self.keys.first() {
            text = format!("{text}.{}", key.id);
            text = format!("{text}.{}", URL_SAFE_NO_PAD.encode(key.mac(&text).finalize().into_bytes()));
        }
        self.check_size(text.len())?;
        Ok(text)
    }

    /// The token of `text`, trusted if it was signed with a key of this codec.
    ///
    /// # Errors
    ///
    /// Each way in which a text can be wrong is a [`TokenError`] of its own. A codec that signs reads no unsigned text.
    pub fn decode(&self, text: &str) -> Result<Token, TokenError> {
        self.check_size(text.len())?;
        let (version, rest) = text.split_once('.').ok_or(TokenError::Malformed("it has no parts"))?;
        if version != VERSION {
            return Err(if version.parse::<u32>().is_ok() {
                TokenError::UnknownVersion(version.into())
            } else {
                TokenError::Malformed("it has no version")
            });
        }
        let mut parts = rest.split('.');
        let payload = parts.next().unwrap_or_default();
        let trusted = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) if self.keys.is_empty() => false,
            (None, ..) => return Err(TokenError::Unsigned),
            (Some(id), Some(mac), None) => self.verify(text, id, mac)?,
            _ => return Err(TokenError::Malformed("it has a wrong number of parts")),
        };
        let positions = decode_payload(payload)?;
        Ok(if trusted { Token::from(positions).vouched() } else { Token::from(positions) })
    }

    /// Without keys there is nothing to verify with: the signature is ignored, and the token not trusted.
    fn verify(&self, text: &str, id: &str, mac: &str) -> Result<bool, TokenError> {
        if self.keys.is_empty() {
            return Ok(false);
        }
        let key =
            self.keys.iter().find(|key| key.id == id).ok_or_else(|| TokenError::UnknownKey(id.into()))?;
        let signed = &text[..text.len() - mac.len() - 1];
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| TokenError::Forged)?;
        key.mac(signed).verify_slice(&mac).map_err(|_| TokenError::Forged)?;
        Ok(true)
    }

    fn check_size(&self, size: usize) -> Result<(), TokenError> {
        if size > self.limit { Err(TokenError::TooLarge { size, limit: self.limit }) } else { Ok(()) }
    }
}

const VERSION: &str = "1";

fn decode_payload(payload: &str) -> Result<Positions, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenError::Malformed("it is not base64url"))?;
    let (entries, rest) = postcard::take_from_bytes::<Vec<(StreamName, u64, Zone)>>(&bytes)
        .map_err(|_| TokenError::Malformed("it is cut off or was never a token"))?;
    if !rest.is_empty() {
        return Err(TokenError::Malformed("it has bytes after its end"));
    }
    if !entries.is_sorted_by(|(a, ..), (b, ..)| a < b) || entries.iter().any(|(_, number, _)| *number == 0) {
        return Err(TokenError::Malformed("its entries are not in order"));
    }
    Ok(entries.into_iter().map(|(name, number, zone)| (name, (number, zone))).collect())
}

impl TokenKey {
    /// A key under the name `id`, which is written into tokens.
    ///
    /// # Errors
    ///
    /// [`TokenError::BadKey`] unless the id is 1 to 32 letters, digits, `-` or `_`, and the secret has at least 16
    /// bytes (take 32 from a good source).
    pub fn new(id: impl Into<String>, secret: impl Into<Vec<u8>>) -> Result<Self, TokenError> {
        let (id, secret) = (id.into(), secret.into());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if id.is_empty() || id.len() > 32 || !id.bytes().all(plain) || secret.len() < 16 {
            return Err(TokenError::BadKey);
        }
        Ok(Self { id, secret })
    }

    fn mac(&self, text: &str) -> Hmac<Sha256> {
        Hmac::<Sha256>::new_from_slice(&self.secret)
            .expect("HMAC takes keys of any length")
            .chain_update(text)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A text that is no token here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Garbage, or cut off.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// Written by a later version of eventsrc.
    #[error("the token has version {0}, which is not known here")]
    UnknownVersion(String),
    /// Unsigned, where signatures are required.
    #[error("the token is not signed")]
    Unsigned,
    /// The signature is not of this text.
    #[error("the token's signature is wrong")]
    Forged,
    /// Signed with a key that is not, or no longer, accepted.
    #[error("the token is signed with key {0:?}, which is not accepted")]
    UnknownKey(String),
    /// Longer than allowed.
    #[error("the token has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its size, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A signing key that cannot be used.
    #[error(
        "a token key needs an id of 1 to 32 letters, digits, '-' or '_', and a secret of at least 16 bytes"
    )]
    BadKey,
}
