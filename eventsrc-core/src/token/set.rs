//! The token as a set of streams and sequences.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::commit_id::CommitId;
use crate::stream::{InvalidStreamName, Sequence, StreamKey, StreamName, Zone};

/// Set of (stream, sequence) that an answer was built from, with at most one sequence for each stream.
///
/// Saves and queries return tokens. A caller passes a token to a reader to require "at least as new as this", or to a
/// writer to require "only if nothing changed since".
///
/// Tokens form a lattice. [`join`](Token::join) takes the greater sequence of each stream; it is associative,
/// commutative and idempotent, and its unit is the empty token. The order is partial: `a <= b` iff `a.join(b) == b`.
///
/// A token is *trusted* if this process made it from a read or a write, or if its signature is valid. A join is trusted
/// if both sides are. An untrusted token costs a writer a read, because an invented sequence could be ahead of its stream.
///
/// A token also carries the id of the commit that ends at each sequence, if its maker knew it. A writer that gets the
/// token notices with it that the storage has another history of the stream. Equality and order ignore the ids and the
/// trust. The serde form has the sequences only; the text of a [`TokenCodec`](super::TokenCodec) has the ids too.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Sequences", into = "Sequences")]
pub struct Token {
    pub(super) positions: BTreeMap<StreamName, Position>,
    trusted: bool,
}

/// Sequence of one stream in a token, and the commit that ends there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) at: TokenPosition,
    pub(super) commit_id: Option<CommitId>,
}

/// Serde form of a token: number and zone for each stream.
type Sequences = BTreeMap<StreamName, (u64, Zone)>;

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
        let position = Position { at: TokenPosition::of(sequence), commit_id: None };
        Ok(Self { positions: BTreeMap::from([(name, position)]), trusted: false })
    }

    /// Returns a trusted token of one stream that this process read or wrote: its sequence, and the commit that ends
    /// there. Empty if there is no sequence.
    pub(crate) fn seen<S: Sequence>(name: StreamName, end: Option<(S, Option<CommitId>)>) -> Self {
        let position =
            end.map(|(sequence, commit_id)| Position { at: TokenPosition::of(sequence), commit_id });
        Self { positions: position.map(|position| (name, position)).into_iter().collect(), trusted: true }
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
        let TokenPosition { number, zone } = self.position(key)?;
        S::from_parts(number, zone)
    }

    /// Returns the parts of the sequence of the stream of `key`, also if no sequence type has them.
    pub fn position<K: StreamKey>(&self, key: &K) -> Option<TokenPosition> {
        Some(self.positions.get(&StreamName::of(key).ok()?)?.at)
    }

    /// Returns the id of the commit that ends at the sequence of the stream of `key`, if the token carries it.
    pub fn commit_id<K: StreamKey>(&self, key: &K) -> Option<CommitId> {
        self.positions.get(&StreamName::of(key).ok()?)?.commit_id
    }

    /// Returns the streams and their sequences, ordered by stream name.
    pub fn positions(&self) -> impl ExactSizeIterator<Item = (&StreamName, TokenPosition)> {
        self.positions.iter().map(|(name, position)| (name, position.at))
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
            .all(|(name, position)| self.positions.get(name).is_some_and(|known| known.at >= position.at))
    }
}

/// The empty token, which is always trusted.
impl Default for Token {
    fn default() -> Self {
        Self { positions: BTreeMap::new(), trusted: true }
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.positions().eq(other.positions())
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

impl From<BTreeMap<StreamName, Position>> for Token {
    fn from(positions: BTreeMap<StreamName, Position>) -> Self {
        Self { positions, trusted: false }
    }
}

impl From<Sequences> for Token {
    fn from(sequences: Sequences) -> Self {
        let position =
            |(name, (number, zone))| (name, Position { at: TokenPosition { number, zone }, commit_id: None });
        Self::from(sequences.into_iter().map(position).collect::<BTreeMap<_, _>>())
    }
}

impl From<Token> for Sequences {
    fn from(token: Token) -> Self {
        let sequence =
            |(name, position): (StreamName, Position)| (name, (position.at.number, position.at.zone));
        token.positions.into_iter().map(sequence).collect()
    }
}
