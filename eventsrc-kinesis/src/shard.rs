//! Shards and sequence numbers.

use std::cmp::Ordering;

/// A shard of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Id that the service assigned.
    pub id: String,
    /// Shards that this shard replaced: one after a split, two after a merge. The service may have deleted them.
    pub parents: Vec<String>,
    /// True if the shard accepts new records.
    pub is_open: bool,
}

/// Compares two sequence numbers. They are decimal numbers of up to 56 digits, too long for any integer type.
///
/// ```
/// use std::cmp::Ordering;
///
/// use eventsrc_kinesis::source::compare_sequence_numbers;
///
/// assert_eq!(compare_sequence_numbers("9", "10"), Ordering::Less);
/// assert_eq!(compare_sequence_numbers("0010", "10"), Ordering::Equal);
/// ```
pub fn compare_sequence_numbers(one: &str, other: &str) -> Ordering {
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sequence_numbers_compare_as_integers(one in any::<u128>(), other in any::<u128>(), zeros in 0usize..4) {
            let padded = format!("{}{one}", "0".repeat(zeros));
            prop_assert_eq!(compare_sequence_numbers(&padded, &other.to_string()), one.cmp(&other));
        }
    }

    #[test]
    fn sequence_numbers_longer_than_any_integer_compare() {
        let shorter = "9".repeat(55);
        let longer = format!("1{}", "0".repeat(55));
        assert_eq!(compare_sequence_numbers(&shorter, &longer), Ordering::Less);
    }
}
