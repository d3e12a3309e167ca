//! Contract of a codec.

use std::error::Error;

/// Encodes values of type `T` as bytes and decodes them. A backend receives its codec as an argument.
///
/// - An encoded value decodes to an equal value, with the version that was stored with it. A value that the format cannot
///   hold is refused when it is encoded or checked.
/// - Bytes that are not a value of their version are an error, never a different value and never a panic.
/// - Bytes of a version that the codec does not know are an error that names the version, and bytes of an unknown kind of
///   event are one that names the kind, if the format tells it.
pub trait Codec<T>: Send + Sync + 'static {
    /// Returns the version that [`encode`](Codec::encode) writes; 1 if the format never changed. A backend stores it
    /// next to the bytes.
    fn version(&self) -> u32;

    /// Returns the version that [`encode`](Codec::encode) writes for `value`. It differs from
    /// [`version`](Codec::version) only for values that carry their own version, such as
    /// [`RawPayload`](super::RawPayload). All payloads of a commit have the same version.
    fn version_of(&self, value: &T) -> u32 {
        let _ = value;
        self.version()
    }

    /// True if the bytes are UTF-8 text. A backend that distinguishes text from bytes stores them as text.
    fn is_text(&self) -> bool;

    /// Appends the encoded `value` to `bytes`.
    ///
    /// # Errors
    ///
    /// [`CodecError::Unencodable`] if the codec has no encoding for the value.
    fn encode(&self, value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Checks that `bytes`, which [`encode`](Codec::encode) has just written for `value`, decode to an equal value. A backend
    /// calls it before it stores them.
    ///
    /// serde attributes and formats can lose a part of a value silently: JSON has no NaN, and postcard does not notice a
    /// skipped field. The codecs of this module therefore decode what they have encoded, and compare. The default accepts
    /// everything, for formats that lose nothing. A codec that wraps another one forwards the call.
    ///
    /// Values are compared by `PartialEq`. One that does not equal itself, because it has a NaN, is compared in its serialized
    /// form, bit by bit; a field with `#[serde(skip)]` is not a part of that.
    ///
    /// # Errors
    ///
    /// [`CodecError::Lossy`] if the value would come back as another one, or not at all. It shows no part of the value,
    /// which may be secret.
    fn check(&self, value: &T, bytes: &[u8]) -> Result<(), CodecError> {
        let _ = (value, bytes);
        Ok(())
    }

    /// Decodes `bytes`, which were written with version `version`.
    ///
    /// # Errors
    ///
    /// [`CodecError::Malformed`] if the bytes are not a value of this version; [`CodecError::UnknownVersion`] if the
    /// codec does not know the version.
    fn decode(&self, version: u32, bytes: &[u8]) -> Result<T, CodecError>;

    /// Decodes `bytes`, which were written as one event with version `version`, and appends what they are to `values`: one
    /// value, unless an upcaster drops or splits the event. A codec that wraps another one forwards the call.
    ///
    /// # Errors
    ///
    /// Those of [`decode`](Codec::decode).
    fn decode_event(&self, version: u32, bytes: &[u8], values: &mut Vec<T>) -> Result<(), CodecError> {
        values.push(self.decode(version, bytes)?);
        Ok(())
    }
}

/// Error of encoding a value or decoding bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The codec has no encoding for the value.
    #[error("the value cannot be encoded as version {version}")]
    Unencodable {
        /// Version that was to be written.
        version: u32,
        /// Cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The value would come back as another one, or not at all, so it is not stored.
    #[error("the value would not come back as it is from version {version}")]
    Lossy {
        /// Version that was to be written.
        version: u32,
        /// Cause, such as the path of the first difference.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The bytes are not a value of their version.
    #[error("the bytes are not a payload of version {version}")]
    Malformed {
        /// Version stored with the bytes.
        version: u32,
        /// Cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A later version of the service wrote the bytes, or a version whose upcaster was removed.
    #[error("payload version {version} is unknown; this codec reads versions {oldest} to {current}")]
    UnknownVersion {
        /// Version stored with the bytes.
        version: u32,
        /// Oldest version that the codec reads.
        oldest: u32,
        /// Version that the codec writes.
        current: u32,
    },
    /// A later version of the service wrote the bytes: it has kinds of events, or of values in them, that the type of this
    /// one lacks.
    #[error("the bytes have a kind that is unknown here")]
    UnknownKind {
        /// Cause, which names the kind.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl CodecError {
    /// True if a newer process wrote the bytes, so that a newer codec can decode them.
    pub fn is_too_new(&self) -> bool {
        match self {
            Self::UnknownVersion { version, current, .. } => version > current,
            Self::UnknownKind { .. } => true,
            Self::Unencodable { .. } | Self::Lossy { .. } | Self::Malformed { .. } => false,
        }
    }
}

/// Returns the version that all `payloads` of a commit have in common.
///
/// # Errors
///
/// The index of the first payload of another version than the first one, and [`CodecError::Unencodable`].
pub fn common_version<T, C: Codec<T> + ?Sized>(
    codec: &C,
    payloads: &[T],
) -> Result<u32, (usize, CodecError)> {
    let version = payloads.first().map_or_else(|| codec.version(), |first| codec.version_of(first));
    let mut versions = payloads.iter().map(|payload| codec.version_of(payload)).enumerate();
    match versions.find(|(_, other)| *other != version) {
        None => Ok(version),
        Some((index, other)) => {
            let source = format!("the first payload of its commit has version {version}").into();
            Err((index, CodecError::Unencodable { version: other, source }))
        }
    }
}

/// Rejects every version except 1, the version of a codec that never changed.
pub(super) fn expect_version_one(version: u32) -> Result<(), CodecError> {
    if version == 1 { Ok(()) } else { Err(CodecError::UnknownVersion { version, oldest: 1, current: 1 }) }
}
