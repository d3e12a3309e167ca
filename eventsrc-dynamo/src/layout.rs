//! The layout of event items. No other file names their attributes, except those of the [`Payloads`].
//!
//! One item is one commit. Its partition key is the name of the stream, and its sort key is the number of the commit's first
//! event. Therefore a writer that missed a commit conflicts with it. The number of events follows from the lengths. Attribute names are short, because they count towards the
//! size of each item.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use eventsrc_core::backend::EncodedHead;
use uuid::Uuid;

use crate::item::{Item, Unreadable, bytes, integer, integer_or, take_bytes, text, uuid};
use crate::payloads::{PLAIN, Payloads};

/// Partition key: `category/id` of the stream.
pub(crate) const STREAM: &str = "k";
/// Sort key: number of the first event.
pub(crate) const NUMBER: &str = "n";
/// Zone of the events; omitted if it is 0.
const ZONE: &str = "z";
/// Commit id, 16 bytes.
const COMMIT_ID: &str = "i";
/// Id of the commit before this one, 16 bytes; omitted in the first commit of a stream, if it is unknown, and by version 0.1.
const PREVIOUS: &str = "q";
/// Time of the commit, in microseconds since 1970.
const TIME: &str = "t";
/// Version of the payloads; omitted if it is 1.
const VERSION: &str = "v";
/// Lengths of the payloads; omitted if the commit has one event.
const LENGTHS: &str = "l";
/// Metadata as JSON; omitted if it is only the commit id.
const METADATA: &str = "m";

/// Projection that `recent`, `heads` and the check of a put read: the attributes of a head.
pub(crate) const HEAD: &str = "k, n, z, i, t, l";

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
    pub(crate) previous: Option<Uuid>,
    /// Microseconds since 1970.
    pub(crate) time: i64,
    pub(crate) version: u32,
    pub(crate) payloads: Payloads,
    pub(crate) lengths: Vec<u8>,
    pub(crate) metadata: Option<String>,
}

impl CommitItem {
    /// Head of a stream that ends with the commit.
    pub(crate) fn head(&self) -> EncodedHead {
        let number = self.number.saturating_add(u64::from(self.count()) - 1);
        EncodedHead { number, zone: self.zone, time: self.time, commit_id: self.commit_id }
    }

    /// Number of events.
    pub(crate) fn count(&self) -> u32 {
        count(&self.lengths)
    }

