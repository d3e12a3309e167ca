//! Keys and names of streams.

use std::borrow::Cow;
use std::fmt;
use std::hash::Hash;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Key of one stream: a category, which is the kind of stream (`user`), and an id (`42`).
///
/// A service defines its own key types, so that the id of a user is never mistaken for the id of a group. Storages store
/// the two texts and restore the key with [`from_parts`](StreamKey::from_parts). In a system with tenants, the tenant is
/// part of the id: a key of one tenant then never reads a stream of another.
///
/// # Laws
///
/// - **parts round-trip:** `from_parts(k.category(), &k.id()) == Some(k)`, so different keys have different parts;
/// - **parts are well-formed**, as [`StreamName::new`] requires; a storage rejects any other key and stores nothing, and
///   creates no stream whose name is longer than [`StreamName::LONGEST`].
pub trait StreamKey: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static {
    /// Returns the kind of stream.
    fn category(&self) -> &str;

    /// Returns the id of the stream in its category.
    fn id(&self) -> Cow<'_, str>;

    /// Returns the key with these parts; `None` if this type has no such key.
    fn from_parts(category: &str, id: &str) -> Option<Self>;
}

/// Name of a stream of any key type, written `category/id`.
///
/// Tokens, errors and logs contain stream names. `StreamName` is also the simplest [`StreamKey`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName {
    text: String,
    slash: usize,
}

impl StreamName {
    /// Length in bytes of the longest name, `category/id` in UTF-8, that every backend stores: keys of DynamoDB and index
    /// rows of Postgres have limits of little more than 2,000 bytes.
    pub const LONGEST_EVERYWHERE: usize = 1_024;

    /// Length in bytes of the longest name of a new stream in any backend. Longer names of streams that are already stored
    /// are valid.
    pub const LONGEST: usize = 16_384;

    /// Creates the name `category/id`.
    ///
    /// # Errors
    ///
    /// [`InvalidStreamName`] if a part is empty or contains U+0000 (which Postgres cannot store), or if the category
    /// contains `/`.
    pub fn new(category: &str, id: &str) -> Result<Self, InvalidStreamName> {
        let text = format!("{category}/{id}");
        match Self::split(&text) {
            Some((first, _)) if first.len() == category.len() => Ok(Self { text, slash: category.len() }),
            _ => Err(InvalidStreamName(text)),
        }
    }

    /// Splits the text of a name into category and id, without an allocation; `None` if it is not a valid name.
    pub fn split(text: &str) -> Option<(&str, &str)> {
        let (category, id) = text.split_once('/')?;
        (!category.is_empty() && !id.is_empty() && !text.contains('\0')).then_some((category, id))
    }

    /// Returns the name of the stream of `key`.
    ///
    /// # Errors
    ///
    /// [`InvalidStreamName`] as for [`new`](StreamName::new).
    pub fn of<K: StreamKey>(key: &K) -> Result<Self, InvalidStreamName> {
        Self::new(key.category(), &key.id())
    }

    /// Returns the kind of stream.
    pub fn category(&self) -> &str {
        &self.text[..self.slash]
    }

    /// Returns the id of the stream in its category.
    pub fn id(&self) -> &str {
        &self.text[self.slash + 1..]
    }

    /// Returns the name as text, `category/id`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl StreamKey for StreamName {
    fn category(&self) -> &str {
        self.category()
    }

    fn id(&self) -> Cow<'_, str> {
        self.id().into()
    }

    fn from_parts(category: &str, id: &str) -> Option<Self> {
        Self::new(category, id).ok()
    }
}

impl FromStr for StreamName {
    type Err = InvalidStreamName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once('/').map_or_else(|| Err(InvalidStreamName(text.into())), |(c, id)| Self::new(c, id))
    }
}

impl TryFrom<String> for StreamName {
    type Error = InvalidStreamName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<StreamName> for String {
    fn from(name: StreamName) -> Self {
        name.text
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Error for a key or a text that is not a valid stream name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a stream name: use `category/id`, both non-empty, without U+0000, and without `/` in the category"
)]
pub struct InvalidStreamName(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_round_trips_through_its_text() {
        let name = StreamName::new("user", "acme/42").unwrap();
        assert_eq!((name.category(), name.id()), ("user", "acme/42"));
        assert_eq!(name.to_string().parse(), Ok(name));
    }

    #[test]
    fn ambiguous_or_unstorable_parts_are_rejected() {
        for (category, id) in [("", "1"), ("user", ""), ("a/b", "1"), ("user", "a\0b"), ("us\0er", "1")] {
            assert!(StreamName::new(category, id).is_err(), "{category:?} {id:?}");
        }
        assert!("user".parse::<StreamName>().is_err());
    }
}
