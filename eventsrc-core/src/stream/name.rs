//! Keys, which name streams.

use std::borrow::Cow;
use std::fmt;
use std::hash::Hash;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What names one stream: a category (the kind of stream, `user`) and an id (`42`).
///
/// A service has its own key types, so that a user's id is never taken for a group's. Storages keep the two
/// texts and give the key back with [`from_parts`](StreamKey::from_parts). A tenant, where there is one, is
/// part of the id: a key of one tenant then never reads a stream of another.
///
/// # Laws
///
/// - **parts round-trip:** `from_parts(k.category(), &k.id()) == Some(k)`, so different keys have different parts;
/// - **parts are well-formed** as [`StreamName::new`] defines it; a key that is not is refused before anything is stored.
pub trait StreamKey: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static {
    /// The kind of stream.
    fn category(&self) -> &str;

    /// Which one of its kind.
    fn id(&self) -> Cow<'_, str>;

    /// The key of these parts; `None` if they are not of this type.
    fn from_parts(category: &str, id: &str) -> Option<Self>;
}

/// The name of a stream of any type, written `category/id`.
///
/// It is what tokens, errors and logs carry, and the simplest [`StreamKey`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName {
    text: String,
    slash: usize,
}

impl StreamName {
    /// The name made of `category` and `id`.
    ///
    /// # Errors
    ///
    /// [`InvalidStreamName`] unless both are non-empty and free of U+0000 (Postgres refuses it), and the
    /// category has no `/`.
    pub fn new(category: &str, id: &str) -> Result<Self, InvalidStreamName> {
        let text = format!("{category}/{id}");
        match Self::split(&text) {
            Some((first, _)) if first.len() == category.len() => Ok(Self { text, slash: category.len() }),
            _ => Err(InvalidStreamName(text)),
        }
    }

    /// The category and the id of a name that is not made for it; `None` if it is no name of a stream.
    pub fn split(text: &str) -> Option<(&str, &str)> {
        let (category, id) = text.split_once('/')?;
        (!category.is_empty() && !id.is_empty() && !text.contains('\0')).then_some((category, id))
    }

    /// The name of the stream that `key` names.
    ///
    /// # Errors
    ///
    /// [`InvalidStreamName`] as for [`new`](StreamName::new).
    pub fn of<K: StreamKey>(key: &K) -> Result<Self, InvalidStreamName> {
        Self::new(key.category(), &key.id())
    }

    /// The kind of stream.
    pub fn category(&self) -> &str {
        &self.text[..self.slash]
    }

    /// Which one of its kind.
    pub fn id(&self) -> &str {
        &self.text[self.slash + 1..]
    }

    /// `category/id`.
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

/// A key whose parts cannot name a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no stream: a name is `category/id`, both non-empty, without U+0000, and no `/` in the category"
)]
pub struct InvalidStreamName(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_from_its_text() {
        let name = StreamName::new("user", "acme/42").unwrap();
        assert_eq!((name.category(), name.id()), ("user", "acme/42"));
        assert_eq!(name.to_string().parse(), Ok(name));
    }

    #[test]
    fn parts_that_would_be_ambiguous_or_unstorable_are_refused() {
        for (category, id) in [("", "1"), ("user", ""), ("a/b", "1"), ("user", "a\0b"), ("us\0er", "1")] {
            assert!(StreamName::new(category, id).is_err(), "{category:?} {id:?}");
        }
        assert!("user".parse::<StreamName>().is_err());
    }
}
