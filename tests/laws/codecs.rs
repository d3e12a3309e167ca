//! Encoded payloads are decoded by this version and by all later ones.

use std::error::Error;

use eventsrc_core::backend::EncodedPayloads;
use eventsrc_core::codec::{Codec, CodecError, Json, Kind, Kinds, Postcard, Versioned};
use eventsrc_core::commit::Payloads;
use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Payload {
    Opened,
    Named(String),
    Moved { from: Option<i64>, to: Vec<u8>, tags: Vec<String> },
}

fn payloads() -> impl Strategy<Value = Payload> {
    let moved = (any::<Option<i64>>(), vec(any::<u8>(), 0..9), vec("\\PC{0,5}", 0..3));
    prop_oneof![
        Just(Payload::Opened),
        any::<String>().prop_map(Payload::Named),
        moved.prop_map(|(from, to, tags)| Payload::Moved { from, to, tags }),
    ]
}

fn encode<C: Codec<T>, T>(codec: &C, value: &T) -> Vec<u8> {
    let mut bytes = b"before".to_vec();
    codec.encode(value, &mut bytes).unwrap();
    assert!(bytes.starts_with(b"before"), "encoding appends");
    bytes.split_off(6)
}

fn round_trips<C: Codec<Payload>>(codec: &C, payload: &Payload, noise: &[u8]) {
    let bytes = encode(codec, payload);
    assert_eq!(codec.decode(codec.version(), &bytes).unwrap(), *payload);
    assert!(!codec.is_text() || std::str::from_utf8(&bytes).is_ok());
    assert!(matches!(codec.decode(codec.version() + 1, &bytes), Err(CodecError::UnknownVersion { .. })));
    let longer = [&bytes[..], b"x"].concat();
    assert!(matches!(codec.decode(codec.version(), &longer), Err(CodecError::Malformed { .. })));
    let _ = codec.decode(codec.version(), noise);
    for cut in 0..bytes.len() {
        assert!(codec.decode(codec.version(), &bytes[..cut]).is_err(), "cut at {cut} of {}", bytes.len());
    }
}

fn commits_round_trip<C: Codec<Payload>>(codec: &C, payloads: Vec<Payload>, cut: usize) {
    let payloads = Payloads::try_from(payloads).unwrap();
    let packed = EncodedPayloads::encode(codec, &payloads).unwrap();
    let decode =
        |bytes: &[u8], lengths: &[u8]| EncodedPayloads::decode(codec, packed.version, bytes, lengths);
    assert_eq!(decode(&packed.bytes, &packed.lengths).unwrap(), payloads);
    let cut = cut % packed.bytes.len().max(1);
    if cut < packed.bytes.len() {
        let (place, _) = decode(&packed.bytes[..cut], &packed.lengths).unwrap_err();
        assert!(place <= payloads.len());
    }
}

proptest! {
    #[test]
    fn payloads_round_trip(payload in payloads(), noise in vec(any::<u8>(), 0..40)) {
        round_trips(&Json, &payload, &noise);
        round_trips(&Postcard, &payload, &noise);
        round_trips(&Versioned::new(Json, 4), &payload, &noise);
        let kinds = || Kinds::new().with("Moved", Kind::at(3)).with("Opened", Kind::at(2));
        round_trips(&kinds(), &payload, &noise);
        round_trips(&kinds().with_unknown_as(|_, _| Payload::Opened), &payload, &noise);
    }

    #[test]
    fn encoded_commits_round_trip(payloads in vec(payloads(), 1..12), cut in any::<usize>()) {
        commits_round_trip(&Json, payloads.clone(), cut);
        commits_round_trip(&Postcard, payloads.clone(), cut);
        commits_round_trip(&Kinds::new().with("Named", Kind::at(2)), payloads, cut);
    }

    #[test]
    fn garbage_instead_of_an_encoded_commit_is_refused_without_a_panic(bytes in vec(any::<u8>(), 0..40), lengths in vec(any::<u8>(), 0..16)) {
        let _ = EncodedPayloads::decode::<Payload, _>(&Json, 1, &bytes, &lengths);
        let _ = EncodedPayloads::decode::<Payload, _>(&Postcard, 1, &bytes, &lengths);
    }
}

