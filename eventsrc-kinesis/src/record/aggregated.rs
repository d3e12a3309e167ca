//! Aggregated records, in the format of the Kinesis Producer Library. No other file knows the layout.
//!
//! An aggregated record consists of `F3 89 9A C2`, a protobuf message, and the 16 bytes of the message's MD5. The message has a
//! table of partition keys, and its records refer to a key by its index.

use std::collections::HashMap;
use std::fmt;

use md5::{Digest, Md5};
use prost::Message;
use prost::bytes::Bytes;
use prost::encoding::{encoded_len_varint, key_len};

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
const CHECKSUM: usize = 16;

/// Several records in one record of a Kinesis stream.
///
/// ```
/// use eventsrc_kinesis::record::{AggregatedRecord, AggregatedRecordBuilder};
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

/// One record inside an aggregated record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SubRecord<'a> {
    /// Partition key of the record.
    pub partition_key: &'a str,
    /// Hash that overrides the hash of the partition key: a decimal number of 128 bits.
    pub explicit_hash_key: Option<&'a str>,
    /// Data of the record.
    pub data: &'a [u8],
}

/// Error of data that is not an aggregated record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAggregated {
    /// The data has no magic number, or is too short. This is the usual case of a plain record.
    #[error("the record is not an aggregated record")]
    Plain,
    /// The data has the magic number and a wrong checksum.
    #[error("the checksum of the aggregated record is wrong")]
    Checksum,
    /// The checksum is right, but the data is not a message.
    #[error("the message of the aggregated record cannot be read, although its checksum is right")]
    Message,
}

/// Error of one unreadable part of an aggregated record. Other parts remain readable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("part {part} of an aggregated record has no {missing}")]
pub struct InvalidSubRecord {
    /// Index of the part, from 0.
    pub part: u64,
    missing: &'static str,
}

impl AggregatedRecord {
    /// Reads an aggregated record. It copies `data` once, which costs far less than the checksum.
    ///
    /// # Errors
    ///
    /// [`NotAggregated`] if `data` is one plain record, by the rules of the Kinesis Client Library.
    pub fn read(data: &[u8]) -> Result<Self, NotAggregated> {
        let body = data.strip_prefix(&MAGIC).ok_or(NotAggregated::Plain)?;
        let (message, checksum) = body
            .split_last_chunk::<CHECKSUM>()
            .filter(|(message, _)| !message.is_empty())
            .ok_or(NotAggregated::Plain)?;
        if Md5::digest(message)[..] != checksum[..] {
            return Err(NotAggregated::Checksum);
        }
        // The parts refer to slices of this copy.
        let message = AggregatedMessage::decode(Bytes::copy_from_slice(message));
        message.map(Self).map_err(|_| NotAggregated::Message)
    }

    /// Returns all parts in the order in which they were added, unreadable ones as errors.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = Result<SubRecord<'_>, InvalidSubRecord>> {
        self.0.records.iter().enumerate().map(|(part, record)| {
            let missing = |missing| InvalidSubRecord { part: part as u64, missing };
            let partition_key =
                record.partition_key_index.and_then(|index| entry(&self.0.partition_keys, index));
            let explicit_hash_key = match record.explicit_hash_key_index {
                None => None,
                Some(index) => {
                    let entry = entry(&self.0.explicit_hash_keys, index);
                    Some(entry.ok_or_else(|| missing("explicit hash key at its index"))?)
                }
            };
            Ok(SubRecord {
                partition_key: partition_key.ok_or_else(|| missing("partition key at its index"))?,
                explicit_hash_key,
                data: record.data.as_deref().ok_or_else(|| missing("data"))?,
            })
        })
    }
}

fn entry(table: &[String], index: u64) -> Option<&str> {
    table.get(usize::try_from(index).ok()?).map(String::as_str)
}

/// Builds an aggregated record, up to a size limit.
///
/// To keep the order of one partition key, put its records into one aggregated record, or into several that are put one after
/// the other.
///
/// The Kinesis Client Library ignores a part whose partition key belongs to another shard than the aggregated record. For its
/// readers, an aggregated record may only have parts whose keys belong to one shard.
#[derive(Debug)]
pub struct AggregatedRecordBuilder {
    limit: usize,
    size: usize,
    /// Index of each partition key in the table of keys.
    key_indexes: HashMap<String, u64>,
    records: Vec<Record>,
}

