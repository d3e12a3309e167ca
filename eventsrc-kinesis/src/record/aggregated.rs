//! Several records in one, as the Kinesis Producer Library writes them. This file alone knows the layout.
//!
//! `F3 89 9A C2`, a protobuf message, and the 16 bytes of its MD5. Partition keys stand in a table, and records name them by place.

use std::collections::HashMap;
use std::fmt;

use md5::{Digest, Md5};
use prost::Message;
use prost::bytes::Bytes;
use prost::encoding::{encoded_len_varint, key_len};

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
const CHECKSUM: usize = 16;

/// The records that one record of a Kinesis stream holds.
///
/// ```
/// use eventsrc_kinesis::record::{AggregatedRecordBuilder, AggregatedRecord};
///
/// let mut aggregate = AggregatedRecordBuilder::new(1 << 20);
/// assert!(aggregate.add("user/1", b"first".to_vec()).is_ok());
/// assert!(aggregate.add("user/2", b"second".to_vec()).is_ok());
///
/// let aggregated = AggregatedRecord::read(&aggregate.into_bytes())?;
/// let parts: Vec<_> = aggregated.parts().collect::<Result<_, _>>()?;
/// assert_eq!((parts[1].partition_key, parts[1].data), ("user/2", b"second".as_slice()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AggregatedRecord(AggregatedMessage);

/// A record in an aggregated one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SubRecord<'a> {
    /// What it was put under.
    pub partition_key: &'a str,
    /// Where it was to go instead of where its partition key goes: a decimal number of 128 bits.
    pub explicit_hash_key: Option<&'a str>,
    /// What it holds.
    pub data: &'a [u8],
}

/// Why a record is a plain one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAggregated {
    /// It does not begin as an aggregated one does, or is too short to be one: what most plain records are.
    #[error("it does not begin as an aggregated record")]
    Plain,
    /// It begins as one, and its checksum is another.
    #[error("it begins as an aggregated record, whose checksum is another")]
    Checksum,
    /// It has the checksum of one, and is no message.
    #[error("it has the checksum of an aggregated record, and its message cannot be read")]
    Message,
}

/// Why a part of an aggregated record cannot be read. Its neighbours can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("part {part} of an aggregated record has no {what}")]
pub struct InvalidSubRecord {
    /// Which part, from 0.
    pub part: u64,
    what: &'static str,
}

impl AggregatedRecord {
    /// Reads `data`, which is copied once: to hash it takes far longer.
    ///
    /// # Errors
    ///
    /// [`NotAggregated`]: then it is one plain record, as the Kinesis Client Library has it.
    pub fn read(data: &[u8]) -> Result<Self, NotAggregated> {
        let body = data.strip_prefix(&MAGIC).ok_or(NotAggregated::Plain)?;
        let (message, checksum) = body
            .split_last_chunk::<CHECKSUM>()
            .filter(|(message, _)| !message.is_empty())
            .ok_or(NotAggregated::Plain)?;
        if Md5::digest(message)[..] != checksum[..] {
            return Err(NotAggregated::Checksum);
        }
        // The data of the parts are slices of this copy.
        let message = AggregatedMessage::decode(Bytes::copy_from_slice(message));
        message.map(Self).map_err(|_| NotAggregated::Message)
    }

    /// Its records in the order in which they were added, those that cannot be read included.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = Result<SubRecord<'_>, InvalidSubRecord>> {
        self.0.records.iter().enumerate().map(|(part, record)| {
            let bad = |what| InvalidSubRecord { part: part as u64, what };
            let partition_key =
                record.partition_key_index.and_then(|index| entry(&self.0.partition_keys, index));
            let explicit_hash_key = match record.explicit_hash_key_index {
                None => None,
                Some(index) => {
                    let entry = entry(&self.0.explicit_hash_keys, index);
                    Some(entry.ok_or_else(|| bad("explicit hash key of the number that it names"))?)
                }
            };
            Ok(SubRecord {
                partition_key: partition_key
                    .ok_or_else(|| bad("partition key of the number that it names"))?,
                explicit_hash_key,
                data: record.data.as_deref().ok_or_else(|| bad("data"))?,
            })
        })
    }
}

fn entry(table: &[String], index: u64) -> Option<&str> {
    table.get(usize::try_from(index).ok()?).map(String::as_str)
}

/// Gathers records into one, up to a limit.
///
/// Records of a stream that come after each other have to stay so: those of one partition key are best put into one aggregate, or
/// into aggregates that are put one after the other.
///
/// The Kinesis Client Library passes over a part whose own key belongs to another shard than the record that it came in. What is to be
/// read by it has parts of one partition key, or of keys of one shard.
#[derive(Debug)]
pub struct AggregatedRecordBuilder {
    limit: usize,
    size: usize,
    places: HashMap<String, u64>,
    records: Vec<Record>,
}

