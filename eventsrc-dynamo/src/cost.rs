//! What calls cost, by the published rules of the service.
//!
//! An item's size is that of its attribute names and values: a text its UTF-8 bytes, a binary its bytes, a number about a byte
//! for two significant digits and one more. See "DynamoDB item sizes and formats" and "Capacity unit consumption" in the
//! service's Developer Guide.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::item::Item;

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

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::primitives::Blob;

    use super::*;

    #[test]
    fn numbers_take_a_byte_for_two_digits_and_one_more() {
        for (digits, bytes) in [("0", 1), ("7", 2), ("12", 2), ("123", 3), ("1200", 2), ("-12", 3)] {
            assert_eq!(value_size(&AttributeValue::N(digits.into())), bytes, "{digits}");
        }
    }

    #[test]
    fn an_item_is_its_names_and_its_values() {
        let item = Item::from([
            ("k".into(), AttributeValue::S("user/é".into())),
            ("i".into(), AttributeValue::B(Blob::new([0; 16]))),
        ]);
        assert_eq!(size(&item), 1 + 7 + 1 + 16);
    }

    #[test]
    fn a_unit_is_a_kilobyte_begun() {
        assert_eq!([0, 1, 1024, 1025, 3072].map(write_units), [1.0, 1.0, 1.0, 2.0, 3.0]);
    }
}