impl AggregatedRecordBuilder {
    /// Creates an empty builder of a record with at most `limit` bytes. The partition key of the put also counts towards the
    /// record limit of Kinesis.
    pub fn new(limit: usize) -> Self {
        Self { limit, size: MAGIC.len() + CHECKSUM, key_indexes: HashMap::new(), records: Vec::new() }
    }

    /// Number of records added.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True if no record was added. An empty aggregated record should not be put.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Size of the aggregated record, in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Size that the aggregated record would have with another record of `length` bytes.
    pub fn size_with(&self, partition_key: &str, length: usize) -> usize {
        let (index, entry) = match self.key_indexes.get(partition_key) {
            Some(index) => (*index, 0),
            None => (self.key_indexes.len() as u64, field(partition_key.len())),
        };
        self.size + entry + field(key_len(1) + encoded_len_varint(index) + field(length))
    }

    /// Adds a record.
    ///
    /// # Errors
    ///
    /// Returns `data` if the record does not fit within the limit.
    pub fn add(&mut self, partition_key: &str, data: Vec<u8>) -> Result<(), Vec<u8>> {
        let size = self.size_with(partition_key, data.len());
        if size > self.limit {
            return Err(data);
        }
        let index = match self.key_indexes.get(partition_key) {
            Some(index) => *index,
            None => {
                let index = self.key_indexes.len() as u64;
                self.key_indexes.insert(partition_key.to_owned(), index);
                index
            }
        };
        let data = Some(Bytes::from(data));
        self.records.push(Record { partition_key_index: Some(index), explicit_hash_key_index: None, data });
        self.size = size;
        Ok(())
    }

    /// Encodes the aggregated record.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut partition_keys = vec![String::new(); self.key_indexes.len()];
        for (partition_key, index) in self.key_indexes {
            partition_keys[index as usize] = partition_key;
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

/// Size of a length-delimited field, in bytes. The numbers of all fields take one byte.
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

/// A part. Fields 1 and 3 are required: a part without field 1 must not get the first key, nor one without field 3 empty data.
/// Field 4 is for tags, which no known producer writes.
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
        // The data may be confidential and is not printed.
        f.debug_struct("SubRecord")
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

    /// Record of `("a", "x")` and `("b", "")`, written by hand after the description of the format.
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
    fn records_are_encoded_as_the_format_describes() {
        let records = [("a".to_owned(), b"x".to_vec()), ("b".to_owned(), Vec::new())];
        assert_eq!(aggregated(&records), sealed(&SAMPLE[4..]));
        assert_eq!(read(&sealed(&SAMPLE[4..])), records);
    }

    #[test]
    fn plain_records_and_damaged_records_have_different_errors() {
        let error = |bytes: &[u8]| AggregatedRecord::read(bytes).unwrap_err();
        assert_eq!(error(b""), NotAggregated::Plain);
        assert_eq!(error(br#"{"eventsrc":1}"#), NotAggregated::Plain);
        assert_eq!(error(&sealed(b"")), NotAggregated::Plain);
        assert_eq!(error(&[SAMPLE, &[0; 16]].concat()), NotAggregated::Checksum);
        assert_eq!(error(&sealed(b"\x0a\x05a")), NotAggregated::Message);
    }

    #[test]
    fn an_unreadable_part_leaves_other_parts_readable() {
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
        let invalid: Vec<_> =
            parts.iter().filter_map(|part| part.as_ref().err().map(|invalid| invalid.part)).collect();
        assert_eq!(invalid, [0, 2, 3, 4, 5]);
        assert_eq!(parts[1], Ok(SubRecord { partition_key: "a", explicit_hash_key: Some("7"), data: b"1" }));
        assert_eq!(parts[6].as_ref().map(|part| part.data), Ok(b"6".as_slice()));
    }

    #[test]
    fn tags_are_ignored() {
        let message = b"\x0a\x01a\x1a\x0a\x08\x00\x1a\x01x\x22\x03\x0a\x01t";
        assert_eq!(read(&sealed(message)), [("a".to_owned(), b"x".to_vec())]);
    }

    #[test]
    fn a_record_that_does_not_fit_is_returned() {
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
        fn records_are_read_back_and_have_the_predicted_size(records in records()) {
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
        fn a_damaged_record_is_an_error(
            records in prop::collection::vec(("[ab]{0,9}", any::<Vec<u8>>()), 1..20),
            index in any::<prop::sample::Index>(),
            bit in 0..8,
        ) {
            let mut bytes = aggregated(&records);
            let index = index.index(bytes.len());
            prop_assert!(AggregatedRecord::read(&bytes[..index]).is_err());
            bytes[index] ^= 1u8 << bit;
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
