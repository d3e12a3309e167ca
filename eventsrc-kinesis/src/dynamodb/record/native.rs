//! The JSON that DynamoDB's own Kinesis destination writes: this file alone knows its names.
//!
//! Only what is needed is read of it, so that the records of servers that stand in for DynamoDB, which name less, are read too. What it
//! says of the time is not needed: the order of commits is that of their numbers.

use std::borrow::Cow;

use serde::Deserialize;

use super::attribute::{Item, JsonItem};

/// A change of an item.
#[derive(Debug, Deserialize)]
pub(super) struct Native<'a> {
    #[serde(rename = "eventSource", borrow)]
    source: Text<'a>,
    /// `INSERT`, `MODIFY` or `REMOVE`.
    #[serde(rename = "eventName", borrow)]
    pub(super) what: Text<'a>,
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

/// A string, which is borrowed if it has no escapes.
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Why data is no such record. It quotes nothing of it.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// The item's key, as far as it can be told.
    pub(super) key: Option<Item>,
    pub(super) why: String,
}

/// Reads a record of the destination.
pub(super) fn read(data: &[u8]) -> Result<Native<'_>, Unreadable> {
    let unreadable = |key, why: &str| Unreadable { key, why: why.into() };
    let text = std::str::from_utf8(data).map_err(|_| unreadable(None, "it is no text"))?;
    match serde_json::from_str::<Native<'_>>(text) {
        Ok(native) if native.source.0 == "aws:dynamodb" => Ok(native),
        Ok(_) => Err(unreadable(None, "it is of another service than DynamoDB")),
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            let why = format!("it is no change of an item of DynamoDB, at line {line}, column {column}");
            Err(Unreadable { key: key(text), why })
        }
    }
}

/// The key of an item that cannot be read otherwise.
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
