//! A compact binary codec.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::contract::{Codec, CodecError, expect_version_one};

/// [postcard](https://postcard.jamesmunns.com/wire-format) by serde, at version 1: a fifth to a half of the size of
/// JSON and about four times as fast, but positional, so that any change of the type is a new
/// [version](super::Versioned), and unreadable in a console.
#[derive(Debug, Clone, Copy, Default)]
pub struct Postcard;

impl<T: Serialize + DeserializeOwned> Codec<T> for Postcard {
    fn version(&self) -> u32 {
        1
    }

    fn is_text(&self) -> bool {
        false
    }

    fn encode(&self, value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        postcard::to_io(value, bytes)
            .map(drop)
            .map_err(|error| CodecError::Unencodable { version: 1, source: error.into() })
    }

    fn decode(&self, version: u32, bytes: &[u8]) -> Result<T, CodecError> {
        expect_version_one(version)?;
        let malformed = |source| CodecError::Malformed { version, source };
        let (value, rest) = postcard::take_from_bytes(bytes).map_err(|error| malformed(error.into()))?;
        if rest.is_empty() { Ok(value) } else { Err(malformed("there are bytes after the end".into())) }
    }
}
