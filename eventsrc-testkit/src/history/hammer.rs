//! Racing callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_core::commit::Vec1;
use eventsrc_core::save::{PreconditionFailed, SaveSettings};
use eventsrc_core::storage::{CommitOf, Put};
use eventsrc_core::stream::Zone;
use eventsrc_core::{
    Commit, CommitId, Context, EventStorage, Head, Metadata, Operation, Outcome, SaveApi, Sequence,
    StreamName, Timestamp, Token,
};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

/// Numbers of callers, streams and operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// The seed of the operations that each caller chooses. The interleaving of the callers does not depend on it.
    pub seed: u64,
    /// Tasks that call concurrently.
    pub tasks: u64,
    /// Streams that the tasks share.
    pub streams: u64,
    /// Operations of all tasks together. One operation may take several calls.
    pub operations: u64,
}

/// Runs `load` on `storage`, usually a [`Recorded`](crate::history::Recorded), and returns when all tasks have ended.
///
/// An operation is one of: a put of one or a few events at the sequence that the caller expects to be free, sometimes
/// sent twice; a save by a [`SaveApi`], plain, conditional or in a batch; a call of `latest`; a read of events from
/// some sequence on. A put or save without an answer is sent again until it gets one. Four `SaveApi`s, like those of
/// four processes, serve all tasks.
///
/// # Panics
///
/// If a task panics.
pub async fn hammer<St>(storage: &Arc<St>, load: Load)
where
    St: EventStorage<Key = StreamName, Payload = u64>,
{
    let clock = Arc::new(TickingClock(AtomicI64::new(0)));
    let services: Vec<_> = (0..4).map(|service| save_api(storage, &clock, load.seed ^ service)).collect();
    let mut tasks = JoinSet::new();
    for task in 0..load.tasks {
        let caller = Caller {
            storage: Arc::clone(storage),
            saves: Arc::clone(&services[task as usize % services.len()]),
            clock: Arc::clone(&clock),
            random: StdRng::seed_from_u64(load.seed.wrapping_mul(load.tasks).wrapping_add(task)),
            ids: Randomness::seeded(!load.seed.wrapping_mul(load.tasks).wrapping_add(task)),
            streams: (0..load.streams).map(StreamEnd::of_stream).collect(),
            events: 0,
        };
        let operations = load.operations / load.tasks + u64::from(task < load.operations % load.tasks);
        tasks.spawn(caller.run(operations));
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a caller panicked");
    }
}

/// Number of attempts after which a put or save without an answer is given up.
const MAX_ATTEMPTS: u32 = 50;

/// One in this many reads is a read of a whole long stream.
const LONG_READ_INTERVAL: u64 = 400;

fn save_api<St: EventStorage>(
    storage: &Arc<St>,
    clock: &Arc<TickingClock>,
    seed: u64,
) -> Arc<SaveApi<Arc<St>>> {
    let randomness = Arc::new(Randomness::seeded(seed));
    Arc::new(SaveApi::with(Arc::clone(storage), SaveSettings::default(), Arc::clone(clock) as _, randomness))
}

/// A clock that advances by a microsecond with each reading. `sleep` only yields to other tasks.
struct TickingClock(AtomicI64);

impl Clock for TickingClock {
    fn now(&self) -> Timestamp {
        let tick = self.0.fetch_add(1, Ordering::Relaxed);
        Timestamp::from_microsecond(1_800_000_000_000_000 + tick).expect("a run ends before time does")
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::task::yield_now())
    }
}

struct Caller<St: EventStorage> {
    storage: Arc<St>,
    saves: Arc<SaveApi<Arc<St>>>,
    clock: Arc<TickingClock>,
    random: StdRng,
    ids: Randomness,
    streams: Vec<StreamEnd<St::Sequence>>,
    events: u64,
}

/// A stream, and the end that the caller saw last: its sequence, and the id of the commit there, if it is known.
struct StreamEnd<S> {
    key: StreamName,
    end: Option<(S, Option<CommitId>)>,
}

impl<S> StreamEnd<S> {
    fn of_stream(stream: u64) -> Self {
        let key = StreamName::new("raced", &stream.to_string()).expect("a number names a stream");
        Self { key, end: None }
    }
}

fn end_of<S>(head: Head<S>) -> Option<(S, Option<CommitId>)> {
    Some((head.sequence, head.commit_id))
}

impl<St: EventStorage<Key = StreamName, Payload = u64>> Caller<St> {
    async fn run(mut self, operations: u64) {
        for _ in 0..operations {
            let stream = self.random.random_range(0..self.streams.len());
            match self.random.random_range(0..100) {
                0..35 => self.put(stream).await,
                35..60 => self.save(stream).await,
                60..80 => self.read_latest(stream).await,
                _ => self.read(stream).await,
            }
            tokio::task::yield_now().await;
        }
    }

