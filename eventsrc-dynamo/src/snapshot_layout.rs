//! The layout of snapshot items. No other file names their attributes, except those of the [`Payloads`].

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use crate::item::{Item, Unreadable, integer, integer_or, uuid};
use crate::payloads::Payloads;

/// Partition key: name of the snapshots, version of the fold, and query key as JSON, separated by slashes.
pub(crate) const KEY: &str = "k";
/// Sort key: the sequence of an epoch, or [`CACHE`].
pub(crate) const SORT_KEY: &str = "n";
/// Sequence: its number, with its zone as five decimal places, so that the numbers sort like the sequences.
const SEQUENCE: &str = "s";
/// Time of the last event, in microseconds since 1970.
const TIME: &str = "t";
/// Id of the commit of the last event, 16 bytes; omitted if it is unknown, and by version 0.1.
const COMMIT_ID: &str = "i";
/// Version of the value; omitted if it is 1.
const VERSION: &str = "v";

/// Sort key of the cached snapshot. It sorts after every sequence, so that one query finds it together with the greatest epoch.
const CACHE: &str = "100000000000000000000";

/// Condition of a put of the cached snapshot: it never replaces a later one.
pub(crate) const NOT_SET_BACK: &str = "attribute_not_exists(k) OR s <= :s";

/// Key condition of all snapshots of a key.
pub(crate) const ALL: &str = "k = :k";
/// Key condition of the cached snapshot.
pub(crate) const CACHED: &str = "k = :k AND n = :n";
/// Key condition of the epochs before a sequence.
pub(crate) const BEFORE: &str = "k = :k AND n < :n";

/// Attributes of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotItem {
    pub(crate) number: u64,
    pub(crate) zone: u16,
    /// Microseconds since 1970.
    pub(crate) time: i64,
    pub(crate) commit_id: Option<Uuid>,
    pub(crate) version: u32,
    /// `None` if the fold has no value at this sequence.
    pub(crate) value: Option<Payloads>,
}

impl SnapshotItem {
    /// Returns the item under `key`: as the cached snapshot, or as a separate epoch.
    pub(crate) fn into_item(self, key: String, cached: bool) -> Item {
        let sequence = sequence(self.number, self.zone);
        let sort_key = if cached { cache() } else { sequence.clone() };
        let mut item = Item::from([
            (KEY.to_owned(), AttributeValue::S(key)),
            (SORT_KEY.to_owned(), sort_key),
            (SEQUENCE.to_owned(), sequence),
            (TIME.to_owned(), AttributeValue::N(self.time.to_string())),
        ]);
        if let Some(id) = self.commit_id {
            item.insert(COMMIT_ID.to_owned(), AttributeValue::B(Blob::new(id.as_bytes().as_slice())));
        }
        if self.version != 1 {
            item.insert(VERSION.to_owned(), AttributeValue::N(self.version.to_string()));
        }
        if let Some(value) = self.value {
            value.put_into(&mut item);
        }
        item
    }

    pub(crate) fn from_item(mut item: Item) -> Result<Self, Unreadable> {
        let (number, zone) = parts(&item)?;
        Ok(Self {
            number,
            zone,
            time: integer(&item, TIME)?,
            commit_id: item.contains_key(COMMIT_ID).then(|| uuid(&item, COMMIT_ID)).transpose()?,
            version: integer_or(&item, VERSION, 1)?,
            value: Payloads::take_from(&mut item)?,
        })
    }
}

/// Reads only the number and the zone of an item, which may be unreadable otherwise.
pub(crate) fn parts(item: &Item) -> Result<(u64, u16), Unreadable> {
    let digits = item.get(SEQUENCE).and_then(|value| value.as_n().ok()).ok_or(Unreadable(SEQUENCE))?;
    let (number, places) = digits.split_once('.').unwrap_or((digits, ""));
    // The service drops trailing zeros.
    let number = number.parse().ok();
    let zone = format!("{places:0<5}").parse().ok();
    number.zip(zone).ok_or(Unreadable(SEQUENCE))
}

/// Sequence as an attribute value.
pub(crate) fn sequence(number: u64, zone: u16) -> AttributeValue {
    AttributeValue::N(if zone == 0 { number.to_string() } else { format!("{number}.{zone:05}") })
}

/// Sort key of the cached snapshot.
pub(crate) fn cache() -> AttributeValue {
    AttributeValue::N(CACHE.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Snapshot in the layout of version 0.1 of this crate. Later versions must read it.
    fn sample() -> Item {
        let number = |digits: &str| AttributeValue::N(digits.into());
        Item::from([
            ("k".into(), AttributeValue::S(r#"name/1/"ada""#.into())),
            ("n".into(), number("7.00010")),
            ("s".into(), number("7.00010")),
            ("t".into(), number("1767225600000001")),
            ("p".into(), AttributeValue::S(r#""Ada""#.into())),
        ])
    }

    #[test]
    fn a_stored_sample_is_read() {
        let item = SnapshotItem::from_item(sample()).unwrap();
        let value = Some(Payloads::Text(r#""Ada""#.into()));
        let time = 1_767_225_600_000_001;
        let expected = SnapshotItem { number: 7, zone: 10, time, commit_id: None, version: 1, value };
        assert_eq!(item, expected);
        assert_eq!(item.into_item(r#"name/1/"ada""#.into(), false), sample(), "it is written unchanged");
    }

    #[test]
    fn a_stored_sample_with_a_commit_id_is_read() {
        let mut sample = sample();
        let id = [1, 2, 3, 4, 5, 6, 0x77, 8, 0x89, 10, 11, 12, 13, 14, 15, 16];
        sample.insert("i".into(), AttributeValue::B(Blob::new(id)));
        let item = SnapshotItem::from_item(sample.clone()).unwrap();
        assert_eq!(item.commit_id, Some(Uuid::from_bytes(id)));
        assert_eq!(item.into_item(r#"name/1/"ada""#.into(), false), sample, "it is written unchanged");
        sample.insert("i".into(), AttributeValue::B(Blob::new([1])));
        assert_eq!(SnapshotItem::from_item(sample).unwrap_err(), Unreadable("i"));
    }

    #[test]
    fn a_sequence_is_read_without_its_trailing_zeros() {
        let mut item = sample();
        item.insert(SEQUENCE.into(), AttributeValue::N("7.0001".into()));
        assert_eq!(parts(&item), Ok((7, 10)));
    }

    proptest! {
        #[test]
        fn snapshots_are_read_back(
            (number, zone, time, version) in (any::<u64>(), any::<u16>(), any::<i64>(), any::<u32>()),
            (value, commit_id) in any::<(Option<String>, Option<u128>)>(),
            cached in any::<bool>(),
        ) {
            let (value, commit_id) = (value.map(Payloads::Text), commit_id.map(Uuid::from_u128));
            let item = SnapshotItem { number, zone, time, commit_id, version, value };
            let read = SnapshotItem::from_item(item.clone().into_item("key".into(), cached)).unwrap();
            prop_assert_eq!(read, item);
        }
    }
}
