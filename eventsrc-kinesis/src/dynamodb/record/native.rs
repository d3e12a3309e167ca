//! The JSON layout of the records that DynamoDB's own Kinesis destination writes. No other file names its fields.
//!
//! Only the necessary fields are read, because servers that stand in for DynamoDB write fewer fields. The time in the record
//! is not necessary: commits are ordered by their numbers.

use std::borrow::Cow;

use serde::Deserialize;

use super::attribute::{Item, JsonItem};

/// A record of the destination: a change of one item.
#[derive(Debug, Deserialize)]
pub(super) struct Native<'a> {
    #[serde(rename = "eventSource", borrow)]
    source: Text<'a>,
    /// `INSERT`, `MODIFY` or `REMOVE`.
    #[serde(rename = "eventName", borrow)]
    pub(super) operation: Text<'a>,
    #[serde(rename = "tableName", borrow)]
    pub(super) table: Option<Text<'a>>,
    pub(super) dynamodb: ItemImages,
}

#[derive(Debug, Deserialize)]
pub(super) struct ItemImages {
    #[serde(rename = "Keys")]
    pub(super) key: Option<JsonItem>,
    #[serde(rename = "NewImage")]
    pub(super) image: Option<JsonItem>,
}

/// A string, borrowed if it has no escapes.
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Error of data that is not such a record. The reason quotes no data.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// Key of the item; `None` if it is unknown.
    pub(super) key: Option<Item>,
    pub(super) reason: String,
}

/// Reads a record of the destination.
pub(super) fn read(data: &[u8]) -> Result<Native<'_>, Unreadable> {
    let unreadable = |key, reason: &str| Unreadable { key, reason: reason.into() };
    let text = std::str::from_utf8(data).map_err(|_| unreadable(None, "the record is not UTF-8"))?;
    match serde_json::from_str::<Native<'_>>(text) {
        Ok(native) if native.source.0 == "aws:dynamodb" => Ok(native),
        Ok(_) => Err(unreadable(None, "the record comes from another service than DynamoDB")),
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            let reason =
                format!("the record is not a change of a DynamoDB item: line {line}, column {column}");
            Err(Unreadable { key: key(text), reason })
        }
    }
}

/// Reads only the key of the item, from a record that is unreadable otherwise.
fn key(text: &str) -> Option<Item> {
    #[derive(Deserialize)]
    struct Record {
        dynamodb: Key,
    }
    #[derive(Deserialize)]
    struct Key {
        #[serde(rename = "Keys")]
        key: JsonItem,
    }
    let record: Record = serde_json::from_str(text).ok()?;
    Some(record.dynamodb.key.0)
}
