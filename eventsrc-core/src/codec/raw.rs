//! Payloads that are carried and not looked into.

use super::contract::{Codec, CodecError};

/// Leaves payloads as they are stored, of whatever version: for programs that carry the events of any service, such as a bridge
/// from one store to another, and do not know their types.
///
/// It has to be said what the bytes are, as [`Codec::is_text`] of the codec that wrote them does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawCodec {
    is_text: bool,
}

impl RawCodec {
    /// Of payloads that are text, such as [`Json`](super::Json).
    pub const TEXT: Self = Self { is_text: true };

    /// Of payloads that are not.
    pub const BINARY: Self = Self { is_text: false };
}

/// A payload as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPayload {
    /// The version that was written with it.
    pub version: u32,
    /// The bytes, which are UTF-8 where payloads are text.
    pub bytes: Vec<u8>,
}

impl Codec<RawPayload> for RawCodec {
    fn version(&self) -> u32 {
        1
    }

    fn version_of(&self, value: &RawPayload) -> u32 {
        value.version
    }

    fn is_text(&self) -> bool {
        self.is_text
    }

    fn encode(&self, value: &RawPayload, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        if self.is_text {
            let unencodable =
                |error| CodecError::Unencodable { version: value.version, source: Box::new(error) };
            std::str::from_utf8(&value.bytes).map_err(unencodable)?;
        }
        bytes.extend_from_slice(&value.bytes);
        Ok(())
    }

    fn decode(&self, version: u32, bytes: &[u8]) -> Result<RawPayload, CodecError> {
        if self.is_text {
            let malformed = |error| CodecError::Malformed { version, source: Box::new(error) };
            std::str::from_utf8(bytes).map_err(malformed)?;
        }
        Ok(RawPayload { version, bytes: bytes.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use vec1::vec1;

    use super::*;
    use crate::codec::encoded_payloads::EncodedPayloads;
    use crate::codec::json::Json;

    fn encoded(version: u32, text: &str) -> RawPayload {
        RawPayload { version, bytes: text.into() }
    }

    #[test]
    fn what_another_codec_wrote_goes_through_as_it_is() {
        let packed = EncodedPayloads::encode(&Json, &vec1!["a".to_owned(), "b,]".to_owned()]).unwrap();
        for version in [1, 7] {
            let carried =
                EncodedPayloads::decode(&RawCodec::TEXT, version, &packed.bytes, &packed.lengths).unwrap();
            assert_eq!(carried, vec1![encoded(version, r#""a""#), encoded(version, r#""b,]""#)]);
            let again = EncodedPayloads::encode(&RawCodec::TEXT, &carried).unwrap();
            assert_eq!(again, EncodedPayloads { version, ..packed.clone() });
        }
    }

    #[test]
    fn a_commit_of_two_versions_is_refused() {
        let error =
            EncodedPayloads::encode(&RawCodec::TEXT, &vec1![encoded(1, "1"), encoded(2, "2")]).unwrap_err();
        assert!(matches!(error, CodecError::Unencodable { version: 2, .. }), "{error:?}");
    }

    #[test]
    fn text_that_is_none_is_refused() {
        assert!(matches!(RawCodec::TEXT.decode(3, b"\xff"), Err(CodecError::Malformed { version: 3, .. })));
        let value = RawPayload { version: 3, bytes: vec![0xff] };
        let error = RawCodec::TEXT.encode(&value, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, CodecError::Unencodable { version: 3, .. }));
        assert_eq!(RawCodec::BINARY.decode(3, b"\xff").unwrap(), value);
    }
}
