use std::error::Error;

use eventsrc_core::codec::{CodecError, Postcard, RawCodec, RawPayload, Unchecked};
use eventsrc_core::commit::{Vec1, vec1};
use eventsrc_core::stream::ZonedSequence;
use eventsrc_core::{CommitId, Metadata, Timestamp, Token};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::*;
use crate::anomaly::Anomaly;
use crate::record::AggregatedRecordBuilder;
use crate::record::user::User;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fact {
    Named(String),
    Moved(String),
}

/// JSON whose version is 2.
#[derive(Debug)]
struct Second;

impl Codec<Fact> for Second {
    fn version(&self) -> u32 {
        2
    }

    fn is_text(&self) -> bool {
        true
    }

    fn encode(&self, value: &Fact, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        Json.encode(value, bytes)
    }

    fn decode(&self, version: u32, bytes: &[u8]) -> Result<Fact, CodecError> {
        if version != 2 {
            return Err(CodecError::UnknownVersion { version, oldest: 2, current: 2 });
        }
        Json.decode(1, bytes)
    }
}

/// Text that need not be JSON and may have whitespace around it.
#[derive(Debug)]
struct Plain;

impl Codec<String> for Plain {
    fn version(&self) -> u32 {
        1
    }

    fn is_text(&self) -> bool {
        true
    }

    fn encode(&self, value: &String, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        bytes.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn decode(&self, version: u32, bytes: &[u8]) -> Result<String, CodecError> {
        let malformed =
            |error: Box<dyn Error + Send + Sync>| CodecError::Malformed { version, source: error };
        String::from_utf8(bytes.to_vec()).map_err(|error| malformed(error.into()))
    }
}

/// Commit of two events in the layout of version 0.1 of this crate. Later versions must read it.
const SAMPLE: &str = concat!(
    r#"{"eventsrc":1,"change":"commit","stream":"user/acme/42","number":7,"zone":3,"#,
    r#""time":"2026-01-01T00:00:00.000001Z","metadata":{"commit_id":"01020304-0506-7708-890a-0b0c0d0e0f10","#,
    r#""actor":"Grace"},"version":2,"events":[{"named":"Ada"},{"moved":"London"}]}"#
);

fn sample() -> Commit<User, ZonedSequence, Fact> {
    let id = CommitId(Uuid::from_u128(0x0102_0304_0506_7708_890a_0b0c_0d0e_0f10));
    Commit {
        key: User("acme/42".into()),
        first: ZonedSequence::from_parts(7, Zone(3)).unwrap(),
        previous: None,
        time: Timestamp::from_microsecond(1_767_225_600_000_001).unwrap(),
        metadata: Metadata { actor: Some("Grace".into()), ..Metadata::new(id) },
        payloads: vec1![Fact::Named("Ada".into()), Fact::Moved("London".into())].into(),
    }
}

/// The same commit with the id of the commit before it. Later versions must read it.
const SAMPLE_WITH_PREVIOUS: &str = concat!(
    r#"{"eventsrc":1,"change":"commit","stream":"user/acme/42","number":7,"zone":3,"#,
    r#""previous":"01020304-0506-7708-890a-0b0c0d0e0f0f","time":"2026-01-01T00:00:00.000001Z","#,
    r#""metadata":{"commit_id":"01020304-0506-7708-890a-0b0c0d0e0f10","actor":"Grace"},"version":2,"#,
    r#""events":[{"named":"Ada"},{"moved":"London"}]}"#
);

fn sample_with_previous() -> Commit<User, ZonedSequence, Fact> {
    let previous = CommitId(Uuid::from_u128(0x0102_0304_0506_7708_890a_0b0c_0d0e_0f0f));
    Commit { previous: Some(previous), ..sample() }
}

fn record(partition_key: &str, data: impl Into<Vec<u8>>) -> Record {
    Record { partition_key: partition_key.into(), data: data.into() }
}

fn decode<D: Decoder<Record>>(decoder: &D, record: Record) -> Decoded<D::Key, D::Sequence, D::Payload> {
    let mut decoded = Decoded::default();
    assert_eq!(decoder.decode(record, 0, &mut decoded), 0);
    decoded
}

fn only_commit<K: Clone, S: Clone, E: Clone>(decoded: &Decoded<K, S, E>) -> Commit<K, S, E> {
    assert_eq!(decoded.anomalies, []);
    let [Change::Commit(commit)] = &decoded.changes[..] else { panic!("there is one commit") };
    Commit::clone(commit)
}

fn envelope() -> Envelope<User, ZonedSequence, Fact, Second> {
    Envelope::with_codec(Second)
}

#[test]
fn a_stored_sample_is_read() {
    for (text, commit) in [(SAMPLE, sample()), (SAMPLE_WITH_PREVIOUS, sample_with_previous())] {
        assert_eq!(only_commit(&decode(&envelope(), record("user/acme/42", text))), commit);
        let written = envelope().encode(&Change::Commit(Arc::new(commit))).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), text, "it is written unchanged");
    }
}

