//! The laws of `Sequence`, for each implementation.

use eventsrc_core::Sequence;
use eventsrc_core::stream::{Zone, ZonedSequence};
use proptest::prelude::*;

const LAST: u64 = i64::MAX as u64;

fn zones() -> impl Strategy<Value = Zone> {
    prop_oneof![Just(Zone::default()), Just(Zone(u16::MAX)), any::<u16>().prop_map(Zone)]
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![1..10_u64, 1..=LAST, LAST - 3..=LAST]
}

fn plain() -> impl Strategy<Value = u64> {
    numbers()
}

fn zoned() -> impl Strategy<Value = ZonedSequence> {
    (numbers(), zones())
        .prop_filter_map("a sequence", |(number, zone)| ZonedSequence::from_parts(number, zone))
}

fn first_is_the_least_of_its_zone<S: Sequence>(a: S) {
    assert!(S::first(a.zone()) <= a);
    assert_eq!(S::first(a.zone()).number(), 1);
}

fn next_is_greater_and_adjacent<S: Sequence>(a: S, zone: Zone) {
    match a.next(zone) {
        Some(next) => {
            assert!(a < next);
            assert_eq!(next.number(), a.number() + 1);
        }
        None => assert_eq!(a.number(), LAST),
    }
}

fn the_order_is_that_of_the_parts<S: Sequence>(a: S, b: S) {
    assert_eq!(a.cmp(&b), (a.number(), a.zone()).cmp(&(b.number(), b.zone())));
}

fn parts_round_trip<S: Sequence>(a: S) {
    assert_eq!(S::from_parts(a.number(), a.zone()), Some(a));
    assert_eq!(S::from_parts(0, a.zone()), None);
    assert_eq!(S::from_parts(LAST + 1, a.zone()), None);
}

fn nothing_lies_between_a_sequence_and_its_least_greater<S: Sequence>(a: S, b: S) {
    match a.least_greater() {
        Some(next) => assert!(a < next && (b <= a || b >= next)),
        None => assert!(b <= a),
    }
}

fn a_stream_is_followed_from_its_start<S: Sequence>(a: S, zone: Zone) {
    assert_eq!(S::following(None, zone), Some(S::first(zone)));
    assert_eq!(S::following(Some(a), zone), a.next(zone));
}

macro_rules! laws {
    ($name:ident, $strategy:expr) => {
        mod $name {
            use super::*;

            proptest! {
                #[test]
                fn hold(a in $strategy, b in $strategy, zone in zones()) {
                    first_is_the_least_of_its_zone(a);
                    next_is_greater_and_adjacent(a, zone);
                    the_order_is_that_of_the_parts(a, b);
                    parts_round_trip(a);
                    nothing_lies_between_a_sequence_and_its_least_greater(a, b);
                    a_stream_is_followed_from_its_start(a, zone);
                }
            }
        }
    };
}

laws!(numbered, plain());
laws!(in_zones, zoned());
