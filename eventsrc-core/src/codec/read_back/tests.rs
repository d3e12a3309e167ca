//! Values that serde attributes and formats change or lose on the way, each with the codec that must refuse it.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_content::Serializer;
use vec1::vec1;

use super::difference::difference;
use crate::codec::encoded_payloads::EncodedPayloads;
use crate::codec::{Codec, CodecError, Json, Kinds, Postcard, Sampled, Unchecked, Versioned};

/// Encodes `value` as a backend does. Returns the causes of a refusal.
fn store<T: Clone, C: Codec<T>>(codec: &C, value: &T) -> Result<EncodedPayloads, String> {
    EncodedPayloads::encode(codec, &vec1![value.clone()]).map_err(|(index, error)| {
        assert_eq!((index, error.is_too_new()), (0, false));
        let (mut causes, mut source) = (Vec::new(), error.source());
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        causes.join(": ")
    })
}

/// The value comes back bit by bit.
fn keeps<T, C>(codec: &C, value: &T)
where
    T: Clone + Debug + PartialEq + Serialize + DeserializeOwned,
    C: Codec<T>,
{
    let stored = store(codec, value).unwrap_or_else(|error| panic!("{value:?}: {error}"));
    let decoded = EncodedPayloads::decode(codec, stored.version, &stored.bytes, &stored.lengths).unwrap();
    let tree = |value: &T| Serializer::new().serialize(value).unwrap().into_owned();
    let found = difference(&tree(&decoded[0]), &tree(value));
    assert!(found.is_none(), "{value:?}: {}", found.unwrap());
}

fn refuses<T, C>(codec: &C, value: &T, cause: &str)
where
    T: Clone + Debug + PartialEq,
    C: Codec<T>,
{
    let error = store(codec, value).expect_err(&format!("{value:?}"));
    assert!(error.contains(cause), "{value:?}: {error}");
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Measured {
    values: Vec<f64>,
    last: Option<f64>,
}

#[test]
fn numbers_come_back_bit_by_bit() {
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        let number = f64::from_bits(bits);
        if number.is_finite() {
            keeps(&Json, &Measured { values: vec![number, -number], last: Some(number / 3.0) });
        }
        keeps(&Postcard, &number);
    }
    for number in [9_007_199_254_740_991.0, 1.577_777_777_777_000_1, -0.0, f64::MIN_POSITIVE / 2.0, f64::MAX]
    {
        keeps(&Json, &number);
    }
}

#[test]
fn json_has_no_nan_and_no_infinity() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        refuses(&Json, &Measured { values: vec![1.0, number], last: None }, "");
        refuses(&Json, &Measured { values: Vec::new(), last: Some(number) }, "$.last");
        keeps(&Postcard, &Measured { values: vec![1.0, number], last: Some(number) });
        keeps(&Postcard, &HashMap::from([(1, number), (2, 2.0), (3, number)]));
    }
}

#[test]
fn an_option_in_an_option_is_lost_in_json() {
    refuses(&Json, &Some(None::<u8>), "$");
    refuses(&Json, &vec![Some(Some(1)), Some(None)], "$[1]");
    keeps(&Json, &vec![Some(Some(1)), None]);
    keeps(&Postcard, &vec![Some(Some(1)), Some(None), None]);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Counts { by_number: BTreeMap<u32, u32> },
    Large { number: u128 },
    Small { number: u64 },
}

#[test]
fn an_internal_tag_does_not_go_with_number_keys_and_large_numbers() {
    refuses(&Json, &Tagged::Counts { by_number: BTreeMap::from([(1, 2)]) }, "");
    refuses(&Json, &Tagged::Large { number: u128::MAX }, "");
    keeps(&Json, &Tagged::Small { number: u64::MAX });
    keeps(&Json, &u128::MAX);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Name(String),
    Real(f64),
    Whole(i64),
    Nick(String),
    Point { x: i64 },
    Point3 { x: i64, y: Option<i64> },
}

