//! The token as a set of streams and sequences.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::stream::{InvalidStreamName, Sequence, StreamKey, StreamName, Zone};

/// Set of (stream, sequence) that an answer was built from, with at most one sequence for each stream.
///
/// Saves and queries return tokens. A caller passes a token to a reader to require "at least as new as this", or to a
/// writer to require "only if nothing changed since".
///
/// Tokens form a lattice. [`join`](Token::join) takes the greater sequence of each stream; it is associative,
/// commutative and idempotent, and its unit is the empty token. The order is partial: `a <= b` iff `a.join(b) == b`.
///
/// A token is *trusted* if this process made it from a read or a write, or if its signature is valid. Equality ignores
/// this property. A join is trusted if both sides are. An untrusted token costs a writer a read, because an invented sequence could leave a
/// hole in a stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Positions", into = "Positions")]
pub struct Token {
    positions: Positions,
    trusted: bool,
}

pub(super) type Positions = BTreeMap<StreamName, (u64, Zone)>;

/// Sequence of one stream in a token, for any sequence type: its number, and the zone that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenPosition {
    /// Number of the sequence; 1 for the first event of a stream.
    pub number: u64,
    /// Zone that wrote the event.
    pub zone: Zone,
}

impl TokenPosition {
    /// Returns the parts of `sequence`.
    pub fn of<S: Sequence>(sequence: S) -> Self {
        Self { number: sequence.number(), zone: sequence.zone() }
    }
}

/// Writes `7`, or `7@2` for a zone other than the default one.
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
    /// Returns an untrusted token that names `sequence` of one stream, as an outside caller claims.
    ///
    /// # Errors
    ///
    /// [`InvalidStreamName`] if the key is not a valid stream name.
    pub fn claimed<K: StreamKey, S: Sequence>(key: &K, sequence: S) -> Result<Self, InvalidStreamName> {
        let name = StreamName::of(key)?;
        Ok(Self {
            positions: Positions::from([(name, (sequence.number(), sequence.zone()))]),
            trusted: false,
        })
    }

    /// Returns a trusted token of one stream that this process read or wrote; empty if `sequence` is `None`.
    pub(crate) fn seen<S: Sequence>(name: StreamName, sequence: Option<S>) -> Self {
        let positions =
            sequence.map(|sequence| (name, (sequence.number(), sequence.zone()))).into_iter().collect();
        Self { positions, trusted: true }
    }

    /// Marks the token as trusted. The caller vouches that each sequence is stored and is the last of a commit. A writer
    /// puts the next commit after it without a read.
    #[must_use]
    pub fn vouched(mut self) -> Self {
        self.trusted = true;
        self
    }

    /// Marks the token as untrusted.
    pub(crate) fn unvouched(mut self) -> Self {
        self.trusted = false;
        self
    }

    /// True if each sequence is known to be stored as the last of a commit.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// True if the token names no stream.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Returns the number of streams in the token.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Returns the sequence of the stream of `key`; `None` if the token does not name the stream, or if type `S` has no
    /// such sequence.
    pub fn sequence<S: Sequence, K: StreamKey>(&self, key: &K) -> Option<S> {
        let (number, zone) = *self.positions.get(&StreamName::of(key).ok()?)?;
        S::from_parts(number, zone)
    }

    /// Returns the streams and their sequences, ordered by stream name.
    pub fn positions(&self) -> impl ExactSizeIterator<Item = (&StreamName, TokenPosition)> {
        self.positions.iter().map(|(name, &(number, zone))| (name, TokenPosition { number, zone }))
    }

    /// Returns the token with the greater sequence of each stream of both tokens.
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

/// The empty token, which is always trusted.
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
