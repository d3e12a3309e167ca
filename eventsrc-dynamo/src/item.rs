//! Items of a table, and access to their attributes.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

/// An item in the representation of the SDK.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// Error of an attribute that is missing or malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the attribute `{0}` is missing or malformed")]
pub(crate) struct Unreadable(pub(crate) &'static str);

pub(crate) fn text<'a>(item: &'a Item, name: &'static str) -> Result<&'a str, Unreadable> {
    item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str).ok_or(Unreadable(name))
}

pub(crate) fn bytes<'a>(item: &'a Item, name: &'static str) -> Result<&'a [u8], Unreadable> {
    item.get(name).and_then(|value| value.as_b().ok()).map(Blob::as_ref).ok_or(Unreadable(name))
}

pub(crate) fn uuid(item: &Item, name: &'static str) -> Result<Uuid, Unreadable> {
    Uuid::from_slice(bytes(item, name)?).map_err(|_| Unreadable(name))
}

pub(crate) fn take_bytes(item: &mut Item, name: &'static str) -> Result<Vec<u8>, Unreadable> {
    match item.remove(name) {
        Some(AttributeValue::B(bytes)) => Ok(bytes.into_inner()),
        _ => Err(Unreadable(name)),
    }
}

pub(crate) fn integer<T: std::str::FromStr>(item: &Item, name: &'static str) -> Result<T, Unreadable> {
    let digits = item.get(name).and_then(|value| value.as_n().ok());
    digits.and_then(|digits| digits.parse().ok()).ok_or(Unreadable(name))
}

pub(crate) fn integer_or<T: std::str::FromStr>(
    item: &Item,
    name: &'static str,
    absent: T,
) -> Result<T, Unreadable> {
    if item.contains_key(name) { integer(item, name) } else { Ok(absent) }
}
