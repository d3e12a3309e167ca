//! Applying a batch: as a whole if it goes, in halves if something in it does not, until what does not go is found.

use std::time::Duration;

use super::worker::Worker;
use crate::storage::error::describe;
use crate::stream::Sequence;
use crate::view::{Applied, Batch, CommitRun, ViewStore};

type RunOf<V> = CommitRun<<V as ViewStore>::Key, <V as ViewStore>::Sequence, <V as ViewStore>::Payload>;

impl<V: ViewStore> Worker<V> {
    /// Applies runs. The positions of streams that did not move are asked for again.
    pub(super) async fn apply(&mut self, runs: Vec<RunOf<V>>) {
        let mut parts = vec![runs];
        while let Some(mut runs) = parts.pop() {
            // A stream that did not get as far as an earlier part would have brought it waits for its next turn.
            runs.retain(|run| self.inboxes[&run.stream].position == Some(run.from));
            if runs.is_empty() {
                continue;
            }
            let batch = Batch::new(runs);
            let full = batch.event_count() >= self.events_per_batch;
            let begun = self.shared.environment.clock.now();
            let outcome = self.shared.view.apply(&batch).await;
            let took = self.shared.environment.clock.now().duration_since(begun).unsigned_abs();
            match outcome {
                Ok(Applied::Done) => {
                    self.backoff = None;
                    self.adapt(full, took);
                    self.shared.applied(&batch, took);
                    for moved in batch.position_changes() {
                        let inbox =
                            self.inboxes.get_mut(&moved.stream).expect("a stream under way has an inbox");
                        inbox.reached(moved.to);
                        self.shared.remember(&moved.stream, Some(moved.to));
                        inbox.backoff = None;
                        inbox.stall = None;
                    }
                }
                Ok(Applied::PositionDiffers | Applied::Quarantined) => {
                    self.backoff = None;
                    batch.position_changes().iter().for_each(|moved| self.forget(&moved.stream));
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
                    // It may be applied all the same: positions tell.
                    batch.position_changes().iter().for_each(|moved| self.forget(&moved.stream));
                    self.pause("cannot apply a batch", error).await;
                }
            }
        }
    }

    /// Makes batches such that one takes about as long as it should.
    fn adapt(&mut self, full: bool, took: Duration) {
        let settings = &self.shared.settings;
        if took > settings.time_per_batch {
            self.events_per_batch = (self.events_per_batch / 2).max(1);
        } else if full && took < settings.time_per_batch / 2 {
            let most = settings.events_per_batch.max(1);
            self.events_per_batch = self.events_per_batch.saturating_mul(2).min(most);
        }
    }
}

type Halves<K, S, E> = (Vec<CommitRun<K, S, E>>, Vec<CommitRun<K, S, E>>);

/// The runs in two halves, of which the first comes first; or the one run that is a single commit.
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
