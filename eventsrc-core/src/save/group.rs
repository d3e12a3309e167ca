//! The operations of several callers, as one decision with an answer for each.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vec1::Vec1;

use super::knowledge::Knowledge;
use super::operation::{Decision, Known, Operation};
use super::outcome::{Outcome, SaveError, Unchanged};
use super::save_loop::Decide;
use crate::storage::{CommitOf, EventStorage, StorageError};

/// Operations that decide one after the other. Those that save are saved together; the others do not affect them.
pub(super) struct Group<'a, St: EventStorage, R, N: Knowledge<St>> {
    operations: &'a [Operation<St::Payload, R, N::Known>],
    knowledge: &'a N,
    /// Last decision of each operation.
    decided: Mutex<Vec<Decided<R>>>,
}

/// Decision of one operation.
enum Decided<R> {
    Save,
    Nothing,
    Reject(Vec1<R>),
}

impl<'a, St: EventStorage, R, N: Knowledge<St>> Group<'a, St, R, N> {
    pub(super) fn new(operations: &'a [Operation<St::Payload, R, N::Known>], knowledge: &'a N) -> Self {
        Self { operations, knowledge, decided: Mutex::default() }
    }

    /// Returns the answer to each operation, given the outcome of their save.
    pub(super) fn answers(
        &self,
        outcome: Result<Outcome<R, St::Sequence>, SaveError>,
    ) -> Vec<Result<Outcome<R, St::Sequence>, SaveError>> {
        let decided = std::mem::take(&mut *self.decided());
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                let SaveError { commit_id, retries, unknown, source } = error;
                let (kind, source) = (source.kind(), Arc::new(source));
                let answer = |_| {
                    let source = StorageError::new(kind, source.to_string()).because(Arc::clone(&source));
                    Err(SaveError { commit_id, retries, unknown, source })
                };
                return self.operations.iter().map(answer).collect();
            }
        };
        let (sequence, token) = match &outcome {
            Outcome::Saved(saved) => (Some(saved.sequence), saved.token.clone()),
            Outcome::Unchanged(unchanged) => (unchanged.sequence, unchanged.token.clone()),
            Outcome::Rejected { .. } | Outcome::Contended { .. } => {
                let attempts = outcome.retries() + 1;
                return self.operations.iter().map(|_| Ok(Outcome::Contended { attempts })).collect();
            }
        };
        let retries = outcome.retries();
        let saved = outcome.saved();
        let answer = |decided| {
            Ok(match decided {
                Decided::Reject(reasons) => Outcome::Rejected { reasons, retries },
                Decided::Save if let Some(saved) = &saved => Outcome::Saved(saved.clone()),
                Decided::Save | Decided::Nothing => {
                    Outcome::Unchanged(Unchanged { sequence, token: token.clone(), retries })
                }
            })
        };
        decided.into_iter().map(answer).collect()
    }

    fn decided(&self) -> MutexGuard<'_, Vec<Decided<R>>> {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<St, R, N> Decide<St, R, N::Known> for Group<'_, St, R, N>
where
    St: EventStorage,
    R: Send,
    N: Knowledge<St, Known: Clone>,
{
    fn decide(
        &self,
        known: &N::Known,
        commit: &dyn Fn(Option<St::Sequence>, Vec1<St::Payload>) -> Result<CommitOf<St>, StorageError>,
    ) -> Result<Decision<St::Payload, R>, StorageError> {
        let mut all = Vec::new();
        let mut decided = Vec::with_capacity(self.operations.len());
        // A copy, which the events of each operation advance.
        let mut advanced = None;
        for (index, operation) in self.operations.iter().enumerate() {
            decided.push(match operation.decide(advanced.as_ref().unwrap_or(known)) {
                Decision::Save(payloads) => {
                    if index + 1 == self.operations.len() {
                        all.extend(payloads);
                    } else {
                        let after = advanced.get_or_insert_with(|| known.clone());
                        let commit = commit(after.sequence(), payloads)?;
                        self.knowledge.advance(after, &commit);
                        all.extend(commit.payloads);
                    }
                    Decided::Save
                }
                Decision::Nothing => Decided::Nothing,
                Decision::Reject(reasons) => Decided::Reject(reasons),
            });
        }
        *self.decided() = decided;
        Ok(Vec1::try_from_vec(all).map_or(Decision::Nothing, Decision::Save))
    }

    fn needs_fresh_knowledge(&self) -> bool {
        self.decided().iter().any(|decided| !matches!(decided, Decided::Save))
    }
}
