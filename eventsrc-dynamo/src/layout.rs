//! The layout of event items. No other file names their attributes, except those of the [`Payloads`].
//!
//! One item is one commit. Its partition key is the name of the stream, and its sort key is the number of the commit's first
//! event. Therefore a writer that missed a commit conflicts with it. Attribute names are short, because they count towards the
//! size of each item.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use crate::item::{Item, Unreadable, bytes, integer, integer_or, take_bytes, text};
use crate::payloads::{PLAIN, Payloads};

/// Partition key: `category/id` of the stream.
pub(crate) const STREAM: &str = "k";
/// Sort key: number of the first event.
pub(crate) const NUMBER: &str = "n";
/// Zone of the events; omitted if it is 0.
const ZONE: &str = "z";
/// Commit id, 16 bytes.
const COMMIT_ID: &str = "i";
/// Time of the commit, in microseconds since 1970.
const TIME: &str = "t";
/// Version of the payloads; omitted if it is 1.
const VERSION: &str = "v";
/// Lengths of the payloads; omitted if the commit has one event.
const LENGTHS: &str = "l";
/// Metadata as JSON; omitted if it is only the commit id.
const METADATA: &str = "m";

/// Projection that `latest` and `heads` read: the attributes of a head.
pub(crate) const HEAD: &str = "k, n, z, t, l";

/// Condition of every put of events. Without it, a put would overwrite a commit.
pub(crate) const ABSENT: &str = "attribute_not_exists(k)";

/// Key condition of the commits of a stream that begin at or after a number.
pub(crate) const FROM: &str = "k = :k AND n >= :n";
/// Key condition of the commits of a stream that begin at or before a number.
pub(crate) const UP_TO: &str = "k = :k AND n <= :n";
/// Key condition of all commits of a stream.
pub(crate) const WHOLE: &str = "k = :k";

/// Attributes of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitItem {
    pub(crate) stream: String,
    pub(crate) number: u64,
    pub(crate) zone: u16,
    pub(crate) commit_id: Uuid,
    /// Microseconds since 1970.
    pub(crate) time: i64,
    pub(crate) version: u32,
    pub(crate) payloads: Payloads,
    pub(crate) lengths: Vec<u8>,
    pub(crate) metadata: Option<String>,
}

/// Attributes of a commit that give the head of its stream, if the commit is the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeadItem {
    pub(crate) stream: String,
    /// Number of the first event of the commit.
    pub(crate) first: u64,
    /// Number of the last event of the commit.
    pub(crate) last: u64,
    pub(crate) zone: u16,
    pub(crate) time: i64,
}

impl CommitItem {
    /// Number of the last event; `None` if it exceeds `u64::MAX`.
    pub(crate) fn last(&self) -> Option<u64> {
        last(self.number, &self.lengths)
    }

    pub(crate) fn into_item(self) -> Item {
        // Most commits have at most seven attributes. Growing the map would cost more than the rest of this function.
        let mut item = Item::with_capacity(7);
        let mut put = |name: &str, value| drop(item.insert(name.to_owned(), value));
        put(STREAM, AttributeValue::S(self.stream));
        put(NUMBER, n(self.number));
        put(COMMIT_ID, AttributeValue::B(Blob::new(self.commit_id.as_bytes().as_slice())));
        put(TIME, AttributeValue::N(self.time.to_string()));
        if self.zone != 0 {
            put(ZONE, AttributeValue::N(self.zone.to_string()));
        }
        if self.version != 1 {
            put(VERSION, AttributeValue::N(self.version.to_string()));
        }
        if !self.lengths.is_empty() {
            put(LENGTHS, AttributeValue::B(Blob::new(self.lengths)));
        }
        if let Some(metadata) = self.metadata {
            put(METADATA, AttributeValue::S(metadata));
        }
        self.payloads.put_into(&mut item);
        item
    }

    pub(crate) fn from_item(mut item: Item) -> Result<Self, Unreadable> {
        let HeadItem { stream, first, zone, time, .. } = HeadItem::from_item(&item)?;
        Ok(Self {
            stream,
            number: first,
            zone,
            commit_id: Uuid::from_slice(bytes(&item, COMMIT_ID)?).map_err(|_| Unreadable(COMMIT_ID))?,
            time,
            version: integer_or(&item, VERSION, 1)?,
            payloads: Payloads::take_from(&mut item)?.ok_or(Unreadable(PLAIN))?,
            lengths: if item.contains_key(LENGTHS) { take_bytes(&mut item, LENGTHS)? } else { Vec::new() },
            metadata: match item.remove(METADATA) {
                None => None,
                Some(AttributeValue::S(metadata)) => Some(metadata),
                Some(_) => return Err(Unreadable(METADATA)),
            },
        })
    }
}

impl HeadItem {
    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let first = number(item)?;
        let lengths = if item.contains_key(LENGTHS) { bytes(item, LENGTHS)? } else { &[] };
        Ok(Self {
            stream: text(item, STREAM)?.to_owned(),
            first,
            last: last(first, lengths).ok_or(Unreadable(NUMBER))?,
            zone: integer_or(item, ZONE, 0)?,
            time: integer(item, TIME)?,
        })
    }
}

