//! JSON, the default codec. It is readable in every database console.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::contract::{Codec, CodecError, expect_version_one};

/// JSON with serde, at version 1. For payloads that change over time, wrap it in [`Versioned`](super::Versioned).
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn version(&self) -> u32 {
        1
    }

    fn is_text(&self) -> bool {
        true
    }

    fn encode(&self, value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        serde_json::to_writer(bytes, value)
            .map_err(|error| CodecError::Unencodable { version: 1, source: error.into() })
    }

    fn decode(&self, version: u32, bytes: &[u8]) -> Result<T, CodecError> {
        expect_version_one(version)?;
        let malformed = |source| CodecError::Malformed { version, source };
        // One UTF-8 check of the whole text; `from_slice` would check each string.
        let text = std::str::from_utf8(bytes).map_err(|error| malformed(error.into()))?;
        serde_json::from_str(text).map_err(|error| malformed(error.into()))
    }
}
