//! Payloads and keys that the rules store.

use std::borrow::Cow;
use std::fmt;

use eventsrc_core::StreamKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The payload that the rules put. A backend stores it like any other serde payload.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sample {
    /// No data.
    Nothing,
    /// A text of any length up to a megabyte.
    Text(String),
    /// Arbitrary bytes.
    Bytes(Vec<u8>),
    /// Numbers at the limits of their range, and a list.
    Numbers {
        /// A signed number.
        signed: i64,
        /// An unsigned number.
        unsigned: u64,
        /// A list of pairs.
        pairs: Vec<(u8, Option<bool>)>,
    },
    /// A payload that every codec writes and none can read, like one of an unknown version.
    Unreadable(Unreadable),
}

/// The payload of [`Sample::Unreadable`]. Its deserialization always fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

impl Sample {
    /// Returns a text of `bytes` bytes.
    pub fn of_length(bytes: usize) -> Self {
        Self::Text("eventsrc ".chars().cycle().take(bytes).collect())
    }
}

impl Serialize for Unreadable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("this sample is unreadable"))
    }
}

/// Long texts are cut, so that a violation stays readable.
impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Text(text) if text.len() > 60 => {
                write!(f, "Text({:?}… of {} bytes)", text.chars().take(40).collect::<String>(), text.len())
            }
            Self::Text(text) => write!(f, "Text({text:?})"),
            Self::Bytes(bytes) if bytes.len() > 16 => {
                write!(f, "Bytes({:?}… of {})", &bytes[..16], bytes.len())
            }
            Self::Bytes(bytes) => write!(f, "Bytes({bytes:?})"),
            Self::Numbers { signed, unsigned, pairs } => {
                write!(f, "Numbers({signed}, {unsigned}, {pairs:?})")
            }
            Self::Unreadable(_) => f.write_str("Unreadable"),
        }
    }
}

/// Key of the streams that the rules use.
///
/// Unlike a [`StreamName`](eventsrc_core::StreamName), it can be malformed, and a storage must refuse it then.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SampleKey {
    /// The category of the stream.
    pub category: String,
    /// The id of the stream within its category.
    pub id: String,
}

impl StreamKey for SampleKey {
    fn category(&self) -> &str {
        &self.category
    }

    fn id(&self) -> Cow<'_, str> {
        (&self.id).into()
    }

    fn from_parts(category: &str, id: &str) -> Option<Self> {
        Some((category, id).into())
    }
}

/// The key of a stream of the category `sample`.
impl From<&str> for SampleKey {
    fn from(id: &str) -> Self {
        ("sample", id).into()
    }
}

impl From<(&str, &str)> for SampleKey {
    fn from((category, id): (&str, &str)) -> Self {
        Self { category: category.into(), id: id.into() }
    }
}

impl From<&SampleKey> for SampleKey {
    fn from(key: &SampleKey) -> Self {
        key.clone()
    }
}

impl fmt::Debug for SampleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.category, self.id)
    }
}
