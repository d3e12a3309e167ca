//! Positions of events in their stream.

use std::fmt;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

/// The position of an event in its stream: a number that grows by one, and the zone that wrote it.
///
/// Sequences of one stream are *dense*: first, next, next, with no holes. So "I have sequence n" means
/// "I have everything up to n", which is what positions, tokens and conditional writes rest on.
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
    /// The sequence of a stream's first event, as written in `zone`.
    fn first(zone: Zone) -> Self;

    /// The sequence right after this one, as written in `zone`; `None` past the last number there is.
    fn next(self, zone: Zone) -> Option<Self>;

    /// The number: 1 for the first event of a stream.
    fn number(self) -> u64;

    /// The zone that wrote the event; [`Zone::default`] for types that know none.
    fn zone(self) -> Zone;

    /// The sequence of these parts; `None` if this type has no such sequence.
    fn from_parts(number: u64, zone: Zone) -> Option<Self>;

    /// Where a writer in `zone` puts on a stream whose latest sequence is `latest` (`None`: it has no events); `None` if
    /// the stream is full.
    fn following(latest: Option<Self>, zone: Zone) -> Option<Self> {
        latest.map_or_else(|| Some(Self::first(zone)), |latest| latest.next(zone))
    }

    /// The least sequence that is greater than this one, in any zone: where to read on after it.
    fn least_greater(self) -> Option<Self> {
        let same_number =
            self.zone().0.checked_add(1).and_then(|zone| Self::from_parts(self.number(), Zone(zone)));
        same_number.or_else(|| Self::from_parts(self.number().checked_add(1)?, Zone::default()))
    }
}

/// A region or site that writes under its own mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Zone(pub u16);

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The usual sequence: event `n` of a stream has sequence `n`, and there is one zone.
///
/// Numbers end at [`i64::MAX`], the largest that every backend can hold.
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

/// A sequence for writers in several regions: ordered by number, then by the zone that wrote it.
///
/// Two regions whose stores replicate to each other may both write number 7 before either sees the other's.
/// Their marks keep the two events apart, and every reader puts them in the same order. Within one store
/// numbers stay dense and unique.
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

/// SQL integers are signed.
const LAST_NUMBER: u64 = i64::MAX as u64;
