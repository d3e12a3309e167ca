//! The cost of requests, by the published rules of the service.
//!
//! The size of an item is the size of its attribute names and values: a string has its UTF-8 bytes, a binary value its bytes, and
//! a number about one byte for two significant digits plus one byte. See "DynamoDB item sizes and formats" and "Capacity unit
//! consumption" in the Developer Guide of the service.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::item::Item;

/// Maximum size of an item, in bytes.
pub(crate) const LARGEST_ITEM: usize = 400 << 10;

/// Size of `item`, in bytes.
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
        // This crate writes no other types.
        _ => 1,
    }
}

/// Write units of an item of this size.
pub(crate) fn write_units(bytes: usize) -> f64 {
    bytes.div_ceil(1 << 10).max(1) as f64
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::primitives::Blob;

    use super::*;

    #[test]
    fn a_number_has_one_byte_for_two_digits_plus_one() {
        for (digits, bytes) in [("0", 1), ("7", 2), ("12", 2), ("123", 3), ("1200", 2), ("-12", 3)] {
            assert_eq!(value_size(&AttributeValue::N(digits.into())), bytes, "{digits}");
        }
    }

    #[test]
    fn the_size_of_an_item_includes_its_attribute_names() {
        let item = Item::from([
            ("k".into(), AttributeValue::S("user/é".into())),
            ("i".into(), AttributeValue::B(Blob::new([0; 16]))),
        ]);
        assert_eq!(size(&item), 1 + 7 + 1 + 16);
    }

    #[test]
    fn a_started_kilobyte_is_a_whole_write_unit() {
        assert_eq!([0, 1, 1024, 1025, 3072].map(write_units), [1.0, 1.0, 1.0, 2.0, 3.0]);
    }
}
