//! Task that sends groups of commits.

use std::sync::Arc;

use eventsrc_core::clock::{Clock, SystemClock};
use tokio::task::yield_now;

use super::job::Job;
use super::queue::Group;
use super::shared::Shared;
use crate::append::AppendOutcome;
use crate::failure::Failure;

/// Number of times that a sender yields to other tasks while it waits for a group as large as the last one.
const YIELDS_PER_GROUP: usize = 16;

/// Task that sends one group after the other, until no job waits.
pub(super) struct Sender {
    shared: Arc<Shared>,
    /// Parts of the group that have no outcome yet. Their streams are in flight.
    parts: Vec<Vec<Job>>,
    /// Number of jobs that had arrived before the group was sent.
    arrivals: u64,
    /// True while the queue counts this sender.
    is_counted: bool,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, parts: Vec::new(), arrivals: 0, is_counted: true }
    }

    pub(super) async fn run(mut self) {
        let mut last = 1;
        loop {
            // Callers that just received their answers are likely to put again.
            for _ in 0..YIELDS_PER_GROUP {
                if self.shared.queue().ready() >= last {
                    break;
                }
                yield_now().await;
            }
            let group = self.shared.queue().take_group();
            let Some(Group { jobs, arrivals }) = group else {
                self.is_counted = false;
                return;
            };
            last = jobs.len();
            self.arrivals = arrivals;
            self.parts.push(jobs);
            self.send().await;
        }
    }

    /// Sends the group. If one of its commits causes an error, the group is halved until that commit fails alone.
    async fn send(&mut self) {
        while let Some(part) = self.parts.last() {
            let stored = self.shared.store(part).await;
            let Some(mut part) = self.parts.pop() else { return };
            match stored {
                Err(failure) if part.len() > 1 && failure.is_caused_by_input() => {
                    let rest = part.split_off(part.len() / 2);
                    self.parts.extend([rest, part]);
                }
                Err(failure) if failure.is_server_away() => {
                    self.parts.push(part);
                    self.fail_all(&failure);
                }
                Err(failure) => self.settle(part.into_iter().map(|job| (job, Err(failure.clone())))),
                Ok(outcomes) => self.settle(part.into_iter().zip(outcomes)),
            }
        }
    }

    /// Answers jobs of the group, and the waiting jobs whose outcomes follow from theirs.
    fn settle(&self, jobs: impl Iterator<Item = (Job, Result<AppendOutcome, Failure>)>) {
        let mut answers: Vec<_> = jobs.collect();
        let mut queue = self.shared.queue();
        let is_silence = |outcome: &Result<_, Failure>| outcome.as_ref().is_err_and(Failure::is_silence);
        queue.connected(answers.iter().all(|(_, outcome)| is_silence(outcome)));
        let mut others = Vec::new();
        for (job, outcome) in &answers {
            let end = outcome.as_ref().ok().and_then(|outcome| outcome.stream_end(&job.commit));
            others.extend(queue.settle(&job.stream, end, self.arrivals));
        }
        drop(queue);
        answers.extend(others.into_iter().map(|(job, outcome)| (job, Ok(outcome))));
        for (job, outcome) in answers {
            job.answer(outcome);
        }
    }

    /// Fails all jobs of the group, and all that wait, because the server is away.
    fn fail_all(&mut self, failure: &Failure) {
        let mut jobs: Vec<_> = self.parts.drain(..).flatten().collect();
        let mut queue = self.shared.queue();
        let waiting = queue.server_is_away(failure.clone(), SystemClock.elapsed());
        for job in &jobs {
            queue.settle(&job.stream, None, self.arrivals);
        }
        drop(queue);
        jobs.extend(waiting);
        for job in jobs {
            job.answer(Err(failure.clone()));
        }
    }
}

/// Cleans up after a sender whose runtime was shut down while it worked.
impl Drop for Sender {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        for job in self.parts.iter().flatten() {
            queue.settle(&job.stream, None, self.arrivals);
        }
        if self.is_counted {
            // Dropping these jobs fails the puts of their callers.
            let without_sender = queue.sender_was_dropped();
            drop(queue);
            drop(without_sender);
        }
    }
}
