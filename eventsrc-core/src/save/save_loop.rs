//! The check-and-set loop.

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

/// What is known of one stream, and how it is brought up to date.
pub(super) trait Knowledge<St: EventStorage>: Sync {
    /// What operations decide on.
    type Known: Known<Sequence = St::Sequence> + Clone;

    /// What is known of a stream before it is read.
    fn nothing(&self) -> Self::Known;

    /// What was known after the last save; it may be old.
    fn remembered(&self) -> Option<Basis<Self::Known>>;

    /// What there is to know of a stream that is at `sequence`, if the sequence says it all.
    fn named(&self, sequence: St::Sequence) -> Option<Basis<Self::Known>>;

    /// What the storage says, going on from what is known.
    fn read(
        &self,
        known: Self::Known,
    ) -> impl Future<Output = Result<Basis<Self::Known>, StorageError>> + Send;

    /// What is known after `commit`, which follows right on `known`.
    fn then(&self, known: Self::Known, commit: &CommitOf<St>) -> Self::Known;

    /// Remembers what is known of a stream whose latest event has this time.
    fn remember(&self, known: Self::Known, time: Option<Timestamp>);

    fn forget(&self);
}

/// What operations decide on, and how far it can be relied on.
pub(super) struct Basis<Kn> {
    pub(super) known: Kn,
    /// The time of the latest event, where it is known; the next commit is not earlier.
    pub(super) time: Option<Timestamp>,
    /// Read in this call, so that a rejection is final.
    pub(super) fresh: bool,
}

impl<S> Basis<Option<S>> {
    pub(super) fn of_head(head: Option<Head<S>>) -> Self {
        let (known, time) = head.map_or((None, None), |head| (Some(head.sequence), Some(head.time)));
        Self { known, time, fresh: false }
    }
}

/// Parts of a writer that all its saves share.
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
            // Unknown: what is remembered may be behind a commit that was stored after all.
            self.knowledge.forget();
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
        // No commit up to here is this command's.
        let mut searched = self.context.token.sequence(self.key);
        let mut guessed = false;
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
                    self.knowledge.remember(basis.known, basis.time);
                    return Ok(Outcome::Rejected { reasons, retries: *retries });
                }
                Err(_) => {
                    basis = self.knowledge.read(basis.known).await?;
                    continue;
                }
            };
            match self.writer.storage.put(Arc::clone(&commit)).await? {
                Put::Stored => {
                    self.knowledge.remember(self.knowledge.then(basis.known, &commit), Some(commit.time));
                    return Ok(saved(commit.last(), *retries, false));
                }
                Put::Repeated { last } => {
                    // What was decided now may differ from what is stored, so it is not remembered.
                    self.knowledge.forget();
                    return Ok(saved(last, *retries, true));
                }
                Put::Conflict(conflict) => {
                    let Some(wait) = waits.next() else {
                        self.knowledge.forget();
                        return Ok(Outcome::Contended { attempts: *retries + 1 });
                    };
                    *retries += 1;
                    self.writer.clock.sleep(wait).await;
                    basis = self.catch_up(basis.known, conflict, &mut guessed).await?;
                }
            }
        }
    }

    /// What is remembered or what a trusted token names, whichever is later; else what the storage says.
    async fn begin(&self) -> Result<Basis<N::Known>, StorageError> {
        let token = &self.context.token;
        let named =
            token.sequence(self.key).filter(|_| token.is_trusted()).and_then(|s| self.knowledge.named(s));
        match (self.knowledge.remembered(), named) {
            (Some(remembered), Some(named)) if remembered.known.sequence() < named.known.sequence() => {
                Ok(named)
            }
            (Some(remembered), _) => Ok(remembered),
            (None, Some(named)) => Ok(named),
            (None, None) => self.knowledge.read(self.knowledge.nothing()).await,
        }
    }

    /// What is known after a conflict. The commit in the way is most often the only one that was missed, so the next
    /// try is decided from it without a read. If that one meets yet another, the storage is asked how far it goes.
    async fn catch_up(
        &self,
        known: N::Known,
        Conflict { existing, head }: Conflict<St::Key, SequenceOf<St>, St::Payload>,
        guessed: &mut bool,
    ) -> Result<Basis<N::Known>, StorageError> {
        let after = known.sequence().map_or(0, Sequence::number);
        if let Some(existing) = existing.filter(|existing| existing.first.number() == after + 1) {
            let fresh = head.is_some_and(|head| head.sequence == existing.last());
            if fresh || (head.is_none() && !*guessed) {
                *guessed = !fresh;
                let time = Some(existing.time);
                return Ok(Basis { known: self.knowledge.then(known, &existing), time, fresh });
            }
        }
        *guessed = false;
        if let Some((head, named)) = head.and_then(|head| Some((head, self.knowledge.named(head.sequence)?)))
        {
            return Ok(Basis { time: Some(head.time), fresh: true, ..named });
        }
        self.knowledge.read(known).await
    }

    /// The last sequence of the commit with this id, if it is among those after `searched`.
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

    /// The commit that all operations together decide to put after what is known, or the reasons of the first that rejects.
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
            let mut known = self.knowledge.then(basis.known.clone(), &last);
            let mut all = Vec::from(last.payloads);
            for operation in others {
                match operation.decide(&known) {
                    Decision::Save(payloads) => last = commit(&known, payloads)?,
                    Decision::Reject(reasons) => return Ok(Err(reasons)),
                }
                known = self.knowledge.then(known, &last);
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
