use std::collections::HashMap;

use aws_sdk_dynamodbstreams::primitives::Blob;
use aws_sdk_dynamodbstreams::types::{AttributeValue, OperationType, Record as Streamed, StreamRecord};
use eventsrc_core::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::dynamodb::record::{DestinationRecords, StreamRecords};
use crate::record::user::User;
use crate::record::{Decoder, Record};

/// Both decoders, for the same table.
struct Records(StreamRecords<User, u64, String>, DestinationRecords<User, u64, String>);

trait Reads<R> {
    fn read(&self, record: R, from: u64, decoded: &mut Decoded<User, u64, String>) -> u64;
}

impl Reads<Streamed> for Records {
    fn read(&self, record: Streamed, from: u64, decoded: &mut Decoded<User, u64, String>) -> u64 {
        self.0.decode(record, from, decoded)
    }
}

impl Reads<Record> for Records {
    fn read(&self, record: Record, from: u64, decoded: &mut Decoded<User, u64, String>) -> u64 {
        self.1.decode(record, from, decoded)
    }
}

fn records() -> Records {
    Records(StreamRecords::new(ItemDecoder::new()), DestinationRecords::new("names", ItemDecoder::new()))
}

fn keys(stream: &str) -> HashMap<String, AttributeValue> {
    HashMap::from([
        ("k".to_owned(), AttributeValue::S(stream.into())),
        ("n".to_owned(), AttributeValue::N("7".into())),
    ])
}

