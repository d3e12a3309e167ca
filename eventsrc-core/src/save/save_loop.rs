//! Loop of a save: decide, put, and decide again after a conflict.

use std::sync::Arc;

use futures::TryStreamExt;
use jiff::Timestamp;
use vec1::Vec1;

use super::operation::{Decision, Known, Operation};
use super::outcome::{Outcome, SaveError, Saved};
use super::settings::{Context, SaveSettings};
use crate::clock::{Clock, Randomness};
use crate::commit::{Commit, CommitId, Head, Metadata};
use crate::storage::{CommitOf, Conflict, ErrorKind, EventStorage, Put, StorageError};
use crate::stream::{Sequence, StreamName};
use crate::token::Token;

/// Knowledge of one stream, and its refresh after a conflict.
pub(super) trait Knowledge<St: EventStorage>: Sync {
    /// Value that operations decide on.
    type Known: Known<Sequence = St::Sequence> + Clone;

    /// Returns the knowledge before any read.
    fn initial(&self) -> Self::Known;

    /// Returns the cached knowledge from the last save, which may be stale.
    fn cached(&self) -> Option<Basis<Self::Known>>;

    /// Returns the knowledge of a stream whose latest sequence is `sequence`, if the sequence determines it.
    fn basis_at(&self, sequence: St::Sequence) -> Option<Basis<Self::Known>>;

    /// Reads the current knowledge from the storage, starting from `known`.
    fn read(
        &self,
        known: Self::Known,
    ) -> impl Future<Output = Result<Basis<Self::Known>, StorageError>> + Send;

    /// Returns the knowledge after `commit`, which directly follows `known`.
    fn after(&self, known: Self::Known, commit: &CommitOf<St>) -> Self::Known;

    /// Caches the knowledge of a stream whose latest event has this time.
    fn cache(&self, known: Self::Known, time: Option<Timestamp>);

    /// Removes the knowledge of the stream from the cache.
    fn evict(&self);
}

/// Knowledge that operations decide on, and its reliability.
pub(super) struct Basis<Kn> {
    pub(super) known: Kn,
    /// Time of the latest event, if known. The next commit is not earlier.
    pub(super) time: Option<Timestamp>,
    /// True if it was read during this call, so that a rejection is final.
    pub(super) fresh: bool,
}

impl<S> Basis<Option<S>> {
    pub(super) fn of_head(head: Option<Head<S>>) -> Self {
        let (known, time) = head.map_or((None, None), |head| (Some(head.sequence), Some(head.time)));
        Self { known, time, fresh: false }
    }
}

/// Components of a writer that all its saves share.
pub(super) struct Writer<St> {
    pub(super) storage: St,
    pub(super) settings: SaveSettings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) randomness: Arc<Randomness>,
}

/// One save.
pub(super) struct SaveLoop<'a, St: EventStorage, R, N: Knowledge<St>> {
    pub(super) writer: &'a Writer<St>,
    pub(super) key: &'a St::Key,
    pub(super) context: &'a Context,
    pub(super) operations: &'a [Operation<St::Payload, R, N::Known>],
    pub(super) knowledge: &'a N,
}

type SequenceOf<St> = <St as EventStorage>::Sequence;

