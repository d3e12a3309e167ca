//! Comparison of a value with the one that its encoded bytes decode to.

mod difference;
#[cfg(test)]
mod properties;
mod reason;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_content::Serializer;

use super::contract::{Codec, CodecError};
use difference::difference;
use reason::reason;

/// Checks that `bytes`, which `codec` has just written, decode to a value that equals `value`.
///
/// # Errors
///
/// [`CodecError::Lossy`], with the path of the difference. It has no part of the value, which may be secret.
pub(super) fn read_back<T, C>(codec: &C, value: &T, bytes: &[u8]) -> Result<(), CodecError>
where
    T: Serialize + DeserializeOwned + PartialEq,
    C: Codec<T>,
{
    let version = codec.version_of(value);
    let lossy = |what: String| Err(CodecError::Lossy { version, source: what.into() });
    let decoded = match codec.decode(version, bytes) {
        Ok(decoded) => decoded,
        Err(error) => return lossy(format!("it cannot be read back: {}", reason(&error))),
    };
    if decoded == *value {
        return Ok(());
    }
    // Either a real difference, or a value that does not equal itself, such as one with a NaN.
    let tree = |value| Serializer::new().serialize(value);
    let (Ok(stored), Ok(back)) = (tree(value), tree(&decoded)) else {
        return lossy("it comes back different, in a part that cannot be told".into());
    };
    if let Some(path) = difference(&stored, &back) {
        return lossy(format!("it comes back different at {path}"));
    }
    #[expect(clippy::eq_op, reason = "a value with a NaN does not equal itself")]
    let equals_itself = *value == *value;
    if equals_itself {
        return lossy(
            "it comes back different in a part that is not serialized, or as another variant".into(),
        );
    }
    Ok(())
}