/// The same event in each of its three versions.
#[derive(PartialEq, Serialize, Deserialize)]
struct NamedV1 {
    name: String,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct NamedV2 {
    first: String,
    last: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct NamedV3 {
    display_name: String,
    shown_as: Option<String>,
}

fn versioned<C>(codec: C) -> impl Codec<NamedV3>
where
    C: Codec<NamedV3> + Codec<NamedV2> + Codec<NamedV1> + Clone,
{
    Versioned::new(codec, 3)
        .upcast(|old: NamedV2| {
            Ok(NamedV3 { display_name: format!("{} {}", old.first, old.last), shown_as: None })
        })
        .upcast(|old: NamedV1| {
            let (first, last) = old.name.split_once(' ').ok_or("a name of one word")?;
            Ok(NamedV2 { first: first.into(), last: last.into() })
        })
}

/// Bytes as each version wrote them. They must stay readable forever.
#[test]
fn stored_samples_of_every_version_stay_readable() {
    let ada = |shown_as: Option<&str>| NamedV3 {
        display_name: "Ada Lovelace".into(),
        shown_as: shown_as.map(Into::into),
    };
    let json = versioned(Json);
    let samples: [(u32, &[u8], _); 3] = [
        (1, br#"{"name":"Ada Lovelace"}"#, ada(None)),
        (2, br#"{"first":"Ada","last":"Lovelace"}"#, ada(None)),
        (3, br#"{"display_name":"Ada Lovelace","shown_as":"Ada"}"#, ada(Some("Ada"))),
    ];
    for (version, bytes, expected) in samples {
        assert_eq!(json.decode(version, bytes).unwrap(), expected, "version {version}");
    }
    let binary = versioned(Postcard);
    let samples: [(u32, &[u8], _); 3] = [
        (1, b"\x0cAda Lovelace", ada(None)),
        (2, b"\x03Ada\x08Lovelace", ada(None)),
        (3, b"\x0cAda Lovelace\x01\x03Ada", ada(Some("Ada"))),
    ];
    for (version, bytes, expected) in samples {
        assert_eq!(binary.decode(version, bytes).unwrap(), expected, "version {version}");
    }
    assert_eq!(encode(&json, &ada(None)), br#"{"display_name":"Ada Lovelace","shown_as":null}"#);
    assert_eq!(json.version(), 3);
}

#[test]
fn an_unreadable_payload_names_the_version_and_keeps_the_cause() {
    let codec = versioned(Json);
    let Err(error @ CodecError::Malformed { version: 1, .. }) = codec.decode(1, br#"{"name":"Ada"}"#) else {
        panic!("an upcaster may fail");
    };
    assert_eq!(error.source().unwrap().to_string(), "a name of one word");
    assert!(matches!(codec.decode(2, br#"{"first":"Ada"}"#), Err(CodecError::Malformed { version: 2, .. })));
    for version in [0, 4, u32::MAX] {
        let Err(CodecError::UnknownVersion { oldest: 1, current: 3, .. }) = codec.decode(version, b"{}")
        else {
            panic!("version {version} is not known");
        };
    }
    let two_only = Versioned::<_, NamedV3>::new(Json, 3).upcast(|_: NamedV2| Err("gone".into()));
    assert!(matches!(
        two_only.decode(1, b"{}"),
        Err(CodecError::UnknownVersion { version: 1, oldest: 2, current: 3 })
    ));
}

#[test]
#[should_panic(expected = "versions begin at 1")]
fn there_is_no_version_before_the_first() {
    let _ = Versioned::<_, NamedV3>::new(Json, 1).upcast(|_: NamedV2| Err("never".into()));
}