impl AggregatedRecordBuilder {
    /// An empty one, of which the record may have `limit` bytes. The partition key that it is put under counts too for what Kinesis
    /// takes.
    pub fn new(limit: usize) -> Self {
        Self { limit, size: MAGIC.len() + CHECKSUM, places: HashMap::new(), records: Vec::new() }
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it has none. One without records should not be put.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many bytes the record has.
    pub fn size(&self) -> usize {
        self.size
    }

    /// How many bytes it would have with another record of `length` bytes.
    pub fn size_with(&self, partition_key: &str, length: usize) -> usize {
        let (place, entry) = match self.places.get(partition_key) {
            Some(place) => (*place, 0),
            None => (self.places.len() as u64, field(partition_key.len())),
        };
        self.size + entry + field(key_len(1) + encoded_len_varint(place) + field(length))
    }

    /// Adds a record.
    ///
    /// # Errors
    ///
    /// Gives `data` back if there is no room for it within the limit.
    pub fn add(&mut self, partition_key: &str, data: Vec<u8>) -> Result<(), Vec<u8>> {
        let size = self.size_with(partition_key, data.len());
        if size > self.limit {
            return Err(data);
        }
        let place = match self.places.get(partition_key) {
            Some(place) => *place,
            None => {
                let place = self.places.len() as u64;
                self.places.insert(partition_key.to_owned(), place);
                place
            }
        };
        let data = Some(Bytes::from(data));
        self.records.push(Record { partition_key_index: Some(place), explicit_hash_key_index: None, data });
        self.size = size;
        Ok(())
    }

    /// The record.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut partition_keys = vec![String::new(); self.places.len()];
        for (partition_key, place) in self.places {
            partition_keys[place as usize] = partition_key;
        }
        let message =
            AggregatedMessage { partition_keys, explicit_hash_keys: Vec::new(), records: self.records };
        let mut bytes = Vec::with_capacity(self.size);
        bytes.extend(MAGIC);
        message.encode_raw(&mut bytes);
        let checksum = Md5::digest(&bytes[MAGIC.len()..]);
        bytes.extend_from_slice(&checksum);
        bytes
    }
}

/// The bytes of a field that has its length before it. The numbers of all fields take one byte.
fn field(length: usize) -> usize {
    key_len(1) + encoded_len_varint(length as u64) + length
}

#[derive(Clone, PartialEq, Message)]
struct AggregatedMessage {
    #[prost(string, repeated, tag = "1")]
    partition_keys: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_keys: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<Record>,
}

/// Of its fields, 1 and 3 are required: one without them must not be taken for one with the first key, or without data. 4 is for tags,
/// which nobody writes.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(uint64, optional, tag = "1")]
    partition_key_index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    data: Option<Bytes>,
}

