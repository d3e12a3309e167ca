//! Loop of a save: decide, put, and decide again after a conflict.

use std::sync::Arc;

use futures::future::{Either, select};
use jiff::Timestamp;
use vec1::Vec1;

use super::knowledge::{Basis, Held, Knowledge};
use super::operation::{Decision, Known};
use super::outcome::{Outcome, SaveError, Saved, Unchanged};
use super::settings::Context;
use super::streams::Turn;
use super::writer::{Writer, forget};
use crate::commit::{Commit, CommitId, Metadata};
use crate::storage::{CommitOf, ErrorKind, EventStorage, Put, StorageError};
use crate::stream::{Sequence, StreamName};
use crate::token::Token;

/// The operations of a save, as one decision.
pub(super) trait Decide<St: EventStorage, R, Kn>: Sync {
    /// Decides on `known`. `commit` makes the commit of events that follow a sequence.
    fn decide(
        &self,
        known: &Kn,
        commit: &dyn Fn(Option<St::Sequence>, Vec1<St::Payload>) -> Result<CommitOf<St>, StorageError>,
    ) -> Result<Decision<St::Payload, R>, StorageError>;

    /// True if the last decision to save is final only on knowledge that was read during this save.
    fn needs_fresh_knowledge(&self) -> bool {
        false
    }
}

/// One save.
pub(super) struct SaveLoop<'a, St: EventStorage, N, D> {
    pub(super) writer: &'a Writer<St>,
    pub(super) key: &'a St::Key,
    pub(super) context: &'a Context,
    pub(super) decide: &'a D,
    pub(super) knowledge: &'a N,
}

/// How far a save has come, for the case that its time limit passes.
#[derive(Default)]
struct Progress {
    retries: u32,
    /// True while a put is sent whose result is unknown.
    unknown: bool,
}

/// Decision of all operations of a save.
enum Draft<St: EventStorage, R> {
    /// Put this commit.
    Commit(Arc<CommitOf<St>>),
    Nothing,
    Reject(Vec1<R>),
}

pub(super) type SequenceOf<St> = <St as EventStorage>::Sequence;

