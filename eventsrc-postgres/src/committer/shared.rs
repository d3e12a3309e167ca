//! State of a writer of commits, shared by its callers and senders.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventsrc_core::clock::{Clock, SystemClock};

use super::job::Job;
use super::queue::{Limits, Queue};
use crate::append::AppendOutcome;
use crate::connections::Connections;
use crate::failure::Failure;
use crate::layout::{EventLayout, InsertResult};
use crate::settings::Settings;

/// State of a writer of commits.
pub(super) struct Shared {
    connections: Connections,
    layout: Arc<EventLayout>,
    queue: Mutex<Queue>,
    /// Number of transactions that stored commits.
    transactions: AtomicU64,
}

impl Shared {
    pub(super) fn new(connections: Connections, layout: Arc<EventLayout>, settings: &Settings) -> Self {
        let queue = Mutex::new(Queue::new(Limits::new(settings)));
        Self { connections, layout, queue, transactions: AtomicU64::default() }
    }

    /// Adds a job. Returns true if the caller must start another sender.
    pub(super) fn enqueue(&self, job: Job) -> Result<bool, Failure> {
        self.queue().enqueue(job, SystemClock.elapsed())
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        // No foreign code runs under this lock, so a poisoned one is consistent.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of transactions that stored commits.
    pub(super) fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Puts the commits of a group in one statement, and returns one result for each. An `Err` applies to all of them.
    pub(super) async fn store(&self, group: &[Job]) -> Result<Vec<Result<AppendOutcome, Failure>>, Failure> {
        let commits: Vec<_> = group.iter().map(|job| (&*job.stream, &*job.commit)).collect();
        let results = self.layout.put(&self.connections, &commits).await?;
        if results.iter().any(|result| matches!(result, Some(InsertResult::Inserted))) {
            self.transactions.fetch_add(1, Ordering::Relaxed);
        }
        let outcomes =
            commits.iter().zip(results).map(|((_, commit), result)| AppendOutcome::of(commit, result?));
        let mut outcomes: Vec<_> = outcomes.collect();
        let (undetermined, commits): (Vec<_>, Vec<_>) =
            commits.into_iter().enumerate().filter(|(index, _)| outcomes[*index].is_none()).unzip();
        // These commits lost against transactions that committed after the statement had begun, which it does not see.
        let mut failure = Failure::unavailable("a conflicting commit was found, and then it disappeared");
        if !undetermined.is_empty() {
            match self.layout.find_conflicts(&self.connections, &commits).await {
                Ok(results) => {
                    undetermined.iter().zip(commits).zip(results).for_each(
                        |((index, (_, commit)), result)| {
                            outcomes[*index] = result.and_then(|result| AppendOutcome::of(commit, result));
                        },
                    );
                }
                Err(error) => failure = error,
            }
        }
        Ok(outcomes.into_iter().map(|outcome| outcome.ok_or_else(|| failure.clone())).collect())
    }
}
