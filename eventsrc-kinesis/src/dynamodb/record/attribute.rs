//! Conversion of attribute values from DynamoDB Streams and from DynamoDB's JSON to those of the DynamoDB SDK.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodbstreams::types::AttributeValue as Streamed;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use eventsrc_dynamo::aws_sdk_dynamodb::primitives::Blob;
use eventsrc_dynamo::aws_sdk_dynamodb::types::AttributeValue;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// An item, or the key of one.
pub(super) type Item = HashMap<String, AttributeValue>;

/// Converts an item from DynamoDB Streams without a copy. Returns `None` if it has a value of an unknown type.
pub(super) fn from_streams(item: HashMap<String, Streamed>) -> Option<Item> {
    item.into_iter().map(|(name, value)| Some((name, from_streamed(value)?))).collect()
}

fn from_streamed(value: Streamed) -> Option<AttributeValue> {
    Some(match value {
        Streamed::S(text) => AttributeValue::S(text),
        Streamed::N(digits) => AttributeValue::N(digits),
        Streamed::B(bytes) => AttributeValue::B(bytes),
        Streamed::Bool(value) => AttributeValue::Bool(value),
        Streamed::Null(value) => AttributeValue::Null(value),
        Streamed::M(map) => AttributeValue::M(from_streams(map)?),
        Streamed::L(list) => AttributeValue::L(list.into_iter().map(from_streamed).collect::<Option<_>>()?),
        Streamed::Ss(texts) => AttributeValue::Ss(texts),
        Streamed::Ns(numbers) => AttributeValue::Ns(numbers),
        Streamed::Bs(all) => AttributeValue::Bs(all),
        _ => return None,
    })
}

/// An item in DynamoDB's JSON, such as `{"k":{"S":"user/1"},"n":{"N":"7"}}`.
#[derive(Debug)]
pub(super) struct JsonItem(pub(super) Item);

impl<'de> Deserialize<'de> for JsonItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ItemVisitor).map(Self)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a DynamoDB item")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Item, M::Error> {
        let mut item = Item::with_capacity(7);
        while let Some((name, JsonValue(value))) = map.next_entry()? {
            item.insert(name, value);
        }
        Ok(item)
    }
}

struct JsonValue(AttributeValue);

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ValueVisitor).map(Self)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = AttributeValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a DynamoDB attribute value: an object with one type")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<AttributeValue, M::Error> {
        let kind = map.next_key()?.ok_or_else(|| M::Error::custom("a value has no type"))?;
        let value = match kind {
            Kind::S => AttributeValue::S(map.next_value()?),
            Kind::N => AttributeValue::N(map.next_value()?),
            Kind::B => AttributeValue::B(map.next_value::<Base64>()?.0),
            Kind::Bool => AttributeValue::Bool(map.next_value()?),
            Kind::Null => AttributeValue::Null(map.next_value()?),
            Kind::M => AttributeValue::M(map.next_value::<JsonItem>()?.0),
            Kind::L => {
                let list = map.next_value::<Vec<JsonValue>>()?;
                AttributeValue::L(list.into_iter().map(|JsonValue(value)| value).collect())
            }
            Kind::Ss => AttributeValue::Ss(map.next_value()?),
            Kind::Ns => AttributeValue::Ns(map.next_value()?),
            Kind::Bs => {
                let all = map.next_value::<Vec<Base64>>()?;
                AttributeValue::Bs(all.into_iter().map(|Base64(bytes)| bytes).collect())
            }
        };
        if map.next_key::<IgnoredAny>()?.is_some() {
            return Err(M::Error::custom("a value has two types"));
        }
        Ok(value)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Kind {
    S,
    N,
    B,
    Bool,
    Null,
    M,
    L,
    Ss,
    Ns,
    Bs,
}

struct Base64(Blob);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Base64Visitor).map(Self)
    }
}

struct Base64Visitor;

impl Visitor<'_> for Base64Visitor {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes in base64")
    }

    fn visit_str<Er: Error>(self, text: &str) -> Result<Blob, Er> {
        BASE64_STANDARD.decode(text).map(Blob::new).map_err(|_| Er::custom("bytes are not in base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Item {
        let blob = || Blob::new(b"\x00\xff".as_slice());
        let list = vec![AttributeValue::Bool(true), AttributeValue::Null(true)];
        Item::from([
            ("s".into(), AttributeValue::S("a\"ü\n".into())),
            ("n".into(), AttributeValue::N("-1.5".into())),
            ("b".into(), AttributeValue::B(blob())),
            ("l".into(), AttributeValue::L(list)),
            ("m".into(), AttributeValue::M(Item::from([("x".into(), AttributeValue::L(Vec::new()))]))),
            ("ss".into(), AttributeValue::Ss(vec!["a".into()])),
            ("ns".into(), AttributeValue::Ns(vec!["1".into()])),
            ("bs".into(), AttributeValue::Bs(vec![blob()])),
        ])
    }

    #[test]
    fn values_of_every_type_are_read_from_json() {
        let JsonItem(item) = serde_json::from_str(
            r#"{"s":{"S":"a\"ü\n"},"n":{"N":"-1.5"},"b":{"B":"AP8="},"l":{"L":[{"BOOL":true},{"NULL":true}]},
                "m":{"M":{"x":{"L":[]}}},"ss":{"SS":["a"]},"ns":{"NS":["1"]},"bs":{"BS":["AP8="]}}"#,
        )
        .unwrap();
        assert_eq!(item, all());
    }

    #[test]
    fn values_of_every_type_are_converted_from_streams() {
        let blob = || Blob::new(b"\x00\xff".as_slice());
        let list = vec![Streamed::Bool(true), Streamed::Null(true)];
        let item = HashMap::from([
            ("s".into(), Streamed::S("a\"ü\n".into())),
            ("n".into(), Streamed::N("-1.5".into())),
            ("b".into(), Streamed::B(blob())),
            ("l".into(), Streamed::L(list)),
            ("m".into(), Streamed::M(HashMap::from([("x".into(), Streamed::L(Vec::new()))]))),
            ("ss".into(), Streamed::Ss(vec!["a".into()])),
            ("ns".into(), Streamed::Ns(vec!["1".into()])),
            ("bs".into(), Streamed::Bs(vec![blob()])),
        ]);
        assert_eq!(from_streams(item), Some(all()));
    }

    #[test]
    fn malformed_values_are_errors() {
        for value in
            [r#"{}"#, r#"{"S":1}"#, r#"{"S":"a","N":"1"}"#, r#"{"B":"?"}"#, r#"{"X":"a"}"#, r#""a""#, "null"]
        {
            assert!(serde_json::from_str::<JsonItem>(&format!(r#"{{"k":{value}}}"#)).is_err(), "{value}");
        }
    }
}
