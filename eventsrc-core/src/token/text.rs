//! Text form of tokens, which is safe in an HTTP header. No other file knows its layout.
//!
//! The text is `2.PAYLOAD`, or `2.PAYLOAD.KEYID.MAC` with a signature. The payload is base64url (RFC 4648 §5, without
//! padding) of the postcard encoding of `[(name, number, zone, commit id)]`, ascending by name. The commit id is optional,
//! and absent without a signature. The MAC is base64url of HMAC-SHA-256 (RFC 2104) over the text before the last dot.
//! Texts of version 1, written by eventsrc 0.1, are read too; their entries have no commit id.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::de::DeserializeOwned;
use sha2::Sha256;
use uuid::Uuid;

use super::set::{Position, Token, TokenPosition};
use crate::commit_id::CommitId;
use crate::stream::{StreamName, Zone};

/// Encodes tokens as text and decodes them, with or without signatures. The text is limited to 4096 bytes by default.
#[derive(Debug, Clone)]
pub struct TokenCodec {
    keys: Vec<TokenKey>,
    limit: usize,
}

/// Secret for signing tokens, and the id that identifies it in a token.
#[derive(Clone)]
pub struct TokenKey {
    id: String,
    secret: Vec<u8>,
}

/// Default limit of the text, in bytes.
const DEFAULT_LIMIT: usize = 4096;

impl TokenCodec {
    /// Creates a codec without signatures. Any holder can change such a token, so decoded tokens are not trusted.
    pub fn unsigned() -> Self {
        Self { keys: Vec::new(), limit: DEFAULT_LIMIT }
    }

    /// Creates a codec that signs tokens with `key`. It also accepts tokens signed with a key of `accepted`, which
    /// allows key rotation.
    pub fn signed(key: TokenKey, accepted: impl IntoIterator<Item = TokenKey>) -> Self {
        Self { keys: std::iter::once(key).chain(accepted).collect(), limit: DEFAULT_LIMIT }
    }

    /// Sets the limit of the text, in bytes. Default: 4096.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Encodes `token` as text of letters, digits and `-_.` only.
    ///
    /// # Errors
    ///
    /// [`TokenError::TooLarge`] if the text exceeds the limit. Encode a token of fewer streams: those that the reader
    /// needs.
    pub fn encode(&self, token: &Token) -> Result<String, TokenError> {
        let entries: Vec<_> = token
            .positions
            .iter()
            .map(|(name, Position { at, commit_id })| {
                let id = commit_id.filter(|_| !self.keys.is_empty());
                (name.as_str(), at.number, at.zone, id.map(|id| id.0.into_bytes()))
            })
            .collect();
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

    /// Decodes the token in `text`. The token is trusted if it is signed with a key of this codec.
    ///
    /// # Errors
    ///
    /// [`TokenError`], with one variant for each defect of a text. A codec that signs rejects unsigned texts.
    pub fn decode(&self, text: &str) -> Result<Token, TokenError> {
        self.check_size(text.len())?;
        let (version, rest) = text.split_once('.').ok_or(TokenError::Malformed("it has no parts"))?;
        if ![VERSION, WITHOUT_IDS].contains(&version) {
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
        let positions = decode_payload(payload, version == VERSION)?;
        Ok(if trusted { Token::from(positions).vouched() } else { Token::from(positions) })
    }

    /// Returns true if the signature is valid. A codec without keys ignores the signature, and the token is not trusted.
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

/// Version that this codec writes.
const VERSION: &str = "2";

/// Version of eventsrc 0.1, whose entries have no commit ids.
const WITHOUT_IDS: &str = "1";

fn decode_payload(payload: &str, with_ids: bool) -> Result<BTreeMap<StreamName, Position>, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenError::Malformed("it is not base64url"))?;
    let (entries, rest) = if with_ids {
        take_entries::<(StreamName, u64, Zone, Option<[u8; 16]>)>(&bytes)?
    } else {
        let (entries, rest) = take_entries::<(StreamName, u64, Zone)>(&bytes)?;
        (entries.into_iter().map(|(name, number, zone)| (name, number, zone, None)).collect(), rest)
    };
    if !rest.is_empty() {
        return Err(TokenError::Malformed("it has bytes after its end"));
    }
    if !entries.is_sorted_by(|(a, ..), (b, ..)| a < b) || entries.iter().any(|(_, number, ..)| *number == 0) {
        return Err(TokenError::Malformed("its entries are not in order"));
    }
    let position = |(name, number, zone, id): (StreamName, u64, Zone, Option<[u8; 16]>)| {
        let commit_id = id.map(|bytes| CommitId(Uuid::from_bytes(bytes)));
        (name, Position { at: TokenPosition { number, zone }, commit_id })
    };
    Ok(entries.into_iter().map(position).collect())
}

fn take_entries<T: DeserializeOwned>(bytes: &[u8]) -> Result<(Vec<T>, &[u8]), TokenError> {
    postcard::take_from_bytes(bytes).map_err(|_| TokenError::Malformed("it is truncated or is not a token"))
}

impl TokenKey {
    /// Creates a key. Each token that it signs contains `id`.
    ///
    /// # Errors
    ///
    /// [`TokenError::BadKey`] unless `id` has 1 to 32 letters, digits, `-` or `_`, and the secret has at least 16 bytes.
    /// Use 32 bytes from a cryptographically secure source.
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

/// Error of encoding or decoding a token, or of creating a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The text is not a token, or is truncated.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// A later version of eventsrc wrote the token.
    #[error("the token has version {0}, which this version of eventsrc cannot read")]
    UnknownVersion(String),
    /// The token is not signed, and this codec requires signatures.
    #[error("the token is not signed")]
    Unsigned,
    /// The signature does not match the text.
    #[error("the token's signature is wrong")]
    Forged,
    /// The token is signed with a key that is not, or no longer, accepted.
    #[error("the token is signed with key {0:?}, which is not accepted")]
    UnknownKey(String),
    /// The text is longer than the limit of the codec.
    #[error("the token has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Size of the text, in bytes.
        size: usize,
        /// Limit of the codec, in bytes.
        limit: usize,
    },
    /// The id or the secret of a signing key is not usable.
    #[error(
        "a token key needs an id of 1 to 32 letters, digits, '-' or '_', and a secret of at least 16 bytes"
    )]
    BadKey,
}