#[test]
fn raw_payloads_are_written_unchanged() {
    let raw = Envelope::<StreamName, ZonedSequence, RawPayload, _>::with_codec(RawCodec::TEXT);
    let commit = only_commit(&decode(&raw, record("user/acme/42", SAMPLE)));
    assert_eq!(commit.payloads[0], RawPayload { version: 2, bytes: br#"{"named":"Ada"}"#.into() });
    let written = raw.encode(&Change::Commit(Arc::new(commit))).unwrap();
    assert_eq!(String::from_utf8(written).unwrap(), SAMPLE);
}

#[test]
fn default_values_are_omitted() {
    let commit = Commit {
        key: User("1".into()),
        first: 1,
        previous: None,
        time: Timestamp::UNIX_EPOCH,
        metadata: Metadata::new(CommitId(Uuid::nil())),
        payloads: vec1!["a".to_owned()].into(),
    };
    let written = Envelope::<User, u64, String>::new().encode(&Change::Commit(Arc::new(commit))).unwrap();
    let expected = concat!(
        r#"{"eventsrc":1,"change":"commit","stream":"user/1","number":1,"time":"1970-01-01T00:00:00.000000Z","#,
        r#""metadata":{"commit_id":"00000000-0000-0000-0000-000000000000"},"events":["a"]}"#
    );
    assert_eq!(String::from_utf8(written).unwrap(), expected);
}

#[test]
fn unknown_fields_are_ignored() {
    let later = SAMPLE.replacen(r#""number""#, r#""later":{"a":[1]},"number""#, 1);
    assert_eq!(only_commit(&decode(&envelope(), record("user/acme/42", later))), sample());
}

#[test]
fn hints_are_read_back() {
    let hint = |change| decode(&envelope(), record("x", envelope().encode(&change).unwrap())).changes;
    assert!(matches!(&hint(Change::Anything)[..], [Change::Anything]));
    let key = User("a\"b".into());
    assert!(matches!(&hint(Change::Stream(key.clone()))[..], [Change::Stream(read)] if *read == key));
}

#[test]
fn records_of_other_keys_are_ignored() {
    let group = SAMPLE.replace("user/acme/42", "group/1").replace(r#""named""#, "7");
    let later = r#"{"eventsrc":2,"stream":"group/1"}"#;
    let bad = r#"{"eventsrc":1,"change":"commit","stream":"group/1","number":"seven"}"#;
    for data in [group.as_str(), r#"{"eventsrc":1,"change":"stream","stream":"group/1"}"#, later, bad, "{}"] {
        let decoded = decode(&envelope(), record("group/1", data));
        assert!(decoded.changes.is_empty() && decoded.anomalies.is_empty(), "{data}: {decoded:?}");
    }
}

/// Asserts that `data` under `partition_key` is an anomaly and a hint, and that the anomaly quotes no data.
fn assert_unreadable(partition_key: &str, data: &str, stream: Option<&str>, words: &str) {
    let decoded = decode(&envelope(), record(partition_key, data));
    let [Anomaly::Unreadable { stream: found, reason }] = &decoded.anomalies[..] else {
        panic!("{data}: {decoded:?}");
    };
    assert_eq!(found.as_ref().map(StreamName::as_str), stream, "{data}");
    assert!(reason.contains(words), "{data}: {reason}");
    assert!(!reason.contains("secret"), "{reason}");
    match (&decoded.changes[..], stream) {
        ([Change::Stream(User(id))], Some(stream)) => assert_eq!(format!("user/{id}"), stream),
        ([Change::Anything], None) => {}
        other => panic!("{data}: {other:?}"),
    }
}

#[test]
fn an_unreadable_record_is_an_anomaly_and_a_hint() {
    let of = |from: &str, to: &str| SAMPLE.replacen(from, to, 1);
    let acme = Some("user/acme/42");
    let unreadable = |data: String, words| assert_unreadable("0123abcd", &data, acme, words);
    unreadable(of(r#""eventsrc":1"#, r#""eventsrc":2"#), "version 2");
    unreadable(of(r#""eventsrc":1,"#, r#""eventsrc":9,"zone":"secret","#), "version 9");
    unreadable(of(r#"{"named":"Ada"}"#, r#"{"secret":"Ada"}"#), "payload 0");
    unreadable(of(r#"{"moved":"London"}"#, r#"{"moved":{"secret":7}}"#), "payload 1");
    unreadable(of(r#"[{"named":"Ada"},{"moved":"London"}]"#, "[]"), "no payloads");
    unreadable(of(r#""version":2"#, r#""version":3"#), "version 3");
    unreadable(of(r#""events""#, r#""binaries""#), "malformed");
    unreadable(of(r#""number":7"#, r#""number":"secret""#), "malformed");
    unreadable(of(r#""number":7"#, r#""number":0"#), "number 0 of zone 3");
    unreadable(of(r#""number":7"#, r#""number":9223372036854775807"#), "last sequence");
    unreadable(of(r#""number":7,"#, ""), "no number");
    unreadable(of(r#""time":"2026-01-01T00:00:00.000001Z","#, ""), "no time");
    unreadable(of("2026-01-01", "2026-21-01"), "malformed");
    unreadable(of(r#""time""#, r#""previous":"secret","time""#), "malformed");
    unreadable(of(r#""change":"commit""#, r#""change":"secret""#), "unknown kind");
}

#[test]
fn the_partition_key_names_the_stream_of_an_unreadable_record() {
    for (data, words) in [
        (r#"{"secret":1}"#, "not an envelope"),
        (r#""secret""#, "not an envelope"),
        (r#"{"eventsrc":"secret"}"#, "not an envelope"),
        (r#"{"eventsrc":1,"change":"commit"}"#, "has no stream"),
        (r#"{"eventsrc":1,"change":"commit","stream":"secret"}"#, "stream of the envelope is malformed"),
        ("secret", "not JSON"),
        (&SAMPLE[..90], "not JSON"),
        ("", "not JSON"),
    ] {
        assert_unreadable("user/7", data, Some("user/7"), words);
        assert_unreadable("68406A366BD60300", data, None, words);
    }
    let decoded = decode(&envelope(), record("user/7", b"\xff\xfe".as_slice()));
    assert!(matches!(&decoded.changes[..], [Change::Stream(_)]), "{decoded:?}");
}

#[test]
fn payloads_of_another_kind_of_codec_are_an_anomaly() {
    let text = Envelope::<User, u64, String>::new();
    let binary = Envelope::<User, u64, String, _>::with_codec(Postcard);
    let commit = Commit {
        key: User("1".into()),
        first: 1,
        previous: None,
        time: Timestamp::UNIX_EPOCH,
        metadata: Metadata::new(CommitId(Uuid::nil())),
        payloads: vec1!["a".to_owned(), String::new()].into(),
    };
    let change = Change::Commit(Arc::new(commit.clone()));
    let (texts, binaries) = (text.encode(&change).unwrap(), binary.encode(&change).unwrap());
    assert!(String::from_utf8_lossy(&binaries).ends_with(r#""binaries":["AWE=","AA=="]}"#));
    assert_eq!(only_commit(&decode(&binary, record("user/1", binaries.clone()))), commit);
    for decoded in [decode(&text, record("", binaries)), decode(&binary, record("", texts))] {
        assert!(matches!(&decoded.changes[..], [Change::Stream(User(id))] if id == "1"), "{decoded:?}");
        assert_eq!(decoded.anomalies.len(), 1);
    }
}

#[test]
fn parts_are_read_from_the_requested_one() {
    let mut aggregate = AggregatedRecordBuilder::new(1 << 20);
    for (key, data) in [("user/1", "broken"), ("user/acme/42", SAMPLE), ("group/1", "{}")] {
        aggregate.add(key, data.into()).unwrap();
    }
    let data = aggregate.into_bytes();
    let from = |from| {
        let mut decoded = Decoded::default();
        assert_eq!(envelope().decode(record("other", data.clone()), from, &mut decoded), 2);
        decoded
    };
    let all = from(0);
    assert!(
        matches!(&all.changes[..], [Change::Stream(User(id)), Change::Commit(_)] if id == "1"),
        "{all:?}"
    );
    assert_eq!(all.anomalies.len(), 1);
    assert_eq!(only_commit(&from(1)), sample());
    assert!(from(2).changes.is_empty());
    assert!(from(u64::MAX).changes.is_empty());

    let mut damaged = data.clone();
    damaged[9] ^= 1;
    let decoded = decode(&envelope(), record("user/1", damaged));
    assert!(
        matches!(&decoded.changes[..], [Change::Anything]),
        "the parts may belong to any stream: {decoded:?}"
    );
    assert_eq!(decoded.anomalies.len(), 1);
}

#[test]
fn a_long_name_is_hashed_to_a_partition_key() {
    let name = |length| StreamName::new("user", &"ü".repeat(length)).unwrap();
    assert_eq!(partition_key(&name(251)), name(251).as_str());
    let name = name(252);
    let hash = partition_key(&name);
    assert_eq!(hash.len(), 32);
    assert!(hash.parse::<StreamName>().is_err());
}

#[test]
fn the_error_of_an_unencodable_commit_names_its_stream() {
    let error = |commit| envelope().encode(&Change::Commit(Arc::new(commit))).unwrap_err();
    let last = ZonedSequence::from_parts(i64::MAX as u64, Zone(0)).unwrap();
    let past = error(Commit { first: last, ..sample() });
    assert_eq!((past.kind(), past.stream()), (ErrorKind::Invalid, Some("user/acme/42")));
    assert_eq!(error(Commit { key: User(String::new()), ..sample() }).kind(), ErrorKind::Invalid);
}

#[test]
fn a_payload_that_would_not_come_back_is_not_written() {
    let lost = |payload| {
        let commit = sample().mapped(|key| key, |_| payload);
        let json = Envelope::<User, ZonedSequence, Option<f64>>::new();
        let raw = Envelope::<User, ZonedSequence, Option<f64>, Unchecked<Json>>::with_codec(Unchecked(Json));
        let change = Change::Commit(Arc::new(commit));
        (json.encode(&change).map_err(|error| error.kind()), raw.encode(&change).is_ok())
    };
    assert_eq!(lost(Some(f64::NAN)), (Err(ErrorKind::Invalid), true));
    assert!(lost(Some(1.5)).0.is_ok());
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let token =
        prop::collection::btree_map("[a-z]{1,9}", 1..u64::from(u32::MAX), 0..3).prop_map(|positions| {
            positions.into_iter().fold(Token::default(), |token, (id, number)| {
                token.join(&Token::claimed(&StreamName::new("user", &id).unwrap(), number).unwrap())
            })
        });
    (any::<u128>(), any::<Option<String>>(), any::<Option<String>>(), any::<Option<String>>(), token)
        .prop_map(|(id, correlation_id, causation_id, actor, dependencies)| Metadata {
            commit_id: CommitId(Uuid::from_u128(id)),
            correlation_id,
            causation_id,
            actor,
            dependencies,
        })
}

fn payloads() -> impl Strategy<Value = Vec1<String>> {
    let payload = prop_oneof![".*", "[ \t]*[0-9]{0,3}[ ]*", Just("{\"a\": [1,  2]}".to_owned())];
    prop::collection::vec(payload, 1..6).prop_map(|payloads| Vec1::try_from_vec(payloads).unwrap())
}

fn assert_round_trip<C: Codec<String>>(
    codec: C,
    commit: &Commit<StreamName, ZonedSequence, String>,
) -> Result<(), TestCaseError> {
    let envelope = Envelope::with_codec(codec);
    let data = envelope.encode(&Change::Commit(Arc::new(commit.clone()))).unwrap();
    prop_assert!(serde_json::from_slice::<serde_json::Value>(&data).is_ok());
    prop_assert_eq!(&only_commit(&decode(&envelope, record("", data))), commit);
    Ok(())
}

/// Asserts that both ways of reading JSON payloads have the same result.
fn assert_same_in_one_pass(data: impl Into<Vec<u8>>) {
    let data = data.into();
    let (one_pass, parts) = (Envelope::<User, ZonedSequence, Fact>::new(), Envelope::with_codec(Json));
    let one_pass = decode(&one_pass, record("user/1", data.clone()));
    let parts: Decoded<User, ZonedSequence, Fact> = decode(&parts, record("user/1", data.clone()));
    assert_eq!(format!("{one_pass:?}"), format!("{parts:?}"), "{}", String::from_utf8_lossy(&data));
}

/// The sample with payload version 1.
fn first_sample() -> String {
    SAMPLE.replace(r#""version":2,"#, "")
}

#[test]
fn payloads_at_the_end_are_read_in_one_pass() {
    let reads_in_one_pass = |text: &str| {
        assert_same_in_one_pass(text);
        Envelope::<User, ZonedSequence, Fact>::new().decode_in_one_pass(text).is_some()
    };
    let first = first_sample();
    let of = |from: &str, to: &str| first.replacen(from, to, 1);
    let events = r#""events":[{"named":"Ada"},{"moved":"London"}]"#;
    assert!(reads_in_one_pass(&first));
    assert!(reads_in_one_pass(&of("Grace", r#",\"events\":["#)));
    assert!(reads_in_one_pass(&of(r#""zone":3"#, r#""later":[7]"#)));
    assert!(reads_in_one_pass(&of("user/acme/42", "group/1")));
    assert!(reads_in_one_pass(&SAMPLE_WITH_PREVIOUS.replace(r#""version":2,"#, "")));
    for other in [
        SAMPLE,
        &of(events, r#""events":[]"#),
        &of(events, r#""events":[{"named":"Ada"},{"moved":7}]"#),
        &of(events, &format!("{events},{events}")),
        &of(events, &format!(r#"{events},"later":1"#)),
        &of(events, &format!(r#""later":{{"of":1,{events}}}"#)),
        &of(events, &format!(r#""later":{{"of":1,"events":[1]}},{events}"#)),
        &of(events, r#""events": [{"named":"Ada"}]"#),
        &of(r#""change":"commit""#, r#""change":"stream""#),
        &of("user/acme/42", "user/a\\u0000b"),
        &of(r#""number":7,"#, ""),
        &first[..first.len() - 1],
    ] {
        assert!(!reads_in_one_pass(other), "{other}");
    }
}

proptest! {
    #[test]
    fn one_pass_has_the_same_result_for_any_data(
        index in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(br#"{}[],:"\0a"#.to_vec())],
    ) {
        let mut data = first_sample().into_bytes();
        let index = index.index(data.len());
        assert_same_in_one_pass(&data[..index]);
        assert_same_in_one_pass([&data[..index], &[byte], &data[index..]].concat());
        data[index] = byte;
        assert_same_in_one_pass(data);
    }

    #[test]
    fn commits_are_read_back(
        (category, id) in ("[^/\0]+", "[^\0]+"),
        (number, zone, time) in (1..u64::from(u32::MAX), any::<u16>(), -1_000_000_000_000_000..4_000_000_000_000_000i64),
        previous in any::<Option<u128>>(),
        metadata in metadata(),
        payloads in payloads(),
    ) {
        let commit = Commit {
            key: StreamName::new(&category, &id).unwrap(),
            first: ZonedSequence::from_parts(number, Zone(zone)).unwrap(),
            previous: previous.map(|id| CommitId(Uuid::from_u128(id))),
            time: Timestamp::from_microsecond(time).unwrap(),
            metadata,
            payloads: payloads.into(),
        };
        assert_round_trip(Json, &commit)?;
        let data = Envelope::new().encode(&Change::Commit(Arc::new(commit.clone()))).unwrap();
        prop_assert_eq!(&only_commit(&decode(&Envelope::new(), record("", data))), &commit);
        assert_round_trip(Plain, &commit)?;
        assert_round_trip(Postcard, &commit)?;
    }

    #[test]
    fn a_damaged_record_is_an_anomaly_or_a_commit_and_never_a_panic(
        index in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut data = SAMPLE.as_bytes().to_vec();
        let index = index.index(data.len());
        for data in [data[..index].to_vec(), { data[index] = byte; data }] {
            let decoded = decode(&Envelope::<StreamName, ZonedSequence, Fact, _>::with_codec(Second), record("user/1", data));
            prop_assert_eq!(decoded.changes.len(), 1, "{:?}", decoded);
        }
    }
}