/// Number of the last event of a commit whose payloads have these lengths.
fn last(first: u64, lengths: &[u8]) -> Option<u64> {
    // Each length is a varint, whose last byte has no top bit. A commit of one event has no lengths.
    let events = lengths.iter().filter(|byte| **byte < 0x80).count().max(1);
    first.checked_add(events as u64 - 1)
}

/// Key of the commit of `stream` that begins at `number`.
pub(crate) fn key(stream: String, number: u64) -> Item {
    Item::from([(STREAM.to_owned(), AttributeValue::S(stream)), (NUMBER.to_owned(), n(number))])
}

/// Key of an item that may have more attributes.
pub(crate) fn key_of(item: &Item) -> Item {
    item.iter()
        .filter(|(name, _)| [STREAM, NUMBER].contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Reads only the stream of an item, which may be unreadable otherwise.
pub(crate) fn stream(item: &Item) -> Result<&str, Unreadable> {
    text(item, STREAM)
}

/// Reads only the number of the first event of an item, which may be unreadable otherwise.
pub(crate) fn number(item: &Item) -> Result<u64, Unreadable> {
    integer(item, NUMBER)
}

/// Number as an attribute value.
pub(crate) fn n(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Commit of two events in the layout of the first version of this crate. Later versions must read it.
    fn sample() -> Item {
        let text = |text: &str| AttributeValue::S(text.into());
        let number = |digits: &str| AttributeValue::N(digits.into());
        let bytes = |bytes: &[u8]| AttributeValue::B(Blob::new(bytes));
        Item::from([
            ("k".into(), text("user/acme/42")),
            ("n".into(), number("7")),
            ("z".into(), number("3")),
            ("i".into(), bytes(&[1, 2, 3, 4, 5, 6, 0x77, 8, 0x89, 10, 11, 12, 13, 14, 15, 16])),
            ("t".into(), number("1767225600000001")),
            ("v".into(), number("2")),
            ("p".into(), text(r#"[{"named":"Ada"},{"moved":"London"}]"#)),
            ("l".into(), bytes(&[15, 18])),
            ("m".into(), text(r#"{"commit_id":"01020304-0506-7708-890a-0b0c0d0e0f10","actor":"Grace"}"#)),
        ])
    }

    #[test]
    fn a_stored_sample_is_read() {
        let item = CommitItem::from_item(sample()).unwrap();
        assert_eq!((item.stream.as_str(), item.number, item.last()), ("user/acme/42", 7, Some(8)));
        assert_eq!((item.zone, item.time, item.version), (3, 1_767_225_600_000_001, 2));
        assert_eq!(item.commit_id, Uuid::from_u128(0x0102_0304_0506_7708_890a_0b0c_0d0e_0f10));
        assert_eq!(item.payloads, Payloads::Text(r#"[{"named":"Ada"},{"moved":"London"}]"#.into()));
        assert!(item.metadata.as_ref().is_some_and(|metadata| metadata.contains("Grace")));
        assert_eq!(item.into_item(), sample(), "it is written unchanged");
    }

    #[test]
    fn the_error_names_a_missing_or_malformed_attribute() {
        for name in ["k", "n", "i", "t", "p"] {
            let mut item = sample();
            item.remove(name);
            assert_eq!(CommitItem::from_item(item).unwrap_err().0, name);
        }
        for name in ["k", "n", "z", "i", "t", "v", "p", "l", "m"] {
            let mut item = sample();
            item.insert(name.into(), AttributeValue::Bool(true));
            assert_eq!(CommitItem::from_item(item).unwrap_err().0, name);
        }
    }

    fn payloads() -> impl Strategy<Value = Payloads> {
        prop_oneof![
            ".*".prop_map(Payloads::Text),
            any::<Vec<u8>>().prop_map(Payloads::Bytes),
            any::<Vec<u8>>().prop_map(Payloads::DeflatedText),
            any::<Vec<u8>>().prop_map(Payloads::DeflatedBytes),
        ]
    }

    proptest! {
        #[test]
        fn commits_are_read_back(
            (stream, number, zone, commit_id) in (".*", any::<u64>(), any::<u16>(), any::<u128>()),
            (time, version, metadata) in (any::<i64>(), any::<u32>(), any::<Option<String>>()),
            payloads in payloads(),
            lengths in any::<Vec<u8>>(),
        ) {
            let commit_id = Uuid::from_u128(commit_id);
            let item = CommitItem { stream, number, zone, commit_id, time, version, payloads, lengths, metadata };
            let read = CommitItem::from_item(item.clone().into_item()).unwrap();
            prop_assert_eq!(&read, &item);
            if let Some(last) = item.last() {
                let head = HeadItem::from_item(&item.clone().into_item()).unwrap();
                prop_assert_eq!((head.stream, head.first, head.last), (item.stream, number, last));
                prop_assert_eq!((head.zone, head.time), (zone, time));
            }
        }
    }
}