    pub(crate) fn into_item(self) -> Item {
        // Most commits have at most seven attributes. Growing the map would cost more than the rest of this function.
        let mut item = Item::with_capacity(7);
        let mut put = |name: &str, value| drop(item.insert(name.to_owned(), value));
        put(STREAM, AttributeValue::S(self.stream));
        put(NUMBER, n(self.number));
        put(COMMIT_ID, AttributeValue::B(Blob::new(self.commit_id.as_bytes().as_slice())));
        put(TIME, AttributeValue::N(self.time.to_string()));
        if let Some(previous) = self.previous {
            put(PREVIOUS, AttributeValue::B(Blob::new(previous.as_bytes().as_slice())));
        }
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
        let (stream, number) = (stream(&item)?.to_owned(), number(&item)?);
        let EncodedHead { zone, time, commit_id, .. } = head(&item)?;
        Ok(Self {
            stream,
            number,
            zone,
            commit_id,
            previous: item.contains_key(PREVIOUS).then(|| uuid(&item, PREVIOUS)).transpose()?,
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

/// Head of a stream whose last commit is `item`. The item may be whole or have the projection [`HEAD`].
pub(crate) fn head(item: &Item) -> Result<EncodedHead, Unreadable> {
    let lengths = if item.contains_key(LENGTHS) { bytes(item, LENGTHS)? } else { &[] };
    let last = number(item)?.checked_add(u64::from(count(lengths)) - 1);
    Ok(EncodedHead {
        number: last.ok_or(Unreadable(NUMBER))?,
        zone: integer_or(item, ZONE, 0)?,
        time: integer(item, TIME)?,
        commit_id: uuid(item, COMMIT_ID)?,
    })
}

/// Number of events of a commit whose payloads have these lengths, at least 1.
fn count(lengths: &[u8]) -> u32 {
    // Each length is a varint, whose last byte has no top bit. A commit of one event has no lengths.
    let events = lengths.iter().filter(|byte| **byte < 0x80).count().max(1);
    u32::try_from(events).expect("an item has at most 400 KB")
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

    const ID: [u8; 16] = [1, 2, 3, 4, 5, 6, 0x77, 8, 0x89, 10, 11, 12, 13, 14, 15, 16];

    /// Commit of two events in the layout of version 0.1 of this crate. Later versions must read it.
    fn sample() -> Item {
        let text = |text: &str| AttributeValue::S(text.into());
        let number = |digits: &str| AttributeValue::N(digits.into());
        let bytes = |bytes: &[u8]| AttributeValue::B(Blob::new(bytes));
        Item::from([
            ("k".into(), text("user/acme/42")),
            ("n".into(), number("7")),
            ("z".into(), number("3")),
            ("i".into(), bytes(&ID)),
            ("t".into(), number("1767225600000001")),
            ("v".into(), number("2")),
            ("p".into(), text(r#"[{"named":"Ada"},{"moved":"London"}]"#)),
            ("l".into(), bytes(&[15, 18])),
            ("m".into(), text(r#"{"commit_id":"01020304-0506-7708-890a-0b0c0d0e0f10","actor":"Grace"}"#)),
        ])
    }

    /// The same commit with the id of the commit before it.
    fn sample_with_previous() -> Item {
        let mut item = sample();
        item.insert("q".into(), AttributeValue::B(Blob::new([0x17; 16])));
        item
    }

    #[test]
    fn a_stored_sample_is_read() {
        let item = CommitItem::from_item(sample()).unwrap();
        assert_eq!((item.stream.as_str(), item.number, item.count()), ("user/acme/42", 7, 2));
        assert_eq!((item.zone, item.time, item.version), (3, 1_767_225_600_000_001, 2));
        assert_eq!((item.commit_id, item.previous), (Uuid::from_bytes(ID), None));
        assert_eq!(item.payloads, Payloads::Text(r#"[{"named":"Ada"},{"moved":"London"}]"#.into()));
        assert!(item.metadata.as_ref().is_some_and(|metadata| metadata.contains("Grace")));
        assert_eq!(item.into_item(), sample(), "it is written unchanged");
        let item = CommitItem::from_item(sample_with_previous()).unwrap();
        assert_eq!(item.previous, Some(Uuid::from_bytes([0x17; 16])));
        assert_eq!(item.into_item(), sample_with_previous(), "it is written unchanged");
    }

    #[test]
    fn the_head_of_a_stored_sample_is_read_from_the_projection() {
        let expected =
            EncodedHead { number: 8, zone: 3, time: 1_767_225_600_000_001, commit_id: Uuid::from_bytes(ID) };
        let mut item = sample_with_previous();
        assert_eq!(head(&item), Ok(expected));
        item.retain(|name, _| HEAD.split(", ").any(|projected| projected == name));
        assert_eq!(head(&item), Ok(expected));
        item.insert("n".into(), n(u64::MAX));
        assert_eq!(head(&item), Err(Unreadable("n")), "it runs past the last number");
    }

    #[test]
    fn the_error_names_a_missing_or_malformed_attribute() {
        for name in ["k", "n", "i", "t", "p"] {
            let mut item = sample();
            item.remove(name);
            assert_eq!(CommitItem::from_item(item).unwrap_err().0, name);
        }
        for name in ["k", "n", "z", "i", "q", "t", "v", "p", "l", "m"] {
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
            (stream, number, zone, commit_id) in (".*", 0..u64::MAX / 2, any::<u16>(), any::<u128>()),
            (time, version, metadata) in (any::<i64>(), any::<u32>(), any::<Option<String>>()),
            previous in any::<Option<u128>>(),
            payloads in payloads(),
            lengths in any::<Vec<u8>>(),
        ) {
            let (commit_id, previous) = (Uuid::from_u128(commit_id), previous.map(Uuid::from_u128));
            let item = CommitItem {
                stream, number, zone, commit_id, previous, time, version, payloads, lengths, metadata,
            };
            let last = number + u64::from(item.count()) - 1;
            let stored = item.clone().into_item();
            prop_assert_eq!(head(&stored), Ok(EncodedHead { number: last, zone, time, commit_id }));
            prop_assert_eq!(CommitItem::from_item(stored).unwrap(), item);
        }
    }
}