impl<St: EventStorage, R, N: Knowledge<St>> SaveLoop<'_, St, R, N> {
    pub(super) async fn run(self) -> Result<Outcome<R, SequenceOf<St>>, SaveError> {
        let new_id = || self.writer.randomness.commit_id(self.writer.clock.now());
        let commit_id = self.context.commit_id.unwrap_or_else(new_id);
        let mut retries = 0;
        let outcome = self.settle(commit_id, &mut retries).await;
        outcome.map_err(|source| {
            // The commit may be stored, so the cached knowledge may be stale.
            self.knowledge.evict();
            SaveError { commit_id, retries, source }
        })
    }

    async fn settle(
        &self,
        commit_id: CommitId,
        retries: &mut u32,
    ) -> Result<Outcome<R, SequenceOf<St>>, StorageError> {
        let name = StreamName::of(self.key)
            .map_err(|error| self.invalid("cannot save under this name").because(error))?;
        let saved = |sequence, retries, repeated| {
            let token = Token::seen(name.clone(), Some(sequence));
            Outcome::Saved(Saved { sequence, token, commit_id, retries, repeated })
        };
        let mut waits = self.writer.settings.retry.waits(&self.writer.randomness);
        let mut basis = self.begin().await?;
        // The search for a repeated command covered all commits up to this sequence.
        let mut searched = self.context.token.sequence(self.key);
        let mut assumed_latest = false;
        loop {
            if self.context.commit_id.is_some() && basis.known.sequence() > searched {
                if let Some(sequence) = self.find(commit_id, searched).await? {
                    return Ok(saved(sequence, *retries, true));
                }
                searched = basis.known.sequence();
            }
            let commit = match self.decide(&basis, commit_id)? {
                Ok(commit) => commit,
                Err(reasons) if basis.fresh => {
                    self.knowledge.cache(basis.known, basis.time);
                    return Ok(Outcome::Rejected { reasons, retries: *retries });
                }
                Err(_) => {
                    basis = self.knowledge.read(basis.known).await?;
                    continue;
                }
            };
            match self.writer.storage.put(Arc::clone(&commit)).await? {
                Put::Stored => {
                    self.knowledge.cache(self.knowledge.after(basis.known, &commit), Some(commit.time));
                    return Ok(saved(commit.last(), *retries, false));
                }
                Put::Repeated { last } => {
                    // The stored commit may differ from the current decision, so the knowledge is not cached.
                    self.knowledge.evict();
                    return Ok(saved(last, *retries, true));
                }
                Put::Conflict(conflict) => {
                    let Some(wait) = waits.next() else {
                        self.knowledge.evict();
                        return Ok(Outcome::Contended { attempts: *retries + 1 });
                    };
                    *retries += 1;
                    self.writer.clock.sleep(wait).await;
                    basis = self.catch_up(basis.known, conflict, &mut assumed_latest).await?;
                }
            }
        }
    }

    /// Returns the cached knowledge or that of a trusted token, whichever is later. Reads the storage if there is
    /// neither.
    async fn begin(&self) -> Result<Basis<N::Known>, StorageError> {
        let token = &self.context.token;
        let named =
            token.sequence(self.key).filter(|_| token.is_trusted()).and_then(|s| self.knowledge.basis_at(s));
        match (self.knowledge.cached(), named) {
            (Some(cached), Some(named)) if cached.known.sequence() < named.known.sequence() => Ok(named),
            (Some(cached), _) => Ok(cached),
            (None, Some(named)) => Ok(named),
            (None, None) => self.knowledge.read(self.knowledge.initial()).await,
        }
    }

    /// Returns the knowledge after a conflict.
    ///
    /// The conflicting commit is usually the only one that was missed, so the next try is decided from it without a
    /// read. If that try conflicts too, the storage is read. `assumed_latest` is true while the knowledge rests on
    /// this assumption.
    async fn catch_up(
        &self,
        known: N::Known,
        Conflict { existing, head }: Conflict<St::Key, SequenceOf<St>, St::Payload>,
        assumed_latest: &mut bool,
    ) -> Result<Basis<N::Known>, StorageError> {
        let after = known.sequence().map_or(0, Sequence::number);
        if let Some(existing) = existing.filter(|existing| existing.first.number() == after + 1) {
            let fresh = head.is_some_and(|head| head.sequence == existing.last());
            if fresh || (head.is_none() && !*assumed_latest) {
                *assumed_latest = !fresh;
                let time = Some(existing.time);
                return Ok(Basis { known: self.knowledge.after(known, &existing), time, fresh });
            }
        }
        *assumed_latest = false;
        if let Some((head, named)) =
            head.and_then(|head| Some((head, self.knowledge.basis_at(head.sequence)?)))
        {
            return Ok(Basis { time: Some(head.time), fresh: true, ..named });
        }
        self.knowledge.read(known).await
    }

    /// Searches the commits after `searched` for this id, and returns the last sequence of the commit.
    async fn find(
        &self,
        commit_id: CommitId,
        searched: Option<SequenceOf<St>>,
    ) -> Result<Option<SequenceOf<St>>, StorageError> {
        let from = match searched {
            Some(sequence) => match sequence.least_greater() {
                Some(from) => Some(from),
                None => return Ok(None),
            },
            None => None,
        };
        let mut pages = self.writer.storage.events(self.key, from);
        while let Some(page) = pages.try_next().await? {
            let found = page.commits().iter().find(|commit| commit.metadata.commit_id == commit_id);
            if let Some(commit) = found {
                return Ok(Some(commit.last()));
            }
        }
        Ok(None)
    }

    /// Returns the commit of all operations, to be put after what is known, or the reasons of the first one that
    /// rejects.
    fn decide(
        &self,
        basis: &Basis<N::Known>,
        commit_id: CommitId,
    ) -> Result<Result<Arc<CommitOf<St>>, Vec1<R>>, StorageError> {
        let now = self.writer.clock.now();
        let time = basis.time.map_or(now, |time| time.max(now));
        let commit = |known: &N::Known, payloads| {
            let first = SequenceOf::<St>::following(known.sequence(), self.writer.settings.zone)
                .ok_or_else(|| self.invalid("the stream is full"))?;
            Ok(Commit { key: self.key.clone(), first, time, metadata: self.metadata(commit_id), payloads })
        };
        let (first, others) =
            self.operations.split_first().ok_or_else(|| self.invalid("there is no operation to save"))?;
        let mut payloads = match first.decide(&basis.known) {
            Decision::Save(payloads) => payloads,
            Decision::Reject(reasons) => return Ok(Err(reasons)),
        };
        if !others.is_empty() {
            let mut last = commit(&basis.known, payloads)?;
            let mut known = self.knowledge.after(basis.known.clone(), &last);
            let mut all = Vec::from(last.payloads);
            for operation in others {
                match operation.decide(&known) {
                    Decision::Save(payloads) => last = commit(&known, payloads)?,
                    Decision::Reject(reasons) => return Ok(Err(reasons)),
                }
                known = self.knowledge.after(known, &last);
                all.extend(last.payloads);
            }
            payloads = Vec1::try_from_vec(all).expect("each operation that saves adds an event");
        }
        Ok(Ok(Arc::new(commit(&basis.known, payloads)?)))
    }

    fn metadata(&self, commit_id: CommitId) -> Metadata {
        let Context { correlation_id, causation_id, actor, dependencies, .. } = self.context;
        Metadata {
            commit_id,
            correlation_id: correlation_id.clone(),
            causation_id: causation_id.clone(),
            actor: actor.clone(),
            dependencies: dependencies.clone(),
        }
    }

    fn invalid(&self, what: &str) -> StorageError {
        StorageError::new(ErrorKind::Invalid, what).on(self.key)
    }
}
