//! Queue of the jobs that wait to be sent.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::job::Job;
use super::outage::Outage;
use super::stream_queue::StreamQueue;
use crate::append::{AppendOutcome, StreamEnd};
use crate::failure::Failure;
use crate::layout::StreamLocation;
use crate::settings::Settings;

/// Limits of the queue and of its groups.
pub(super) struct Limits {
    /// Largest number of groups in flight.
    groups: usize,
    /// Largest number of commits in a group.
    commits: usize,
    /// Size in bytes after which a group ends.
    bytes: usize,
    /// Largest number of commits that wait.
    waiting_commits: usize,
    /// Largest size in bytes of the commits that wait.
    waiting_bytes: usize,
}

impl Limits {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            groups: settings.groups_in_flight.max(1),
            commits: settings.commits_per_group.max(1),
            bytes: settings.bytes_per_group,
            waiting_commits: settings.waiting_commits,
            waiting_bytes: settings.waiting_bytes,
        }
    }
}

/// Jobs that wait to be sent, by stream.
///
/// A group has at most one job of each stream, and the other jobs of a stream wait for its outcome, so that groups do not
/// wait for each other. Streams take turns: one that has a job and none in flight is ready, and the stream that has been
/// ready for longest is served next.
///
/// The outcome of a job settles those of the jobs that it makes impossible, without a round trip for each (see
/// [`settle`](Queue::settle)). So the work for each job does not depend on the number of jobs that wait.
pub(super) struct Queue {
    limits: Limits,
    /// Streams that have jobs or one in flight.
    streams: HashMap<Arc<StreamLocation>, StreamQueue>,
    /// Streams that have jobs and none in flight.
    ready: VecDeque<Arc<StreamLocation>>,
    /// Number and size in bytes of the jobs.
    commits: usize,
    bytes: usize,
    /// Number of jobs that arrived so far.
    arrivals: u64,
    /// Number of tasks that send groups. There is one if a stream is ready.
    senders: usize,
    outage: Outage,
    /// Number of jobs and streams that were looked at.
    #[cfg(test)]
    work: usize,
}

