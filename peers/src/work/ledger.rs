//! The streams and their events, and sums that tell which of them were counted.

use std::collections::BTreeMap;

use crate::peer::Entry;

/// How many streams there are.
pub(crate) const STREAMS: u64 = 200;

/// The event at `place` of the stream, the same one each time; 150 bytes of text.
pub(crate) fn entry(stream: &str, place: u64) -> Entry {
    let note = format!("{stream}, entry {place:06} of the analytical engine: ");
    Entry { amount: amount(stream, place), note: format!("{note:.<150}") }
}

/// A one, so that a sum counts its events, and above it a number that follows from the event, so that a sum tells one
/// event from another.
fn amount(stream: &str, place: u64) -> i64 {
    let mixed = stream.bytes().fold(place + 1, |mixed, byte| {
        (mixed ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
    });
    1 + ((mixed >> 44) << COUNT_BITS) as i64
}

const COUNT_BITS: u32 = 24;

/// How many events a sum of amounts is of.
pub(crate) fn count(total: i64) -> u64 {
    total as u64 & ((1 << COUNT_BITS) - 1)
}

/// The same in SQL, of the column `total`.
pub(crate) const COUNT_SQL: &str = "(total & 16777215)";

/// The sums of streams.
pub(crate) type Totals = BTreeMap<String, i64>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_tells_how_many_events_and_which() {
        let sum = |places: &[u64]| places.iter().map(|place| entry("ledger-1", *place).amount).sum::<i64>();
        assert_eq!(count(sum(&(0..60_000).collect::<Vec<_>>())), 60_000);
        assert_ne!(sum(&[0, 1, 2]), sum(&[0, 1, 1]));
        assert_eq!(count(sum(&[0, 1, 2])), count(sum(&[0, 1, 1])));
    }

    #[test]
    fn a_note_has_its_length() {
        assert_eq!(entry("written-7-24", 123_456).note.len(), 150);
    }
}
