//! What is stored: commits, the events in them, and what is known about both.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use vec1::{Vec1, vec1};

use crate::stream::Sequence;
use crate::token::Token;

/// Type of the events of a stream: what it takes to share them between tasks and to print them. Every such type is one.
pub trait Payload: fmt::Debug + Send + Sync + 'static {}

impl<E: fmt::Debug + Send + Sync + 'static> Payload for E {}

/// One or more consecutive events of one stream, stored together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit<K, S, E> {
    /// The stream.
    pub key: K,
    /// The sequence of the first event; the others follow without a hole, in the same zone.
    pub first: S,
    /// When the writer made it, UTC, to the microsecond. Not after the next commit's, as far as writers know.
    pub time: Timestamp,
    /// Who made it, and why.
    pub metadata: Metadata,
    /// The events, in order.
    pub payloads: Vec1<E>,
}

impl<K, S: Sequence, E> Commit<K, S, E> {
    /// The sequence of the last event.
    pub fn last(&self) -> S {
        self.sequence(self.payloads.len() - 1)
    }

    /// The number of events, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a commit is never empty")]
    pub fn len(&self) -> usize {
        self.payloads.len()
    }

    /// The events, in order.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = Event<'_, K, S, E>> + ExactSizeIterator {
        self.payloads.iter().enumerate().map(|(index, payload)| Event { commit: self, index, payload })
    }

    /// The same, of another type.
    #[must_use]
    pub fn mapped<K2, E2>(
        self,
        key: impl FnOnce(K) -> K2,
        payload: impl FnMut(E) -> E2,
    ) -> Commit<K2, S, E2> {
        let Self { key: of, first, time, metadata, payloads } = self;
        Commit { key: key(of), first, time, metadata, payloads: payloads.mapped(payload) }
    }

    /// Whether its last sequence is one that exists: a commit that runs past the last number cannot be stored.
    pub fn fits(&self) -> bool {
        self.checked_sequence(self.payloads.len() - 1).is_some()
    }

    /// Whether `other` is this very commit: the same id at the same place.
    pub fn is(&self, other: &Self) -> bool {
        self.metadata.commit_id == other.metadata.commit_id && self.first == other.first
    }

    /// What is known of a stream whose last commit this is.
    pub fn head(&self) -> Head<S> {
        Head { sequence: self.last(), time: self.time }
    }

    /// How many of its events lie before `sequence`.
    pub(crate) fn events_before(&self, sequence: S) -> usize {
        self.events().take_while(|event| event.sequence() < sequence).count()
    }

    /// The sequence of the event at `index`.
    pub(crate) fn sequence(&self, index: usize) -> S {
        self.checked_sequence(index).expect("a stored commit fits its sequence type")
    }

    fn checked_sequence(&self, index: usize) -> Option<S> {
        S::from_parts(self.first.number().checked_add(index as u64)?, self.first.zone())
    }
}

/// One event, seen in its commit.
#[derive(Debug)]
pub struct Event<'a, K, S, E> {
    /// The commit that the event is part of.
    pub commit: &'a Commit<K, S, E>,
    /// Its place in the commit, from 0.
    pub index: usize,
    /// The business fact.
    pub payload: &'a E,
}

impl<'a, K, S: Sequence, E> Event<'a, K, S, E> {
    /// The stream.
    pub fn key(&self) -> &'a K {
        &self.commit.key
    }

    /// The position in the stream.
    pub fn sequence(&self) -> S {
        self.commit.sequence(self.index)
    }

    /// When the commit was made.
    pub fn time(&self) -> Timestamp {
        self.commit.time
    }

    /// Who made it, and why.
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

/// The end of a stream: its latest event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head<S> {
    /// The latest sequence; always the last of a commit.
    pub sequence: S,
    /// When that commit was made.
    pub time: Timestamp,
}

/// Who made a commit, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Unique to the commit, made by its writer.
    pub commit_id: CommitId,
    /// What the caller calls the conversation that the commit is part of, for tracing across services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The command or event that led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// The person or program that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// What the writer had read when it decided; a view in causal mode has all of it before it applies the commit.
    #[serde(default, skip_serializing_if = "Token::is_empty")]
    pub dependencies: Token,
}

impl Metadata {
    /// Metadata that says no more than which commit it is.
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

/// The identity of a commit: how a writer recognises its own when a reply was lost.
///
/// A version 7 UUID where eventsrc makes it, so that ids sort roughly by time; any UUID where the caller does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitId(pub Uuid);

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
