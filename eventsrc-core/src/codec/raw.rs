//! Payloads that are copied without being decoded.

use super::contract::{Codec, CodecError};

/// Copies payloads of any version as they are stored. It serves programs that do not know the types of the events,
/// such as a bridge from one store to another.
///
/// Use [`TEXT`](Self::TEXT) or [`BINARY`](Self::BINARY), according to [`Codec::is_text`] of the codec that wrote the
/// bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawCodec {
    is_text: bool,
}

impl RawCodec {
    /// Codec for payloads that are text, such as those of [`Json`](super::Json).
    pub const TEXT: Self = Self { is_text: true };

    /// Codec for binary payloads, such as those of [`Postcard`](super::Postcard).
    pub const BINARY: Self = Self { is_text: false };
}

/// Payload as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPayload {
    /// Version stored with the bytes.
    pub version: u32,
    /// Encoded payload; UTF-8 if payloads are text.
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
    fn payloads_of_another_codec_are_copied_unchanged() {
        let packed = EncodedPayloads::encode(&Json, &vec1!["a".to_owned(), "b,]".to_owned()]).unwrap();
        for version in [1, 7] {
            let copied =
                EncodedPayloads::decode(&RawCodec::TEXT, version, &packed.bytes, &packed.lengths).unwrap();
            assert_eq!(copied[..], [encoded(version, r#""a""#), encoded(version, r#""b,]""#)]);
            let again = EncodedPayloads::encode(&RawCodec::TEXT, &copied).unwrap();
            assert_eq!(again, EncodedPayloads { version, ..packed.clone() });
        }
    }

    #[test]
    fn a_commit_of_two_versions_is_rejected() {
        let (index, error) =
            EncodedPayloads::encode(&RawCodec::TEXT, &vec1![encoded(1, "1"), encoded(2, "2")]).unwrap_err();
        assert!(matches!(error, CodecError::Unencodable { version: 2, .. }), "{error:?}");
        assert_eq!(index, 1);
    }

    #[test]
    fn text_that_is_not_utf_8_is_rejected() {
        assert!(matches!(RawCodec::TEXT.decode(3, b"\xff"), Err(CodecError::Malformed { version: 3, .. })));
        let value = RawPayload { version: 3, bytes: vec![0xff] };
        let error = RawCodec::TEXT.encode(&value, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, CodecError::Unencodable { version: 3, .. }));
        assert_eq!(RawCodec::BINARY.decode(3, b"\xff").unwrap(), value);
    }
}
