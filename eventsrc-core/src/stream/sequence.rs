//! Sequences of events in their stream.

use std::fmt;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

/// Position of an event in its stream: a number that grows by one, and the zone that wrote the event.
///
/// Sequences of one stream are *dense*: they have no holes. A reader that has sequence n therefore has every event up to
/// n. Positions, tokens and conditional writes rely on this.
///
/// # Laws
///
/// For every zone `z` and sequences `a`, `b`:
/// - **first is the least of its zone:** `first(z) <= a` for every `a` of zone `z`;
/// - **next is greater:** `a < a.next(z)`, whatever the zone;
/// - **next is adjacent:** `a.next(z).number() == a.number() + 1`, so nothing fits between;
/// - **the order is total** and follows the parts: `a < b` iff `(a.number(), a.zone()) < (b.number(), b.zone())`;
/// - **parts round-trip:** `from_parts(a.number(), a.zone()) == Some(a)`.
///
/// Backends store the two parts and nothing else, so every sequence type works on every backend.
pub trait Sequence: Copy + Ord + Hash + fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// Returns the sequence of the first event of a stream, written in `zone`.
    fn first(zone: Zone) -> Self;

    /// Returns the next sequence, written in `zone`; `None` after the last one.
    fn next(self, zone: Zone) -> Option<Self>;

    /// Returns the number, which is 1 for the first event of a stream.
    fn number(self) -> u64;

    /// Returns the zone that wrote the event; [`Zone::default`] for types without zones.
    fn zone(self) -> Zone;

    /// Returns the sequence with these parts; `None` if this type has no such sequence.
    fn from_parts(number: u64, zone: Zone) -> Option<Self>;

    /// Returns the sequence of the next put by a writer in `zone`, on a stream whose latest sequence is `latest` (`None`
    /// for a stream without events); `None` if the stream is full.
    fn following(latest: Option<Self>, zone: Zone) -> Option<Self> {
        latest.map_or_else(|| Some(Self::first(zone)), |latest| latest.next(zone))
    }

    /// Returns the least sequence in any zone that is greater than this one. A read continues from there; `None` after
    /// the last sequence.
    fn least_greater(self) -> Option<Self> {
        let same_number =
            self.zone().0.checked_add(1).and_then(|zone| Self::from_parts(self.number(), Zone(zone)));
        same_number.or_else(|| Self::from_parts(self.number().checked_add(1)?, Zone::default()))
    }
}

/// Mark of a region or site that writes events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Zone(pub u16);

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Default sequence type: event `n` of a stream has sequence `n`, and there is one zone.
///
/// Numbers end at [`i64::MAX`], the largest that every backend can store.
impl Sequence for u64 {
    fn first(_: Zone) -> Self {
        1
    }

    fn next(self, _: Zone) -> Option<Self> {
        (self < LAST_NUMBER).then(|| self + 1)
    }

    fn number(self) -> u64 {
        self
    }

    fn zone(self) -> Zone {
        Zone::default()
    }

    fn from_parts(number: u64, zone: Zone) -> Option<Self> {
        ((1..=LAST_NUMBER).contains(&number) && zone == Zone::default()).then_some(number)
    }
}

/// Sequence for writers in several regions, ordered by number and then by zone.
///
/// Two regions whose stores replicate to each other may both write number 7 before either sees the event of the other.
/// The zone distinguishes the two events, and every reader orders them in the same way. Within one store, numbers stay
/// dense and unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ZonedSequence {
    number: u64,
    zone: Zone,
}

impl Sequence for ZonedSequence {
    fn first(zone: Zone) -> Self {
        Self { number: 1, zone }
    }

    fn next(self, zone: Zone) -> Option<Self> {
        (self.number < LAST_NUMBER).then(|| Self { number: self.number + 1, zone })
    }

    fn number(self) -> u64 {
        self.number
    }

    fn zone(self) -> Zone {
        self.zone
    }

    fn from_parts(number: u64, zone: Zone) -> Option<Self> {
        (1..=LAST_NUMBER).contains(&number).then_some(Self { number, zone })
    }
}

impl fmt::Display for ZonedSequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.number, self.zone)
    }
}

/// Largest number of a sequence. SQL integers are signed.
const LAST_NUMBER: u64 = i64::MAX as u64;