fn image(stream: &str) -> HashMap<String, AttributeValue> {
    let mut image = keys(stream);
    image.insert("i".to_owned(), AttributeValue::B(Blob::new([1; 16])));
    image.insert("t".to_owned(), AttributeValue::N("1767225600000001".into()));
    image.insert("p".to_owned(), AttributeValue::S(r#"["a","b"]"#.into()));
    image.insert("l".to_owned(), AttributeValue::B(Blob::new([3, 3])));
    image
}

fn streamed(
    what: OperationType,
    keys: HashMap<String, AttributeValue>,
    image: Option<HashMap<String, AttributeValue>>,
) -> Streamed {
    let dynamodb = StreamRecord::builder().set_keys(Some(keys)).set_new_image(image).build();
    Streamed::builder().event_name(what).dynamodb(dynamodb).build()
}

/// A record as AWS writes it.
const NATIVE: &str = concat!(
    r#"{"awsRegion":"eu-west-1","eventID":"0a1b","eventName":"INSERT","userIdentity":null,"#,
    r#""recordFormat":"application/json","tableName":"names","dynamodb":{"#,
    r#""ApproximateCreationDateTime":1767225600000001,"ApproximateCreationDateTimePrecision":"MICROSECOND","#,
    r#""Keys":{"k":{"S":"user/1"},"n":{"N":"7"}},"NewImage":{"k":{"S":"user/1"},"n":{"N":"7"},"#,
    r#""i":{"B":"AQEBAQEBAQEBAQEBAQEBAQ=="},"t":{"N":"1767225600000001"},"p":{"S":"[\"a\",\"b\"]"},"l":{"B":"AwM="}},"#,
    r#""SizeBytes":120},"eventSource":"aws:dynamodb"}"#
);

fn put(data: impl Into<Vec<u8>>) -> Record {
    Record { partition_key: "68406A366BD60300".into(), data: data.into() }
}

fn decode<R>(records: &Records, record: R) -> Decoded<User, u64, String>
where
    Records: Reads<R>,
{
    let mut decoded = Decoded::default();
    assert_eq!(records.read(record, 0, &mut decoded), 0);
    decoded
}

fn assert_commit(decoded: &Decoded<User, u64, String>) {
    let ([Change::Commit(commit)], []) = (&decoded.changes[..], &decoded.anomalies[..]) else {
        panic!("{decoded:?}")
    };
    assert_eq!((&commit.key, commit.first), (&User("1".into()), 7));
    assert_eq!(commit.payloads[..], ["a".to_owned(), "b".to_owned()]);
    assert_eq!(commit.time, Timestamp::from_microsecond(1_767_225_600_000_001).unwrap());
}

fn assert_hint(decoded: &Decoded<User, u64, String>, stream: Option<&str>, words: &str) {
    let [Anomaly::Unreadable { stream: found, reason }] = &decoded.anomalies[..] else {
        panic!("{decoded:?}")
    };
    assert_eq!(found.as_ref().map(StreamName::as_str), stream);
    assert!(reason.contains(words), "{reason}");
    assert!(!reason.contains("secret"), "{reason}");
    match (&decoded.changes[..], stream) {
        ([Change::Stream(User(id))], Some(stream)) => assert_eq!(format!("user/{id}"), stream),
        ([Change::Anything], None) => {}
        other => panic!("{other:?}"),
    }
}

fn assert_nothing(decoded: &Decoded<User, u64, String>) {
    assert!(decoded.changes.is_empty() && decoded.anomalies.is_empty(), "{decoded:?}");
}

#[test]
fn an_inserted_item_is_a_commit() {
    assert_commit(&decode(
        &records(),
        streamed(OperationType::Insert, keys("user/1"), Some(image("user/1"))),
    ));
    assert_commit(&decode(&records(), put(NATIVE)));
}

#[test]
fn a_destination_record_is_read_with_a_time_of_any_precision() {
    let precise = r#"1767225600000001,"ApproximateCreationDateTimePrecision":"MICROSECOND""#;
    assert_commit(&decode(&records(), put(NATIVE.replace(precise, "1767225600000"))));
    let precision = r#"1767225600000,"ApproximateCreationDateTimePrecision":"MILLISECOND""#;
    assert_commit(&decode(&records(), put(NATIVE.replace(precise, precision))));
}

#[test]
fn a_record_without_a_table_name_is_read() {
    let other = NATIVE.replace(r#""tableName":"names","#, "").replace(r#""userIdentity":null,"#, "");
    let other = other.replace(r#""recordFormat":"application/json","#, r#""eventVersion":"1.1","#);
    let other =
        other.replace(r#""SizeBytes":120"#, r#""SequenceNumber":"1","StreamViewType":"NEW_AND_OLD_IMAGES""#);
    assert_commit(&decode(&records(), put(other)));
}

#[test]
fn a_modified_or_removed_item_is_an_anomaly_and_not_a_change() {
    let anomaly = |operation: &str| Anomaly::Tampered {
        stream: Some("user/1".parse().unwrap()),
        number: Some(7),
        operation: operation.into(),
    };
    for (operation, image) in [(OperationType::Modify, Some(image("user/1"))), (OperationType::Remove, None)]
    {
        let name = operation.as_str().to_owned();
        let decoded = decode(&records(), streamed(operation, keys("user/1"), image));
        assert!(decoded.changes.is_empty());
        assert_eq!(decoded.anomalies, [anomaly(&name)]);
        let decoded = decode(&records(), put(NATIVE.replace("INSERT", &name)));
        assert!(decoded.changes.is_empty());
        assert_eq!(decoded.anomalies, [anomaly(&name)]);
    }
    let decoded = decode(&records(), streamed(OperationType::Remove, HashMap::new(), None));
    let unknown = Anomaly::Tampered { stream: None, number: None, operation: "REMOVE".into() };
    assert_eq!(decoded.anomalies, [unknown]);
}

#[test]
fn items_with_other_keys_are_ignored() {
    for operation in [OperationType::Insert, OperationType::Modify, OperationType::Remove] {
        let native = NATIVE.replace("user/1", "group/1").replace("INSERT", operation.as_str());
        assert_nothing(&decode(&records(), put(native)));
        assert_nothing(&decode(&records(), streamed(operation, keys("group/1"), Some(image("group/1")))));
    }
    assert_nothing(&decode(&records(), streamed(OperationType::Insert, keys("group/1"), None)));
}

#[test]
fn a_record_of_another_table_is_foreign() {
    let decoded = decode(&records(), put(NATIVE.replace(r#""names""#, r#""names-snapshots""#)));
    assert!(decoded.changes.is_empty());
    assert!(
        matches!(&decoded.anomalies[..], [Anomaly::Foreign { reason }] if reason.contains("names-snapshots"))
    );
}

#[test]
fn missing_new_images_are_hints_and_reported_once() {
    let records = records();
    let record = |stream: &str| streamed(OperationType::Insert, keys(stream), None);
    assert_hint(&decode(&records, record("user/1")), Some("user/1"), "NEW_IMAGE");
    let second = decode(&records, record("user/2"));
    assert!(matches!(&second.changes[..], [Change::Stream(User(id))] if id == "2"), "{second:?}");
    assert_eq!(second.anomalies, []);
}

#[test]
fn an_unreadable_item_is_an_anomaly_and_a_hint() {
    let mut bad = image("user/1");
    bad.insert("p".to_owned(), AttributeValue::S(r#"["a",{"secret":1}]"#.into()));
    bad.insert("l".to_owned(), AttributeValue::B(Blob::new([3, 12])));
    let insert = |image| streamed(OperationType::Insert, keys("user/1"), Some(image));
    assert_hint(&decode(&records(), insert(bad)), Some("user/1"), "payload of version 1");
    let mut bad = image("user/1");
    bad.insert("m".to_owned(), AttributeValue::S(r#"{"commit_id":"secret"}"#.into()));
    assert_hint(&decode(&records(), insert(bad)), Some("user/1"), "cannot read the metadata");
    assert_hint(&decode(&records(), insert(keys("user/1"))), Some("user/1"), "attribute");
    let other = streamed(OperationType::from("REPLACE"), keys("user/1"), None);
    assert_hint(&decode(&records(), other), Some("user/1"), "neither");
    assert_hint(&decode(&records(), Streamed::builder().build()), None, "no operation");

    let native = |from: &str, to: &str| decode(&records(), put(NATIVE.replacen(from, to, 1)));
    assert_hint(&native(r#"{"B":"AwM="}"#, r#"{"B":"secret?"}"#), Some("user/1"), "column");
    assert_hint(&native("aws:dynamodb", "aws:secret"), None, "another service");
    assert_hint(&decode(&records(), put("secret")), None, "column");
    assert_hint(&decode(&records(), put(b"\xff".as_slice())), None, "not UTF-8");
}

#[test]
fn a_processed_record_is_not_decoded_again() {
    let mut decoded = Decoded::default();
    records().read(put(NATIVE), 1, &mut decoded);
    records().read(streamed(OperationType::Remove, keys("user/1"), None), 1, &mut decoded);
    assert_nothing(&decoded);
}

proptest! {
    #[test]
    fn a_truncated_record_is_an_anomaly(index in any::<prop::sample::Index>()) {
        let cut = decode(&records(), put(&NATIVE[..index.index(NATIVE.len())]));
        prop_assert!(matches!(&cut.changes[..], [Change::Anything]), "{cut:?}");
        prop_assert_eq!(cut.anomalies.len(), 1);
    }

    #[test]
    fn a_damaged_record_is_read_without_a_panic(index in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut data = NATIVE.as_bytes().to_vec();
        let index = index.index(data.len());
        data[index] = byte;
        let damaged = decode(&records(), put(data));
        prop_assert!(damaged.changes.len() <= 1 && damaged.anomalies.len() <= 1, "{damaged:?}");
    }
}
