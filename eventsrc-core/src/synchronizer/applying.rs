//! Applying batches. A rejected batch is split in halves until the commit that the view cannot apply is found.

use std::time::Duration;

use super::worker::Worker;
use crate::storage::error::describe;
use crate::stream::Sequence;
use crate::view::{Applied, Batch, CommitRun, ViewStore};

type RunOf<V> = CommitRun<<V as ViewStore>::Key, <V as ViewStore>::Sequence, <V as ViewStore>::Payload>;

impl<V: ViewStore> Worker<V> {
    /// Applies runs. The positions of streams that did not advance are read again.
    pub(super) async fn apply(&mut self, runs: Vec<RunOf<V>>) {
        let mut parts = vec![runs];
        while let Some(mut runs) = parts.pop() {
            // A stream whose earlier part was not applied waits for the next round.
            runs.retain(|run| self.inboxes[&run.stream].position == Some(run.from));
            if runs.is_empty() {
                continue;
            }
            let batch = Batch::new(runs);
            let is_full = batch.event_count() >= self.events_per_batch;
            let start = self.shared.environment.clock.elapsed();
            let outcome = self.shared.view.apply(&batch).await;
            let took = self.shared.environment.clock.elapsed().saturating_sub(start);
            match outcome {
                Ok(Applied::Done) => {
                    self.backoff = None;
                    self.adapt_batch_size(is_full, took);
                    self.shared.record_applied(&batch, took);
                    for change in batch.position_changes() {
                        let inbox =
                            self.inboxes.get_mut(&change.stream).expect("a stream of a batch has an inbox");
                        inbox.set_position(change.to);
                        self.shared.cache_position(&change.stream, Some(change.to));
                        inbox.backoff = None;
                        inbox.stall = None;
                    }
                }
                Ok(Applied::PositionDiffers | Applied::Quarantined) => {
                    self.backoff = None;
                    batch.position_changes().iter().for_each(|change| self.forget_position(&change.stream));
                }
                Ok(Applied::Rejected(error)) => {
                    self.backoff = None;
                    match halves(batch.into_runs()) {
                        Ok((first, second)) => parts.extend([second, first]),
                        Err(CommitRun { stream, from, commits }) => {
                            let text = describe(&*error);
                            self.quarantine(&stream, from, commits[0].first, text).await;
                        }
                    }
                    if self.shared.is_broken() {
                        break;
                    }
                }
                Err(error) => {
                    // The batch may be applied. The positions show whether it is.
                    batch.position_changes().iter().for_each(|change| self.forget_position(&change.stream));
                    self.back_off("cannot apply a batch to the view", error).await;
                }
            }
        }
    }

    /// Adapts the batch size to the target duration of a transaction.
    fn adapt_batch_size(&mut self, is_full: bool, took: Duration) {
        let settings = &self.shared.settings;
        if took > settings.time_per_batch {
            self.events_per_batch = (self.events_per_batch / 2).max(1);
        } else if is_full && took < settings.time_per_batch / 2 {
            let most = settings.events_per_batch.max(1);
            self.events_per_batch = self.events_per_batch.saturating_mul(2).min(most);
        }
    }
}

type Halves<K, S, E> = (Vec<CommitRun<K, S, E>>, Vec<CommitRun<K, S, E>>);

/// Splits the runs in two halves, the first of which must be applied first. Returns the run as an error if it is a
/// single commit.
fn halves<K: Clone, S: Sequence, E>(
    mut runs: Vec<CommitRun<K, S, E>>,
) -> Result<Halves<K, S, E>, CommitRun<K, S, E>> {
    if runs.len() > 1 {
        let second = runs.split_off(runs.len() / 2);
        return Ok((runs, second));
    }
    let run = runs.pop().expect("a batch has a run");
    match run.commits.len() {
        1 => Err(run),
        commits => {
            let (first, second) = run.split(commits / 2);
            Ok((vec![first], vec![second]))
        }
    }
}
