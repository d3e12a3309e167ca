//! JSON, the default codec. It is readable in every database console.

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::contract::{Codec, CodecError, expect_version_one};
use super::read_back::read_back;

/// JSON with serde, at version 1. For payloads that change over time, wrap it in [`Versioned`](super::Versioned).
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

impl<T: Serialize + DeserializeOwned + PartialEq> Codec<T> for Json {
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

    fn check(&self, value: &T, bytes: &[u8]) -> Result<(), CodecError> {
        read_back(self, value, bytes)
    }

    fn decode(&self, version: u32, bytes: &[u8]) -> Result<T, CodecError> {
        expect_version_one(version)?;
        let malformed = |source| CodecError::Malformed { version, source };
        // One UTF-8 check of the whole text; `from_slice` would check each string.
        let text = std::str::from_utf8(bytes).map_err(|error| malformed(error.into()))?;
        serde_json::from_str(text).map_err(|error| {
            // The variant is met first, also in a text that is cut off.
            let is_whole = || serde_json::from_str::<IgnoredAny>(text).is_ok();
            if names_unknown_variant(&error) && is_whole() {
                CodecError::UnknownKind { source: error.into() }
            } else {
                malformed(error.into())
            }
        })
    }
}

/// True if a derived `Deserialize` met a variant that its enum lacks. The text is that of
/// [`serde::de::Error::unknown_variant`], which is all that serde_json keeps of it.
fn names_unknown_variant(error: &serde_json::Error) -> bool {
    error.is_data() && error.to_string().starts_with("unknown variant `")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Colour {
        Red,
        Mixed { with: Vec<Colour> },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Tagged {
        Red,
    }

    #[test]
    fn a_variant_of_a_newer_service_is_told_from_damage() {
        let colour = |text: &str| Codec::<Colour>::decode(&Json, 1, text.as_bytes()).unwrap_err();
        for text in [r#""Blue""#, r#"{"Blue":{}}"#, r#"{"Mixed":{"with":["Red","Blue"]}}"#] {
            let error = colour(text);
            assert!(error.is_too_new(), "{text}: {error:?}");
            assert!(std::error::Error::source(&error).unwrap().to_string().contains("`Blue`"));
        }
        let tagged = Codec::<Tagged>::decode(&Json, 1, br#"{"type":"Blue"}"#).unwrap_err();
        assert!(tagged.is_too_new(), "{tagged:?}");
        for text in
            [r#""Re"#, "7", r#"{"Mixed":{"with":7}}"#, r#"{"Mixed":{}}"#, r#"{"Red":1}"#, r#"{"Blue":{"a"#]
        {
            assert!(matches!(colour(text), CodecError::Malformed { .. }), "{text}");
        }
    }
}