/// Jobs to send in one statement.
pub(super) struct Group {
    /// Jobs of different streams, in the order of their streams.
    pub(super) jobs: Vec<Job>,
    /// Number of jobs that had arrived before the group was sent.
    pub(super) arrivals: u64,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            streams: HashMap::new(),
            ready: VecDeque::new(),
            commits: 0,
            bytes: 0,
            arrivals: 0,
            senders: 0,
            outage: Outage::default(),
            #[cfg(test)]
            work: 0,
        }
    }

    /// Adds a job that arrives at the time `now`. Returns true if the caller must start another sender.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Overloaded`](eventsrc_core::ErrorKind::Overloaded) if too many jobs wait, or the last failure to connect
    /// if the server is away.
    pub(super) fn enqueue(&mut self, job: Job, now: Duration) -> Result<bool, Failure> {
        self.outage.admit(now)?;
        let size = job.commit.size();
        let is_full = self.commits >= self.limits.waiting_commits.max(1)
            || (self.commits > 0 && self.bytes.saturating_add(size) > self.limits.waiting_bytes);
        if is_full {
            let what =
                format!("too many commits wait to be stored: {} with {} bytes", self.commits, self.bytes);
            return Err(Failure::overloaded(what));
        }
        self.outage.accepted();
        self.commits += 1;
        self.bytes += size;
        let stream = Arc::clone(&job.stream);
        let waiting = self.streams.entry(Arc::clone(&stream)).or_default();
        let was_idle = waiting.is_empty() && !waiting.in_flight;
        waiting.push(self.arrivals, job);
        self.arrivals += 1;
        if !was_idle {
            return Ok(false);
        }
        self.ready.push_back(stream);
        let needs_sender = self.senders < self.limits.groups;
        self.senders += usize::from(needs_sender);
        Ok(needs_sender)
    }

    /// Number of streams that are ready.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Takes the next group, and marks its streams as in flight. `None` if no job waits: then the queue no longer counts the
    /// sender. Jobs whose callers are gone are dropped.
    pub(super) fn take_group(&mut self) -> Option<Group> {
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        while jobs.len() < self.limits.commits
            && let Some(stream) = self.ready.pop_front()
        {
            #[cfg(test)]
            {
                self.work += 1;
            }
            let Some(waiting) = self.streams.get_mut(&stream) else { continue };
            while let Some(gone) = waiting.first().filter(|job| job.reply.is_closed()) {
                self.bytes -= gone.commit.size();
                self.commits -= 1;
                waiting.pop();
                #[cfg(test)]
                {
                    self.work += 1;
                }
            }
            let Some(size) = waiting.first().map(|job| job.commit.size()) else {
                self.streams.remove(&stream);
                continue;
            };
            if !jobs.is_empty() && bytes + size > self.limits.bytes {
                self.ready.push_front(stream);
                break;
            }
            bytes += size;
            waiting.in_flight = true;
            jobs.extend(waiting.pop());
        }
        self.commits -= jobs.len();
        self.bytes -= bytes;
        if jobs.is_empty() {
            self.outage.dropped();
            self.senders -= 1;
            return None;
        }
        self.outage.sent();
        jobs.sort_by(|a, b| a.stream.cmp(&b.stream));
        Some(Group { jobs, arrivals: self.arrivals })
    }

    /// Marks `stream` as not in flight. `end` is the end of the stream that the answer to a group showed. Returns the jobs
    /// whose outcomes follow from it, each with its outcome.
    ///
    /// These are the jobs at a number of the commit in `end`, and so each is a conflict or a repetition. A job at an earlier
    /// number may be a repetition of a commit that the answer did not show, so it is sent. A job that arrived after the
    /// group was sent, when there were `arrivals`, is sent too: its caller may already know a later head than the one that
    /// the answer showed.
    pub(super) fn settle(
        &mut self,
        stream: &Arc<StreamLocation>,
        end: Option<StreamEnd>,
        arrivals: u64,
    ) -> Vec<(Job, AppendOutcome)> {
        let Some(waiting) = self.streams.get_mut(stream) else { return Vec::new() };
        waiting.in_flight = false;
        let settled = match end {
            None => Vec::new(),
            Some(StreamEnd { head, commit }) => {
                let outcome = |job: Job| {
                    self.commits -= 1;
                    self.bytes -= job.commit.size();
                    let outcome = AppendOutcome::behind(&job.commit, head, Some(Arc::clone(&commit)));
                    (job, outcome)
                };
                #[cfg(test)]
                {
                    self.work += waiting.count(commit.number..=commit.last());
                }
                let jobs = waiting.take(commit.number..=commit.last(), arrivals);
                jobs.into_iter().map(outcome).collect()
            }
        };
        if waiting.is_empty() {
            self.streams.remove(stream);
        } else {
            self.ready.push_back(Arc::clone(stream));
        }
        settled
    }

    /// A group was sent on a connection. `is_silent` is true if the server did not answer in time.
    pub(super) fn connected(&mut self, is_silent: bool) {
        if is_silent { self.outage.unknown() } else { self.outage.end() }
    }

    /// No connection could be opened at the time `now`. Returns the jobs that wait, which then fail as well.
    pub(super) fn server_is_away(&mut self, failure: Failure, now: Duration) -> Vec<Job> {
        self.outage.extend(failure, now);
        self.take_all()
    }

    /// A sender was dropped while it worked. Returns the jobs that wait if no other sender is left, which then fail.
    pub(super) fn sender_was_dropped(&mut self) -> Vec<Job> {
        self.outage.unknown();
        self.senders -= 1;
        if self.senders > 0 { Vec::new() } else { self.take_all() }
    }

    /// Removes all jobs that wait.
    fn take_all(&mut self) -> Vec<Job> {
        (self.commits, self.bytes) = (0, 0);
        self.ready.clear();
        let jobs = self.streams.values_mut().flat_map(StreamQueue::take_all).collect();
        self.streams.retain(|_, waiting| waiting.in_flight);
        jobs
    }
}

#[cfg(test)]
mod tests;
