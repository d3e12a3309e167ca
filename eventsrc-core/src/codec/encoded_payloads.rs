//! The payloads of a commit in one run of bytes. This file alone knows the layout.
//!
//! Text payloads are joined to a JSON array, `[a,b,c]`, so that a commit stays readable where it is stored; binary
//! ones follow each other. The lengths stand apart, so that each payload is decoded in one pass: unsigned LEB128, one
//! a payload, and nothing at all for a commit of one.

use vec1::Vec1;

use super::contract::{Codec, CodecError, common_version};

/// The payloads of one commit, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPayloads {
    /// The payloads' version.
    pub version: u32,
    /// Whether `bytes` is UTF-8 text.
    pub text: bool,
    /// The payloads.
    pub bytes: Vec<u8>,
    /// Where they end; empty for one payload.
    pub lengths: Vec<u8>,
}

impl EncodedPayloads {
    /// Encodes `payloads` with `codec`.
    ///
    /// # Errors
    ///
    /// The [`CodecError`] of the payload that cannot be encoded.
    pub fn encode<T, C: Codec<T> + ?Sized>(codec: &C, payloads: &Vec1<T>) -> Result<Self, CodecError> {
        let (version, text) = (common_version(codec, payloads)?, codec.is_text());
        let (mut bytes, mut lengths) = (Vec::new(), Vec::new());
        for (place, payload) in payloads.iter().enumerate() {
            if text {
                bytes.push(if place == 0 { b'[' } else { b',' });
            }
            let start = bytes.len();
            codec.encode(payload, &mut bytes)?;
            if payloads.len() > 1 {
                push_length(&mut lengths, bytes.len() - start);
            }
        }
        if text {
            bytes.push(b']');
        }
        Ok(Self { version, text, bytes, lengths })
    }

    /// Decodes the payloads; an error comes with the place of the payload that cannot be read, from 0.
    ///
    /// # Errors
    ///
    /// The [`CodecError`] of the first payload that cannot be read.
    pub fn decode<T, C: Codec<T> + ?Sized>(
        codec: &C,
        version: u32,
        bytes: &[u8],
        lengths: &[u8],
    ) -> Result<Vec1<T>, (usize, CodecError)> {
        let frame = usize::from(codec.is_text());
        let cut_off = |place| {
            move || (place, CodecError::Malformed { version, source: "the commit is cut off".into() })
        };
        if lengths.is_empty() {
            let end = bytes.len().saturating_sub(frame);
            let payload = codec.decode(version, bytes.get(frame..end).ok_or_else(cut_off(0))?);
            // `Vec1::new` takes room for four.
            return payload.map(|payload| Vec1::with_capacity(payload, 1)).map_err(|error| (0, error));
        }
        // A length ends with the byte that has no top bit.
        let mut payloads = Vec::with_capacity(lengths.iter().filter(|byte| **byte < 0x80).count());
        let (mut start, mut lengths) = (frame, lengths);
        while !lengths.is_empty() {
            let place = payloads.len();
            let length = take_length(&mut lengths).ok_or_else(cut_off(place))?;
            let end = start.checked_add(length).ok_or_else(cut_off(place))?;
            let payload = bytes.get(start..end).ok_or_else(cut_off(place))?;
            payloads.push(codec.decode(version, payload).map_err(|error| (place, error))?);
            start = end + frame;
        }
        if start != bytes.len() {
            return Err(cut_off(payloads.len())());
        }
        Vec1::try_from_vec(payloads).map_err(|_| cut_off(0)())
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
            EncodedPayloads::decode::<String, _>(&Json, 1, &packed.bytes, &packed.lengths).unwrap(),
            vec1!["a".to_owned(), "b,]".into()]
        );
    }

    #[test]
    fn long_and_empty_payloads_come_back() {
        let payloads = vec1![String::new(), "x".repeat(300), String::new()];
        let packed = EncodedPayloads::encode(&Postcard, &payloads).unwrap();
        assert_eq!(
            EncodedPayloads::decode::<String, _>(&Postcard, 1, &packed.bytes, &packed.lengths).unwrap(),
            payloads
        );
    }

    #[test]
    fn a_commit_that_is_cut_off_names_the_payload() {
        let packed = EncodedPayloads::encode(&Json, &vec1![1, 22, 333]).unwrap();
        let decode =
            |bytes, lengths| EncodedPayloads::decode::<u32, _>(&Json, 1, bytes, lengths).unwrap_err().0;
        assert_eq!(decode(&packed.bytes[..5], &packed.lengths), 2);
        assert_eq!(decode(&packed.bytes, &packed.lengths[..2]), 2);
        assert_eq!(decode(b"", b""), 0);
        assert_eq!(decode(&packed.bytes, &[0xff; 12]), 0);
    }
}
