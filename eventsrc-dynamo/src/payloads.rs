//! The attributes of payloads and of the values of snapshots. No other file knows their layout.

use std::io::{self, Read, Write};
use std::string::FromUtf8Error;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use crate::item::{Item, Unreadable, take_bytes};

/// Uncompressed payloads: a string if the codec writes text, so that people can read it in a console; otherwise bytes.
pub(crate) const PLAIN: &str = "p";
/// Text in zlib format (RFC 1950).
const DEFLATED_TEXT: &str = "pt";
/// Bytes in zlib format (RFC 1950).
const DEFLATED_BYTES: &str = "pb";

/// Maximum size of decompressed payloads, in bytes: more than a thousand times the largest item. This crate never writes more.
const LARGEST_INFLATED: u64 = 512 << 20;

/// Encoded payloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payloads {
    Text(String),
    Bytes(Vec<u8>),
    DeflatedText(Vec<u8>),
    DeflatedBytes(Vec<u8>),
}

impl Payloads {
    /// Wraps `bytes`, compressed if there are at least `compress_from` of them and compression makes them smaller.
    ///
    /// # Errors
    ///
    /// Returns an error if `is_text` is true and uncompressed `bytes` are not UTF-8.
    pub(crate) fn new(
        is_text: bool,
        bytes: Vec<u8>,
        compress_from: Option<usize>,
    ) -> Result<Self, FromUtf8Error> {
        if compress_from.is_some_and(|from| bytes.len() >= from)
            && let deflated = deflate(&bytes)
            && deflated.len() < bytes.len()
        {
            return Ok(if is_text { Self::DeflatedText(deflated) } else { Self::DeflatedBytes(deflated) });
        }
        if is_text { String::from_utf8(bytes).map(Self::Text) } else { Ok(Self::Bytes(bytes)) }
    }

    /// Returns true for text, and the decompressed bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes cannot be decompressed.
    pub(crate) fn into_bytes(self) -> io::Result<(bool, Vec<u8>)> {
        Ok(match self {
            Self::Text(text) => (true, text.into_bytes()),
            Self::Bytes(bytes) => (false, bytes),
            Self::DeflatedText(bytes) => (true, inflate(&bytes)?),
            Self::DeflatedBytes(bytes) => (false, inflate(&bytes)?),
        })
    }

    pub(crate) fn put_into(self, item: &mut Item) {
        let (name, value) = match self {
            Self::Text(text) => (PLAIN, AttributeValue::S(text)),
            Self::Bytes(bytes) => (PLAIN, AttributeValue::B(Blob::new(bytes))),
            Self::DeflatedText(bytes) => (DEFLATED_TEXT, AttributeValue::B(Blob::new(bytes))),
            Self::DeflatedBytes(bytes) => (DEFLATED_BYTES, AttributeValue::B(Blob::new(bytes))),
        };
        item.insert(name.to_owned(), value);
    }

    /// Takes the payloads from an item. Returns `None` if it has none.
    pub(crate) fn take_from(item: &mut Item) -> Result<Option<Self>, Unreadable> {
        match item.remove(PLAIN) {
            Some(AttributeValue::S(text)) => return Ok(Some(Self::Text(text))),
            Some(AttributeValue::B(bytes)) => return Ok(Some(Self::Bytes(bytes.into_inner()))),
            Some(_) => return Err(Unreadable(PLAIN)),
            None => {}
        }
        if item.contains_key(DEFLATED_TEXT) {
            return take_bytes(item, DEFLATED_TEXT).map(|bytes| Some(Self::DeflatedText(bytes)));
        }
        if item.contains_key(DEFLATED_BYTES) {
            return take_bytes(item, DEFLATED_BYTES).map(|bytes| Some(Self::DeflatedBytes(bytes)));
        }
        Ok(None)
    }
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut deflating = ZlibEncoder::new(Vec::new(), Compression::default());
    let written = deflating.write_all(bytes).and_then(|()| deflating.finish());
    written.expect("a write to memory does not fail")
}

fn inflate(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut inflated = Vec::new();
    ZlibDecoder::new(bytes).take(LARGEST_INFLATED + 1).read_to_end(&mut inflated)?;
    if inflated.len() as u64 > LARGEST_INFLATED {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the decompressed data exceeds the maximum size",
        ));
    }
    Ok(inflated)
}
