//! The token itself.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::stream::{InvalidStreamName, Sequence, StreamKey, StreamName, Zone};

/// What an answer was built from: a set of (stream, sequence), at most one sequence a stream.
///
/// A save and a query each give one; pass it along to say "at least as new as this" to a reader, or "only if
/// nothing changed since" to a writer. Tokens form a lattice: [`join`](Token::join) takes the greater sequence of
/// each stream, and is associative, commutative and idempotent, with the empty token as its unit; `a <= b` iff
/// `a.join(b) == b`, so two tokens may be neither less nor greater.
///
/// A token also knows whether it can be *trusted*: made here, or signed by somebody who holds the key. That is no
/// part of its value, and equality ignores it; a join is trusted if both sides are. An untrusted token costs a
/// writer a read, because an invented sequence could make a hole.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Positions", into = "Positions")]
pub struct Token {
    positions: Positions,
    trusted: bool,
}

pub(super) type Positions = BTreeMap<StreamName, (u64, Zone)>;

/// Sequence of one stream in a token, of whatever type: its number and the zone that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenPosition {
    /// The number; 1 for the first event of a stream.
    pub number: u64,
    /// The zone.
    pub zone: Zone,
}

impl TokenPosition {
    /// The parts of `sequence`.
    pub fn of<S: Sequence>(sequence: S) -> Self {
        Self { number: sequence.number(), zone: sequence.zone() }
    }
}

/// `7`, and `7@2` in a zone other than the default one.
impl fmt::Display for TokenPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)?;
        if self.zone != Zone::default() {
            write!(f, "@{}", self.zone)?;
        }
        Ok(())
    }
}

impl Token {
    /// "I know `sequence` of this stream", as somebody says: not trusted.
    ///
    /// # Errors
    ///
    /// [`InvalidStreamName`] if the key names no stream.
    pub fn claimed<K: StreamKey, S: Sequence>(key: &K, sequence: S) -> Result<Self, InvalidStreamName> {
        let name = StreamName::of(key)?;
        Ok(Self {
            positions: Positions::from([(name, (sequence.number(), sequence.zone()))]),
            trusted: false,
        })
    }

    /// What was seen of one stream.
    pub(crate) fn seen<S: Sequence>(name: StreamName, sequence: Option<S>) -> Self {
        let positions =
            sequence.map(|sequence| (name, (sequence.number(), sequence.zone()))).into_iter().collect();
        Self { positions, trusted: true }
    }

    /// The same token, trusted: the caller vouches that these sequences are stored, each as the last of a commit. A writer puts
    /// right after them without a look.
    #[must_use]
    pub fn vouched(mut self) -> Self {
        self.trusted = true;
        self
    }

    pub(crate) fn unvouched(mut self) -> Self {
        self.trusted = false;
        self
    }

    /// Whether its sequences are known to be stored, each as the last of a commit.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Whether it names no stream.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// How many streams it names.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// The sequence of this stream; `None` if the token does not name it, or names a sequence that `S` does not have.
    pub fn sequence<S: Sequence, K: StreamKey>(&self, key: &K) -> Option<S> {
        let (number, zone) = *self.positions.get(&StreamName::of(key).ok()?)?;
        S::from_parts(number, zone)
    }

    /// The streams and sequences, in the order of the names.
    pub fn positions(&self) -> impl ExactSizeIterator<Item = (&StreamName, TokenPosition)> {
        self.positions.iter().map(|(name, &(number, zone))| (name, TokenPosition { number, zone }))
    }

    /// All that either token knows.
    #[must_use]
    pub fn join(mut self, other: &Self) -> Self {
        for (name, position) in &other.positions {
            match self.positions.get_mut(name) {
                Some(known) => *known = *position.max(known),
                None => {
                    self.positions.insert(name.clone(), *position);
                }
            }
        }
        self.trusted &= other.trusted;
        self
    }

    fn includes(&self, other: &Self) -> bool {
        other
            .positions
            .iter()
            .all(|(name, position)| self.positions.get(name).is_some_and(|known| known >= position))
    }
}

/// Knows nothing, which anybody can be trusted with.
impl Default for Token {
    fn default() -> Self {
        Self { positions: Positions::new(), trusted: true }
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.positions == other.positions
    }
}

impl Eq for Token {}

impl PartialOrd for Token {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.includes(other), other.includes(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }
}

impl From<Positions> for Token {
    fn from(positions: Positions) -> Self {
        Self { positions, trusted: false }
    }
}

impl From<Token> for Positions {
    fn from(token: Token) -> Self {
        token.positions
    }
}
