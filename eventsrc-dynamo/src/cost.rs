//! What calls cost, by the published rules of the service.
//!
//! An item's size is that of its attribute names and values: a text its UTF-8 bytes, a binary its bytes, a number about a byte
//! for two significant digits and one more. See "DynamoDB item sizes and formats" and "Capacity unit consumption" in the
//! service's Developer Guide.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::layout::Item;

/// The largest item that the service takes, in bytes.
pub(crate) const LARGEST_ITEM: usize = 400 << 10;

/// The bytes of `item`.
pub(crate) fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::N(digits) => {
            let significant = digits.trim_start_matches('-').trim_matches('0').len();
            significant.div_ceil(2) + 1 + usize::from(digits.starts_with('-'))
        }
        // Nothing else is ever written.
        _ => 1,
    }
}

/// The units of writing an item of so many bytes.
pub(crate) fn write_units(bytes: usize) -> f64 {
    bytes.div_ceil(1 << 10).max(1) as f64
}
