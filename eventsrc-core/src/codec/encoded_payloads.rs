//! Layout of the payloads of a commit as one sequence of bytes. No other file knows it.
//!
//! Text payloads are joined to a JSON array, `[a,b,c]`, so that a commit is readable in a database console. Binary
//! payloads are concatenated. The lengths are stored separately, so that each payload is decoded in one pass: one
//! unsigned LEB128 number for each payload, and no bytes for a commit of one payload.

use super::contract::{Codec, CodecError, common_version};
use crate::commit::Payloads;
use crate::commit::payloads::PayloadsDecoder;

/// Encoded payloads of one commit, for a backend to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPayloads {
    /// Version of the payloads.
    pub version: u32,
    /// True if `bytes` is UTF-8 text.
    pub text: bool,
    /// Encoded payloads.
    pub bytes: Vec<u8>,
    /// Encoded lengths of the payloads; empty for one payload.
    pub lengths: Vec<u8>,
}

impl EncodedPayloads {
    /// Encodes `payloads` with `codec`, and checks that they come back as they are.
    ///
    /// # Errors
    ///
    /// The index (from 0) and the [`CodecError`] of the first payload that cannot be encoded, or would not come back.
    pub fn encode<T, C: Codec<T> + ?Sized>(codec: &C, payloads: &[T]) -> Result<Self, (usize, CodecError)> {
        let (version, text) = (common_version(codec, payloads)?, codec.is_text());
        let (mut bytes, mut lengths) = (Vec::new(), Vec::new());
        for (index, payload) in payloads.iter().enumerate() {
            if text {
                bytes.push(if index == 0 { b'[' } else { b',' });
            }
            let start = bytes.len();
            codec.encode(payload, &mut bytes).map_err(|error| (index, error))?;
            codec.check(payload, &bytes[start..]).map_err(|error| (index, error))?;
            if payloads.len() > 1 {
                push_length(&mut lengths, bytes.len() - start);
            }
        }
        if text {
            bytes.push(b']');
        }
        Ok(Self { version, text, bytes, lengths })
    }

    /// Decodes the payloads.
    ///
    /// # Errors
    ///
    /// The index (from 0) and the [`CodecError`] of the first payload that cannot be decoded.
    pub fn decode<T, C: Codec<T> + ?Sized>(
        codec: &C,
        version: u32,
        bytes: &[u8],
        lengths: &[u8],
    ) -> Result<Payloads<T>, (usize, CodecError)> {
        let frame = usize::from(codec.is_text());
        let truncated = |index| {
            move || (index, CodecError::Malformed { version, source: "the commit is truncated".into() })
        };
        if lengths.is_empty() {
            let end = bytes.len().saturating_sub(frame);
            let mut payloads = PayloadsDecoder::with_capacity(1);
            payloads
                .decode(codec, version, bytes.get(frame..end).ok_or_else(truncated(0))?)
                .map_err(|error| (0, error))?;
            return payloads.finish().ok_or_else(truncated(0));
        }
        // The last byte of a length has no top bit.
        let mut payloads =
            PayloadsDecoder::with_capacity(lengths.iter().filter(|byte| **byte < 0x80).count());
        let (mut start, mut lengths) = (frame, lengths);
        while !lengths.is_empty() {
            let index = payloads.event_count();
            let length = take_length(&mut lengths).ok_or_else(truncated(index))?;
            let end = start.checked_add(length).ok_or_else(truncated(index))?;
            let payload = bytes.get(start..end).ok_or_else(truncated(index))?;
            payloads.decode(codec, version, payload).map_err(|error| (index, error))?;
            start = end + frame;
        }
        if start != bytes.len() {
            return Err(truncated(payloads.event_count())());
        }
        payloads.finish().ok_or_else(truncated(0))
    }
}

fn push_length(lengths: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        lengths.push(length as u8 | 0x80);
        length >>= 7;
    }
    lengths.push(length as u8);
}

fn take_length(lengths: &mut &[u8]) -> Option<usize> {
    let mut length = 0usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (byte, rest) = lengths.split_first()?;
        *lengths = rest;
        length |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use vec1::vec1;

    use super::*;
    use crate::codec::json::Json;
    use crate::codec::postcard::Postcard;

    #[test]
    fn a_commit_of_text_is_a_json_array() {
        let packed = EncodedPayloads::encode(&Json, &vec1!["a".to_owned(), "b,]".to_owned()]).unwrap();
        assert_eq!(packed.bytes, br#"["a","b,]"]"#);
        assert_eq!(
            EncodedPayloads::decode::<String, _>(&Json, 1, &packed.bytes, &packed.lengths).unwrap()[..],
            ["a".to_owned(), "b,]".into()]
        );
    }

    #[test]
    fn long_and_empty_payloads_round_trip() {
        let payloads = vec1![String::new(), "x".repeat(300), String::new()];
        let packed = EncodedPayloads::encode(&Postcard, &payloads).unwrap();
        assert_eq!(
            EncodedPayloads::decode::<String, _>(&Postcard, 1, &packed.bytes, &packed.lengths).unwrap()[..],
            payloads[..]
        );
    }

    #[test]
    fn the_first_payload_that_would_not_come_back_is_named() {
        let payloads = vec1![Some(Some(1)), Some(Some(2)), Some(None), Some(None)];
        let (index, error) = EncodedPayloads::encode(&Json, &payloads).unwrap_err();
        assert!(matches!(error, CodecError::Lossy { version: 1, .. }), "{error:?}");
        assert_eq!(index, 2);
    }

    #[test]
    fn a_truncated_commit_names_the_payload() {
        let packed = EncodedPayloads::encode(&Json, &vec1![1, 22, 333]).unwrap();
        let decode =
            |bytes, lengths| EncodedPayloads::decode::<u32, _>(&Json, 1, bytes, lengths).unwrap_err().0;
        assert_eq!(decode(&packed.bytes[..5], &packed.lengths), 2);
        assert_eq!(decode(&packed.bytes, &packed.lengths[..2]), 2);
        assert_eq!(decode(b"", b""), 0);
        assert_eq!(decode(&packed.bytes, &[0xff; 12]), 0);
    }
}
