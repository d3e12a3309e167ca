//! Shards, and places in them.

use std::cmp::Ordering;

/// A shard of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// What the service calls it.
    pub id: String,
    /// The shards that it was made of, by a split (one) or a merge (two). They may be gone from the stream.
    pub parents: Vec<String>,
    /// Whether it still takes records.
    pub is_open: bool,
}

/// Compares two sequence numbers, which are decimal numbers too long for any integer: of up to 56 digits.
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
        fn they_compare_as_numbers_do(one in any::<u128>(), other in any::<u128>(), zeros in 0usize..4) {
            let padded = format!("{}{one}", "0".repeat(zeros));
            prop_assert_eq!(compare_sequence_numbers(&padded, &other.to_string()), one.cmp(&other));
        }
    }

    #[test]
    fn they_may_be_longer_than_any_integer() {
        let shorter = "9".repeat(55);
        let longer = format!("1{}", "0".repeat(55));
        assert_eq!(compare_sequence_numbers(&shorter, &longer), Ordering::Less);
    }
}