impl<St, N, D> SaveLoop<'_, St, N, D>
where
    St: EventStorage,
    N: Knowledge<St>,
{
    pub(super) async fn run<R>(self) -> Result<Outcome<R, SequenceOf<St>>, SaveError>
    where
        D: Decide<St, R, N::Known>,
    {
        let commit_id = self.context.commit_id.unwrap_or_else(|| self.writer.new_id());
        let mut progress = Progress::default();
        // On the heap: the future holds that of the storage's put, and would make those of all callers large.
        let settle = Box::pin(self.settle(commit_id, &mut progress));
        let result = match self.context.limit {
            None => Some(settle.await),
            Some(limit) => match select(settle, self.writer.clock.sleep(limit)).await {
                Either::Left((result, _)) => Some(result),
                Either::Right(_) => None,
            },
        };
        let Progress { retries, unknown } = progress;
        let source = match result {
            Some(Ok(outcome)) => return Ok(outcome),
            None if retries > 0 && !unknown => return Ok(Outcome::Contended { attempts: retries }),
            None => {
                StorageError::new(ErrorKind::Unavailable, "the time limit of the save passed").on(self.key)
            }
            Some(Err(source)) => source,
        };
        Err(SaveError { commit_id, retries, unknown, source })
    }

    async fn settle<R>(
        &self,
        commit_id: CommitId,
        progress: &mut Progress,
    ) -> Result<Outcome<R, SequenceOf<St>>, StorageError>
    where
        D: Decide<St, R, N::Known>,
    {
        let name = StreamName::of(self.key)
            .map_err(|error| self.invalid("cannot save under this name").because(error))?;
        let mut turn = self.writer.enter(self.key).await?;
        let mut basis = Held::new(self.knowledge, self.knowledge.remembered(turn.remembered.head.as_ref()));
        let outcome = self.attempts(&name, commit_id, progress, &mut basis, &mut turn).await;
        if outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Diverged) {
            forget(&mut basis, &mut turn);
        }
        outcome
    }

    async fn attempts<R>(
        &self,
        name: &StreamName,
        commit_id: CommitId,
        progress: &mut Progress,
        basis: &mut Basis<N::Known>,
        turn: &mut Turn<'_, St::Key, SequenceOf<St>>,
    ) -> Result<Outcome<R, SequenceOf<St>>, StorageError>
    where
        D: Decide<St, R, N::Known>,
    {
        let saved = |sequence, retries, repeated| {
            let token = Token::seen(name.clone(), Some((sequence, Some(commit_id))));
            Outcome::Saved(Saved { sequence, token, commit_id, retries, repeated })
        };
        let mut waits = self.writer.settings.retry.waits(&self.writer.randomness);
        let mut may_retry_at_once = true;
        let named = self.named();
        self.begin(named, basis, turn).await?;
        loop {
            if let Some(named) = named {
                self.check_token(named, basis, turn).await?;
            }
            if self.context.commit_id.is_some()
                && let Some(sequence) = self.find_repeated(commit_id, basis, turn).await?
            {
                return Ok(saved(sequence, progress.retries, true));
            }
            let commit = match self.draft(basis, commit_id)? {
                Draft::Commit(commit) if basis.fresh || !self.decide.needs_fresh_knowledge() => commit,
                Draft::Commit(_) | Draft::Nothing | Draft::Reject(_) if !basis.fresh => {
                    self.refresh(basis, turn).await?;
                    continue;
                }
                Draft::Commit(commit) => commit,
                Draft::Nothing => {
                    let end = basis.known.sequence().map(|sequence| (sequence, basis.commit_id));
                    let (sequence, token) = (basis.known.sequence(), Token::seen(name.clone(), end));
                    return Ok(Outcome::Unchanged(Unchanged { sequence, token, retries: progress.retries }));
                }
                Draft::Reject(reasons) => {
                    return Ok(Outcome::Rejected { reasons, retries: progress.retries });
                }
            };
            let put = self.put(&commit, progress).await;
            turn.remembered.is_doubtful = progress.unknown || matches!(put, Ok(Put::Repeated { .. }));
            match put? {
                Put::Stored => {
                    self.advance(basis, &commit, turn);
                    return Ok(saved(commit.last(), progress.retries, false));
                }
                Put::Repeated { last } => return Ok(saved(last, progress.retries, true)),
                Put::Conflict(conflict) => {
                    progress.retries += 1;
                    if progress.retries >= self.writer.settings.retry.tries.max(1) {
                        return Ok(Outcome::Contended { attempts: progress.retries });
                    }
                    // What a conflict tells is old after a wait, so it serves one retry at once.
                    if !may_retry_at_once && let Some(wait) = waits.next() {
                        self.writer.clock.sleep(wait).await;
                    }
                    if !(may_retry_at_once && self.catch_up(basis, conflict, turn)?) {
                        self.refresh(basis, turn).await?;
                    }
                    may_retry_at_once = !may_retry_at_once;
                }
            }
        }
    }

    async fn put(
        &self,
        commit: &Arc<CommitOf<St>>,
        progress: &mut Progress,
    ) -> Result<Put<St::Key, SequenceOf<St>, St::Payload>, StorageError> {
        let was_unknown = progress.unknown;
        progress.unknown = true;
        let put = self.writer.storage.put(Arc::clone(commit)).await;
        progress.unknown = match &put {
            Ok(_) => false,
            Err(error) => was_unknown || !error.kind().stores_nothing(),
        };
        put
    }

    /// Returns the commit of all operations, to be put after what is known, or the decision not to save.
    fn draft<R>(&self, basis: &Basis<N::Known>, commit_id: CommitId) -> Result<Draft<St, R>, StorageError>
    where
        D: Decide<St, R, N::Known>,
    {
        let time = self.time(basis);
        let commit = |after: Option<SequenceOf<St>>, payloads: Vec1<St::Payload>| {
            let first = SequenceOf::<St>::following(after, self.writer.settings.zone)
                .ok_or_else(|| self.invalid("the stream is full"))?;
            let (key, previous, metadata) = (self.key.clone(), basis.commit_id, self.metadata(commit_id));
            Ok(Commit { key, first, previous, time, metadata, payloads: payloads.into() })
        };
        Ok(match self.decide.decide(&basis.known, &commit)? {
            Decision::Save(payloads) => Draft::Commit(Arc::new(commit(basis.known.sequence(), payloads)?)),
            Decision::Nothing => Draft::Nothing,
            Decision::Reject(reasons) => Draft::Reject(reasons),
        })
    }

    /// Returns the time of the next commit: now, or the time of the last one if that is a little later.
    fn time(&self, basis: &Basis<N::Known>) -> Timestamp {
        let now = self.writer.clock.now();
        let Some(last) = basis.time.filter(|time| *time > now) else { return now };
        let lead = self.writer.settings.longest_lead;
        if last.duration_since(now).unsigned_abs() <= lead {
            return last;
        }
        let stream = self.key;
        tracing::warn!(?stream, %last, %now, "the last commit is from the future: a writer's clock is wrong");
        now
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
