//! Stored data: [`Commit`]s, which hold consecutive [`Event`]s of one stream and are stored atomically, and their
//! [`Metadata`].

pub(crate) mod payloads;

use std::fmt;
use std::ops::Range;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use vec1::{Vec1, vec1};

pub use self::payloads::Payloads;

pub use crate::commit_id::CommitId;

use crate::stream::Sequence;
use crate::token::Token;

/// Type of the events of a stream: can be shared between tasks and printed. Implemented for every such type.
pub trait Payload: fmt::Debug + Send + Sync + 'static {}

impl<E: fmt::Debug + Send + Sync + 'static> Payload for E {}

/// One or more consecutive events of one stream, stored atomically.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit<K, S, E> {
    /// Key of the stream.
    pub key: K,
    /// Sequence of the first event. The other events follow without holes, in the same zone.
    pub first: S,
    /// Id of the commit before this one. `None` in the first commit of a stream, if the writer did not know it, and in
    /// commits that version 0.1 stored.
    pub previous: Option<CommitId>,
    /// Time at which the writer made the commit, in UTC with microsecond precision. A writer that knows the time of the
    /// previous commit never chooses an earlier one.
    pub time: Timestamp,
    /// Commit id, origin and dependencies of the commit.
    pub metadata: Metadata,
    /// Payloads of the events, in order.
    pub payloads: Payloads<E>,
}

impl<K, S: Sequence, E> Commit<K, S, E> {
    /// Returns the sequence of the last event.
    pub fn last(&self) -> S {
        self.sequence(self.len() - 1)
    }

    /// Returns the number of events, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a commit is never empty")]
    pub fn len(&self) -> usize {
        self.payloads.event_count()
    }

    /// Returns the events, in order. An event occurs once for each of its [payloads](Payloads).
    pub fn events(&self) -> impl DoubleEndedIterator<Item = Event<'_, K, S, E>> + ExactSizeIterator {
        self.events_at(0..self.len())
    }

    /// Returns the events at `indices`.
    pub(crate) fn events_at(
        &self,
        indices: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = Event<'_, K, S, E>> + ExactSizeIterator {
        self.payloads.indexed(indices).map(|(index, payload)| Event { commit: self, index, payload })
    }

    /// Converts the key and the payloads; sequence, time and metadata stay the same.
    #[must_use]
    pub fn mapped<K2, E2>(
        self,
        key: impl FnOnce(K) -> K2,
        payload: impl FnMut(E) -> E2,
    ) -> Commit<K2, S, E2> {
        let Self { key: of, first, previous, time, metadata, payloads } = self;
        Commit { key: key(of), first, previous, time, metadata, payloads: payloads.mapped(payload) }
    }

    /// True if the type `S` has a sequence for each event. A commit that starts before the first sequence or extends past
    /// the last one cannot be stored.
    pub fn fits(&self) -> bool {
        self.checked_sequence(0).is_some() && self.checked_sequence(self.len() - 1).is_some()
    }

    /// True if `other` is the same commit: same commit id, same first sequence.
    pub fn is(&self, other: &Self) -> bool {
        self.metadata.commit_id == other.metadata.commit_id && self.first == other.first
    }

    /// Returns the head of a stream that ends with this commit.
    pub fn head(&self) -> Head<S> {
        Head { sequence: self.last(), time: self.time, commit_id: Some(self.metadata.commit_id) }
    }

    /// Returns the number of events before `sequence`.
    pub(crate) fn events_before(&self, sequence: S) -> usize {
        (0..self.len()).take_while(|index| self.sequence(*index) < sequence).count()
    }

    /// Returns the sequence of the event at `index`.
    pub(crate) fn sequence(&self, index: usize) -> S {
        self.checked_sequence(index).expect("a stored commit fits its sequence type")
    }

    fn checked_sequence(&self, index: usize) -> Option<S> {
        S::from_parts(self.first.number().checked_add(index as u64)?, self.first.zone())
    }
}

/// One event, together with the commit that holds it.
///
/// An event that an upcaster has split is one event for each payload, all with the same sequence.
#[derive(Debug)]
pub struct Event<'a, K, S, E> {
    /// Commit that holds the event.
    pub commit: &'a Commit<K, S, E>,
    /// Index of the event in the commit, starting at 0.
    pub index: usize,
    /// Business fact.
    pub payload: &'a E,
}

impl<'a, K, S: Sequence, E> Event<'a, K, S, E> {
    /// Returns the key of the stream.
    pub fn key(&self) -> &'a K {
        &self.commit.key
    }

    /// Returns the sequence of the event in its stream.
    pub fn sequence(&self) -> S {
        self.commit.sequence(self.index)
    }

    /// Returns the time of the commit.
    pub fn time(&self) -> Timestamp {
        self.commit.time
    }

    /// Returns the metadata of the commit.
    pub fn metadata(&self) -> &'a Metadata {
        &self.commit.metadata
    }
}

impl<K, S, E> Clone for Event<'_, K, S, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, S, E> Copy for Event<'_, K, S, E> {}

/// End of a stream, or of one of its commits: the sequence of the last event, and the commit that ends there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head<S> {
    /// Last sequence of the stream, which is always the last of a commit.
    pub sequence: S,
    /// Time of that commit.
    pub time: Timestamp,
    /// Id of that commit. `None` only in a snapshot that version 0.1 stored; an event storage always knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_id: Option<CommitId>,
}

/// Commit id, origin and dependencies of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Unique id of the commit, made by its writer.
    pub commit_id: CommitId,
    /// Id of the conversation that the commit belongs to, chosen by the caller, for tracing across services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Id of the command or event that led to the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// Person or program that requested the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Token of what the writer had read when it decided. Stored for views in causal mode, which are planned: such a
    /// view applies a commit only after its dependencies.
    #[serde(default, skip_serializing_if = "Token::is_empty")]
    pub dependencies: Token,
}

impl Metadata {
    /// Returns metadata with this commit id and no other values.
    pub fn new(commit_id: CommitId) -> Self {
        Self {
            commit_id,
            correlation_id: None,
            causation_id: None,
            actor: None,
            dependencies: Token::default(),
        }
    }
}