    /// Puts at the expected end of the stream, usually after a call of `latest`, so that about half of the puts are
    /// stored.
    async fn put(&mut self, stream: usize) {
        if self.random.random_bool(0.7) {
            self.read_latest(stream).await;
            tokio::task::yield_now().await;
        }
        let Some(commit) = self.commit(stream) else { return };
        let send_twice = self.random.random_bool(0.1);
        for attempt in 0..MAX_ATTEMPTS {
            match self.storage.put(Arc::clone(&commit)).await {
                Ok(Put::Stored) if send_twice && attempt == 0 => {}
                Ok(Put::Stored | Put::Repeated { .. }) => {
                    self.streams[stream].end = end_of(commit.head());
                    return;
                }
                Ok(Put::Conflict(conflict)) => {
                    let existing = conflict.existing.map(|existing| existing.head());
                    let end = conflict.head.or(existing).and_then(end_of);
                    self.streams[stream].end = end.or(self.streams[stream].end);
                    return;
                }
                Err(_) => {}
            }
            tokio::task::yield_now().await;
        }
    }

    async fn save(&mut self, stream: usize) {
        if self.random.random_bool(0.5) {
            self.read_latest(stream).await;
        }
        let key = self.streams[stream].key.clone();
        let end = self.streams[stream].end.map(|(sequence, _)| sequence);
        let mut event = || {
            self.events += 1;
            Operation::<u64, PreconditionFailed, _>::insert(self.events)
        };
        let operations = match self.random.random_range(0..10) {
            0..5 => vec![event()],
            5..7 => vec![event(), event(), event()],
            _ => vec![Operation::if_seq(end, self.events)],
        };
        let known = end.and_then(|end| Token::claimed(&key, end).ok()).unwrap_or_default();
        let mut context = Context { token: known.vouched(), ..Context::default() };
        let mut send_twice = self.random.random_bool(0.1);
        for _ in 0..MAX_ATTEMPTS {
            match self.saves.save_all(&key, &context, &operations).await {
                Ok(Outcome::Saved(saved)) => {
                    self.streams[stream].end = Some((saved.sequence, Some(saved.commit_id)));
                    context.commit_id = Some(saved.commit_id);
                    if !std::mem::take(&mut send_twice) {
                        return;
                    }
                }
                Ok(Outcome::Unchanged(_) | Outcome::Rejected { .. } | Outcome::Contended { .. }) => return,
                Err(error) => context.commit_id = Some(error.commit_id),
            }
            tokio::task::yield_now().await;
        }
    }

    async fn read_latest(&mut self, stream: usize) {
        let stream = &mut self.streams[stream];
        if let Ok(head) = self.storage.latest(&stream.key).await {
            stream.end = head.and_then(end_of);
        }
    }

    /// Reads from near the end, from beyond it, or the whole stream, and sometimes stops early.
    async fn read(&mut self, stream: usize) {
        let StreamEnd { key, end } = &self.streams[stream];
        let end = end.map_or(0, |(sequence, _)| sequence.number());
        let from = match self.random.random_range(0..LONG_READ_INTERVAL) {
            0 => None,
            1..40 if end < LONG_READ_INTERVAL => None,
            _ => {
                let number = (end + 3).saturating_sub(self.random.random_range(0..20));
                St::Sequence::from_parts(number.max(1), Zone::default())
            }
        };
        let pages_to_read = if self.random.random_bool(0.1) { 1 } else { usize::MAX };
        let mut pages = self.storage.events(key, from);
        for _ in 0..pages_to_read {
            let Ok(Some(_)) = pages.try_next().await else { return };
        }
    }

    fn commit(&mut self, stream: usize) -> Option<Arc<CommitOf<St>>> {
        let StreamEnd { key, end } = &self.streams[stream];
        let first = St::Sequence::following(end.map(|(sequence, _)| sequence), Zone::default())?;
        let previous = end.and_then(|(_, commit_id)| commit_id);
        let length = if self.random.random_bool(0.7) { 1 } else { self.random.random_range(2..5) };
        let time = self.clock.now();
        let metadata = Metadata::new(self.ids.commit_id(time));
        let events = (self.events + 1..=self.events + length).collect();
        self.events += length;
        let payloads = Vec1::try_from_vec(events).ok()?;
        Some(Arc::new(Commit {
            key: key.clone(),
            first,
            previous,
            time,
            metadata,
            payloads: payloads.into(),
        }))
    }
}
