//! The streams and their events, whose sums show which events were counted.

use std::collections::BTreeMap;

use crate::peer::Entry;

/// Number of streams.
pub(crate) const STREAMS: u64 = 200;

/// Returns event `index` of the stream, with 150 bytes of text. It is the same in each call.
pub(crate) fn entry(stream: &str, index: u64) -> Entry {
    let note = format!("{stream}, entry {index:06} of the analytical engine: ");
    Entry { amount: amount(stream, index), note: format!("{note:.<150}") }
}

/// Returns an amount whose lowest bits are one, so that a sum counts its events. The bits above are derived from the
/// event, so that a sum also shows which events it has.
fn amount(stream: &str, index: u64) -> i64 {
    let mixed = stream.bytes().fold(index + 1, |mixed, byte| {
        (mixed ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
    });
    1 + ((mixed >> 44) << COUNT_BITS) as i64
}

const COUNT_BITS: u32 = 24;

/// Returns the number of events in a sum of amounts.
pub(crate) fn count(total: i64) -> u64 {
    total as u64 & ((1 << COUNT_BITS) - 1)
}

/// The number of events in the column `total`, in SQL.
pub(crate) const COUNT_SQL: &str = "(total & 16777215)";

/// Sums by stream.
pub(crate) type Totals = BTreeMap<String, i64>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_shows_the_number_and_the_identity_of_its_events() {
        let sum = |indexes: &[u64]| indexes.iter().map(|index| entry("ledger-1", *index).amount).sum::<i64>();
        assert_eq!(count(sum(&(0..60_000).collect::<Vec<_>>())), 60_000);
        assert_ne!(sum(&[0, 1, 2]), sum(&[0, 1, 1]));
        assert_eq!(count(sum(&[0, 1, 2])), count(sum(&[0, 1, 1])));
    }

    #[test]
    fn a_note_has_its_length() {
        assert_eq!(entry("written-7-24", 123_456).note.len(), 150);
    }
}