impl fmt::Debug for SubRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What it holds is nobody's business in a log.
        f.debug_struct("Part")
            .field("partition_key", &self.partition_key)
            .field("explicit_hash_key", &self.explicit_hash_key)
            .field("bytes", &self.data.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The record of `("a", "x")` and `("b", "")`, made by hand from the format's description.
    const SAMPLE: &[u8] =
        b"\xF3\x89\x9A\xC2\x0a\x01a\x0a\x01b\x1a\x05\x08\x00\x1a\x01x\x1a\x04\x08\x01\x1a\x00";

    fn sealed(message: &[u8]) -> Vec<u8> {
        [&MAGIC, message, &Md5::digest(message)].concat()
    }

    fn aggregated(records: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut aggregate = AggregatedRecordBuilder::new(usize::MAX);
        for (partition_key, data) in records {
            assert_eq!(aggregate.add(partition_key, data.clone()), Ok(()));
        }
        aggregate.into_bytes()
    }

    fn read(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let aggregated = AggregatedRecord::read(bytes).unwrap();
        aggregated
            .parts()
            .map(Result::unwrap)
            .map(|p| (p.partition_key.to_owned(), p.data.to_vec()))
            .collect()
    }

    #[test]
    fn a_record_is_as_the_format_says() {
        let records = [("a".to_owned(), b"x".to_vec()), ("b".to_owned(), Vec::new())];
        assert_eq!(aggregated(&records), sealed(&SAMPLE[4..]));
        assert_eq!(read(&sealed(&SAMPLE[4..])), records);
    }

    #[test]
    fn what_is_not_aggregated_is_told_from_what_is_damaged() {
        let why = |bytes: &[u8]| AggregatedRecord::read(bytes).unwrap_err();
        assert_eq!(why(b""), NotAggregated::Plain);
        assert_eq!(why(br#"{"eventsrc":1}"#), NotAggregated::Plain);
        assert_eq!(why(&sealed(b"")), NotAggregated::Plain);
        assert_eq!(why(&[SAMPLE, &[0; 16]].concat()), NotAggregated::Checksum);
        assert_eq!(why(&sealed(b"\x0a\x05a")), NotAggregated::Message);
    }

    #[test]
    fn a_bad_part_leaves_its_neighbours_readable() {
        let record = |partition_key_index, explicit_hash_key_index, data: Option<&'static [u8]>| Record {
            partition_key_index,
            explicit_hash_key_index,
            data: data.map(Bytes::from_static),
        };
        let message = AggregatedMessage {
            partition_keys: vec!["a".into()],
            explicit_hash_keys: vec!["7".into()],
            records: vec![
                record(Some(1), None, Some(b"0")),
                record(Some(0), Some(0), Some(b"1")),
                record(Some(0), Some(1), Some(b"2")),
                record(None, None, Some(b"3")),
                record(Some(0), None, None),
                record(Some(u64::MAX), None, Some(b"5")),
                record(Some(0), None, Some(b"6")),
            ],
        };
        let aggregated = AggregatedRecord::read(&sealed(&message.encode_to_vec())).unwrap();
        let parts: Vec<_> = aggregated.parts().collect();
        let bad: Vec<_> = parts.iter().filter_map(|part| part.as_ref().err().map(|bad| bad.part)).collect();
        assert_eq!(bad, [0, 2, 3, 4, 5]);
        assert_eq!(parts[1], Ok(SubRecord { partition_key: "a", explicit_hash_key: Some("7"), data: b"1" }));
        assert_eq!(parts[6].as_ref().map(|part| part.data), Ok(b"6".as_slice()));
    }

    #[test]
    fn tags_are_passed_over() {
        let message = b"\x0a\x01a\x1a\x0a\x08\x00\x1a\x01x\x22\x03\x0a\x01t";
        assert_eq!(read(&sealed(message)), [("a".to_owned(), b"x".to_vec())]);
    }

    #[test]
    fn a_record_that_has_no_room_is_given_back() {
        let mut aggregate = AggregatedRecordBuilder::new(sealed(&SAMPLE[4..]).len());
        assert_eq!(aggregate.add("a", b"x".to_vec()), Ok(()));
        assert_eq!(aggregate.add("b", b"y".to_vec()), Err(b"y".to_vec()));
        assert_eq!(aggregate.add("b", Vec::new()), Ok(()));
        assert_eq!(aggregate.into_bytes(), sealed(&SAMPLE[4..]));
    }

    fn records() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
        let key = prop_oneof!["[ab]", "[a-zü]{0,300}"];
        let data = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            (0usize..9_000).prop_map(|length| vec![7; length])
        ];
        prop::collection::vec((key, data), 1..90)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_is_read_and_has_the_size_that_was_foretold(records in records()) {
            let mut aggregate = AggregatedRecordBuilder::new(usize::MAX);
            for (partition_key, data) in &records {
                let size = aggregate.size_with(partition_key, data.len());
                aggregate.add(partition_key, data.clone()).unwrap();
                prop_assert_eq!(aggregate.size(), size);
            }
            prop_assert_eq!(aggregate.len(), records.len());
            let size = aggregate.size();
            let bytes = aggregate.into_bytes();
            prop_assert_eq!(bytes.len(), size);
            prop_assert_eq!(read(&bytes), records);
        }

        #[test]
        fn damage_is_never_read_as_something_else(
            records in prop::collection::vec(("[ab]{0,9}", any::<Vec<u8>>()), 1..20),
            place in any::<prop::sample::Index>(),
            bit in 0..8,
        ) {
            let mut bytes = aggregated(&records);
            let place = place.index(bytes.len());
            prop_assert!(AggregatedRecord::read(&bytes[..place]).is_err());
            bytes[place] ^= 1u8 << bit;
            prop_assert!(AggregatedRecord::read(&bytes).is_err());
        }

        #[test]
        fn any_message_with_its_checksum_is_read_without_a_panic(message in any::<Vec<u8>>()) {
            if let Ok(aggregated) = AggregatedRecord::read(&sealed(&message)) {
                prop_assert!(aggregated.parts().count() <= message.len());
            }
        }
    }
}