#[test]
fn an_untagged_value_may_match_an_earlier_variant() {
    keeps(&Json, &Untagged::Name("Ada".into()));
    keeps(&Json, &Untagged::Real(0.5));
    refuses(&Json, &Untagged::Whole(5), "$");
    refuses(&Json, &Untagged::Nick("Ada".into()), "another variant");
    keeps(&Json, &Untagged::Point { x: 1 });
    refuses(&Json, &Untagged::Point3 { x: 1, y: Some(2) }, "$");
    refuses(&Postcard, &Untagged::Name("Ada".into()), "");
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Skipped {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    required: Vec<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    optional: Option<u8>,
    other: u8,
    #[serde(skip)]
    cached: u8,
}

#[test]
fn a_skipped_field_must_have_a_default_and_a_format_with_names() {
    let full = Skipped { required: vec![1], optional: Some(2), other: 3, cached: 0 };
    keeps(&Json, &full);
    keeps(&Postcard, &full);
    let without = Skipped { optional: None, ..full.clone() };
    keeps(&Json, &without);
    refuses(&Postcard, &without, "");
    let empty = Skipped { required: Vec::new(), ..full };
    refuses(&Json, &empty, "required");
    refuses(&Postcard, &empty, "");
    for codec in [true, false] {
        let cached = Skipped { required: vec![1], cached: 1, ..empty.clone() };
        match codec {
            true => refuses(&Json, &cached, "not serialized"),
            false => refuses(&Postcard, &cached, "not serialized"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flattened {
    name: String,
    #[serde(flatten)]
    more: BTreeMap<String, u32>,
}

#[test]
fn a_flattened_key_must_not_occur_twice() {
    keeps(&Json, &Flattened { name: "Ada".into(), more: BTreeMap::from([("age".into(), 36)]) });
    refuses(&Json, &Flattened { name: "Ada".into(), more: BTreeMap::from([("name".into(), 36)]) }, "");
    refuses(&Postcard, &Flattened { name: "Ada".into(), more: BTreeMap::from([("age".into(), 36)]) }, "");
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Nested(Vec<Nested>);

#[test]
fn json_is_nested_less_deeply_than_its_reader_allows() {
    let nested = |depth| (0..depth).fold(Nested(Vec::new()), |inner, _| Nested(vec![inner]));
    keeps(&Json, &nested(100));
    refuses(&Json, &nested(128), "recursion limit");
    refuses(&Json, &nested(1_000), "recursion limit");
    keeps(&Postcard, &nested(128));
}

#[test]
fn the_path_of_a_difference_is_told_and_no_value() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Order {
        Placed { lines: Vec<BTreeMap<String, (String, Option<Option<u32>>)>> },
    }
    let line = |note| BTreeMap::from([("secret".to_owned(), ("hunter2".to_owned(), note))]);
    let order = Order::Placed { lines: vec![line(Some(Some(7))), line(Some(None))] };
    let error = store(&Json, &order).unwrap_err();
    assert_eq!(error, "it comes back different at $.Placed.lines[1]{0}[1]");
    let by_kind = store(&Kinds::new(), &order).unwrap_err();
    assert_eq!(by_kind, error);
    let versioned = EncodedPayloads::encode(&Versioned::new(Json, 3), &vec1![order]).unwrap_err();
    assert!(matches!(versioned, (0, CodecError::Lossy { version: 3, .. })), "{versioned:?}");
}

#[test]
fn checks_can_be_rarer() {
    let (good, bad) = (Some(Some(1)), Some(None::<u8>));
    assert!(store(&Unchecked(Json), &bad).is_ok());
    let sampled = Sampled::new(Json, 4);
    assert!(store(&sampled, &bad).is_err(), "the first of its kind");
    let refused = (0..40).filter(|_| store(&sampled, &bad).is_err()).count();
    assert_eq!(refused, 40, "a kind that was never accepted is always checked");
    assert!(store(&sampled, &good).is_ok());
    let refused = (0..40).filter(|_| store(&sampled, &bad).is_err()).count();
    assert_eq!(refused, 10);
}
