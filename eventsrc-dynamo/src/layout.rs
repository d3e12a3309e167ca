//! The items of events: this file alone knows their attributes, but for those of the [`Payloads`].
//!
//! One item is one commit. Its partition key is the name of the stream and its sort key the number of the commit's first
//! event, so that a writer who missed a commit collides with it. Names are short, because they count as bytes of every item.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use crate::item::{Item, Unreadable, bytes, integer, integer_or, take_bytes, text};
use crate::payloads::{PLAIN, Payloads};

/// `category/id` of the stream; the partition key.
pub(crate) const STREAM: &str = "k";
/// The number of the first event; the sort key.
pub(crate) const NUMBER: &str = "n";
/// The zone of the events, where it is not 0.
const ZONE: &str = "z";
/// The commit id, 16 bytes.
const COMMIT_ID: &str = "i";
/// Microseconds since 1970.
const TIME: &str = "t";
/// The payloads' version, where it is not 1.
const VERSION: &str = "v";
/// Where the payloads end, of a commit of several.
const LENGTHS: &str = "l";
/// The metadata as JSON, where there is more than the commit id.
const METADATA: &str = "m";

/// What `latest` and `heads` read of an item: everything but the payloads and the metadata.
pub(crate) const HEAD: &str = "k, n, z, t, l";

/// The condition of every put of events, without which a commit could be overwritten.
pub(crate) const ABSENT: &str = "attribute_not_exists(k)";

/// The commits of a stream from a number on, up to one, and all.
pub(crate) const FROM: &str = "k = :k AND n >= :n";
pub(crate) const UP_TO: &str = "k = :k AND n <= :n";
pub(crate) const WHOLE: &str = "k = :k";

/// A commit as it lies in its item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitItem {
    pub(crate) stream: String,
    pub(crate) number: u64,
    pub(crate) zone: u16,
    pub(crate) commit_id: Uuid,
    /// In microseconds since 1970.
    pub(crate) time: i64,
    pub(crate) version: u32,
    pub(crate) payloads: Payloads,
    pub(crate) lengths: Vec<u8>,
    pub(crate) metadata: Option<String>,
}

/// What a commit's item says of the stream's end, if it is the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeadItem {
    pub(crate) stream: String,
    /// The number of the commit's first event.
    pub(crate) first: u64,
    /// The number of its last event.
    pub(crate) last: u64,
    pub(crate) zone: u16,
    pub(crate) time: i64,
}

impl CommitItem {
    /// The number of the last event; `None` past the last there is.
    pub(crate) fn last(&self) -> Option<u64> {
        last(self.number, &self.lengths)
    }

    pub(crate) fn into_item(self) -> Item {
        // Room for what most commits have: making more of it later costs a command more than all the rest here.
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

/// The number of the last event of a commit, of which the payloads have these lengths.
fn last(first: u64, lengths: &[u8]) -> Option<u64> {
    // A length ends with the byte that has no top bit, and a commit of one event has none.
    let events = lengths.iter().filter(|byte| **byte < 0x80).count().max(1);
    first.checked_add(events as u64 - 1)
}

/// The key of the commit that begins at `number` of `stream`.
pub(crate) fn key(stream: String, number: u64) -> Item {
    Item::from([(STREAM.to_owned(), AttributeValue::S(stream)), (NUMBER.to_owned(), n(number))])
}

/// The key of an item of which there may be more.
pub(crate) fn key_of(item: &Item) -> Item {
    item.iter()
        .filter(|(name, _)| [STREAM, NUMBER].contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The stream of an item, which may be unreadable otherwise.
pub(crate) fn stream(item: &Item) -> Result<&str, Unreadable> {
    text(item, STREAM)
}

/// The number of the first event of an item, which may be unreadable otherwise.
pub(crate) fn number(item: &Item) -> Result<u64, Unreadable> {
    integer(item, NUMBER)
}

/// A number as an attribute.
pub(crate) fn n(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A commit of two events as the first version of this crate stored it; later versions still read it.
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
        assert_eq!(item.into_item(), sample(), "and written as it was");
    }

    #[test]
    fn an_attribute_that_is_missing_or_of_another_type_is_named() {
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
        fn what_is_written_is_read(
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
