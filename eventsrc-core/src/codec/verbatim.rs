//! Payloads that are carried and not looked into.

use super::{Codec, CodecError};

/// Leaves payloads as they are stored, of whatever version: for programs that carry the events of any service, such as a bridge
/// from one store to another, and do not know their types.
///
/// It has to be said what the bytes are, as [`Codec::is_text`] of the codec that wrote them does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verbatim {
    is_text: bool,
}

impl Verbatim {
    /// Of payloads that are text, such as [`Json`](super::Json).
    pub const TEXT: Self = Self { is_text: true };

    /// Of payloads that are not.
    pub const BINARY: Self = Self { is_text: false };
}

/// A payload as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The version that was written with it.
    pub version: u32,
    /// The bytes, which are UTF-8 where payloads are text.
    pub bytes: Vec<u8>,
}

impl Codec<Encoded> for Verbatim {
    fn version(&self) -> u32 {
        1
    }

    fn version_of(&self, value: &Encoded) -> u32 {
        value.version
    }

    fn is_text(&self) -> bool {
        self.is_text
    }

    fn encode(&self, value: &Encoded, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        if self.is_text {
            let unencodable =
                |error| CodecError::Unencodable { version: value.version, source: Box::new(error) };
            std::str::from_utf8(&value.bytes).map_err(unencodable)?;
        }
        bytes.extend_from_slice(&value.bytes);
        Ok(())
    }

    fn decode(&self, version: u32, bytes: &[u8]) -> Result<Encoded, CodecError> {
        if self.is_text {
            let malformed = |error| CodecError::Malformed { version, source: Box::new(error) };
            std::str::from_utf8(bytes).map_err(malformed)?;
        }
        Ok(Encoded { version, bytes: bytes.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use vec1::vec1;

    use super::*;
    use crate::codec::{Json, Packed};

    fn encoded(version: u32, text: &str) -> Encoded {
        Encoded { version, bytes: text.into() }
    }

    #[test]
    fn what_another_codec_wrote_goes_through_as_it_is() {
        let packed = Packed::encode(&Json, &vec1!["a".to_owned(), "b,]".to_owned()]).unwrap();
        for version in [1, 7] {
            let carried = Packed::decode(&Verbatim::TEXT, version, &packed.bytes, &packed.lengths).unwrap();
            assert_eq!(carried, vec1![encoded(version, r#""a""#), encoded(version, r#""b,]""#)]);
            let again = Packed::encode(&Verbatim::TEXT, &carried).unwrap();
            assert_eq!(again, Packed { version, ..packed.clone() });
        }
    }

    #[test]
    fn a_commit_of_two_versions_is_refused() {
        let error = Packed::encode(&Verbatim::TEXT, &vec1![encoded(1, "1"), encoded(2, "2")]).unwrap_err();
        assert!(matches!(error, CodecError::Unencodable { version: 2, .. }), "{error:?}");
    }

    #[test]
    fn text_that_is_none_is_refused() {
        assert!(matches!(Verbatim::TEXT.decode(3, b"\xff"), Err(CodecError::Malformed { version: 3, .. })));
        let value = Encoded { version: 3, bytes: vec![0xff] };
        let error = Verbatim::TEXT.encode(&value, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, CodecError::Unencodable { version: 3, .. }));
        assert_eq!(Verbatim::BINARY.decode(3, b"\xff").unwrap(), value);
    }
}
