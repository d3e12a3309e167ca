//! The contract of a codec.

use std::error::Error;

use vec1::Vec1;

/// Turns values of type `T` into bytes and back; backends take one as an argument.
///
/// - What was encoded is decoded to an equal value, under the version that was written with it.
/// - Bytes that are no value of that version are an error, never another value and never a panic.
/// - Bytes of a version that the codec does not know are an error that names the version.
pub trait Codec<T>: Send + Sync + 'static {
    /// The version that [`encode`](Codec::encode) writes, kept beside the bytes; 1 where nothing was ever changed.
    fn version(&self) -> u32;

    /// The version that [`encode`](Codec::encode) writes of `value`; another one than [`version`](Codec::version) only where
    /// values bring theirs, as those of [`RawCodec`] do. The payloads of one commit are of one version.
    fn version_of(&self, value: &T) -> u32 {
        let _ = value;
        self.version()
    }

    /// Whether the bytes are UTF-8 text, to be kept as such where the backend tells text from bytes.
    fn is_text(&self) -> bool;

    /// Appends the bytes of `value` to `bytes`.
    ///
    /// # Errors
    ///
    /// [`CodecError::Unencodable`].
    fn encode(&self, value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError>;

    /// The value of `bytes`, which were written by version `version`.
    ///
    /// # Errors
    ///
    /// [`CodecError::Malformed`] or [`CodecError::UnknownVersion`].
    fn decode(&self, version: u32, bytes: &[u8]) -> Result<T, CodecError>;
}

/// A value that cannot be written, or bytes that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The value has no bytes in this codec.
    #[error("the value cannot be encoded as version {version}")]
    Unencodable {
        /// The version that was to be written.
        version: u32,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The bytes are no value of their version.
    #[error("the bytes are no payload of version {version}")]
    Malformed {
        /// The version that was written with the bytes.
        version: u32,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Written by a later version of the service, or by one so old that its upcaster is gone.
    #[error("payload version {version} is not known here; this codec reads {oldest} to {current}")]
    UnknownVersion {
        /// The version that was written with the bytes.
        version: u32,
        /// The oldest version that can be read.
        oldest: u32,
        /// The version that is written now.
        current: u32,
    },
}

/// The version of all `payloads` of a commit.
///
/// # Errors
///
/// [`CodecError::Unencodable`] if one of them is of another.
pub fn common_version<T, C: Codec<T> + ?Sized>(codec: &C, payloads: &Vec1<T>) -> Result<u32, CodecError> {
    let version = codec.version_of(payloads.first());
    match payloads.iter().map(|payload| codec.version_of(payload)).find(|other| *other != version) {
        None => Ok(version),
        Some(other) => {
            let source = format!("the first payload of its commit is of version {version}").into();
            Err(CodecError::Unencodable { version: other, source })
        }
    }
}

/// Version 1 is what a codec writes that never changed.
pub(super) fn expect_version_one(version: u32) -> Result<(), CodecError> {
    if version == 1 { Ok(()) } else { Err(CodecError::UnknownVersion { version, oldest: 1, current: 1 }) }
}
