//! Callers that race.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_core::commit::Vec1;
use eventsrc_core::save::{PreconditionFailed, SaveSettings};
use eventsrc_core::storage::{CommitOf, Put};
use eventsrc_core::stream::Zone;
use eventsrc_core::{
    Commit, Context, EventStorage, Metadata, Operation, Outcome, SaveApi, Sequence, StreamName, Timestamp,
    Token,
};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

/// How many callers race over how many streams, and how often they call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// What each caller tries follows from it; how they interleave does not.
    pub seed: u64,
    /// Tasks that call at the same time.
    pub tasks: u64,
    /// Streams that they call on.
    pub streams: u64,
    /// Operations of all tasks together; one may take several calls.
    pub operations: u64,
}

/// Races `load` on `storage`, which is most often [`Recorded`](super::Recorded), and returns when all tasks are done.
///
/// An operation is a put where the caller thinks that the stream ends, of one event or of a few, sent again at times; a
/// save by a [`SaveApi`], plain, conditional or in a batch; a call of `latest`; or a read of events from some place on. A
/// put or save without an answer is sent again until it has one. Four `SaveApi`s, as of four processes, serve all tasks.
///
/// # Panics
///
/// If a task does.
pub async fn hammer<St>(storage: &Arc<St>, load: Load)
where
    St: EventStorage<Key = StreamName, Payload = u64>,
{
    let clock = Arc::new(Ticks(AtomicI64::new(0)));
    let services: Vec<_> = (0..4).map(|service| service_of(storage, &clock, load.seed ^ service)).collect();
    let mut tasks = JoinSet::new();
    for task in 0..load.tasks {
        let caller = Caller {
            storage: Arc::clone(storage),
            saves: Arc::clone(&services[task as usize % services.len()]),
            clock: Arc::clone(&clock),
            random: StdRng::seed_from_u64(load.seed.wrapping_mul(load.tasks).wrapping_add(task)),
            ids: Randomness::seeded(!load.seed.wrapping_mul(load.tasks).wrapping_add(task)),
            streams: (0..load.streams).map(Location::of_stream).collect(),
            events: 0,
        };
        let operations = load.operations / load.tasks + u64::from(task < load.operations % load.tasks);
        tasks.spawn(caller.run(operations));
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a caller panicked");
    }
}

/// Sent so often, a put or save that still has no answer is given up.
const MOST_SENDS: u32 = 50;

/// A read of the whole of a longer stream is made once in so many reads.
const LONG_READS: u64 = 400;

fn service_of<St: EventStorage>(storage: &Arc<St>, clock: &Arc<Ticks>, seed: u64) -> Arc<SaveApi<Arc<St>>> {
    let randomness = Arc::new(Randomness::seeded(seed));
    Arc::new(SaveApi::with(Arc::clone(storage), SaveSettings::default(), Arc::clone(clock) as _, randomness))
}

/// A clock that moves on when it is looked at; to wait on it is to let others go first.
struct Ticks(AtomicI64);

impl Clock for Ticks {
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
    clock: Arc<Ticks>,
    random: StdRng,
    ids: Randomness,
    streams: Vec<Location<St::Sequence>>,
    events: u64,
}

/// A stream, and where the caller last saw its end.
struct Location<S> {
    key: StreamName,
    end: Option<S>,
}

impl<S> Location<S> {
    fn of_stream(stream: u64) -> Self {
        let key = StreamName::new("raced", &stream.to_string()).expect("a number names a stream");
        Self { key, end: None }
    }
}

impl<St: EventStorage<Key = StreamName, Payload = u64>> Caller<St> {
    async fn run(mut self, operations: u64) {
        for _ in 0..operations {
            let stream = self.random.random_range(0..self.streams.len());
            match self.random.random_range(0..100) {
                0..35 => self.put(stream).await,
                35..60 => self.save(stream).await,
                60..80 => self.look(stream).await,
                _ => self.read(stream).await,
            }
            tokio::task::yield_now().await;
        }
    }

    /// Puts where the stream seems to end: most often after a look, so that about as many are stored as are not.
    async fn put(&mut self, stream: usize) {
        if self.random.random_bool(0.7) {
            self.look(stream).await;
            tokio::task::yield_now().await;
        }
        let Some(commit) = self.commit(stream) else { return };
        let again = self.random.random_bool(0.1);
        for sent in 0..MOST_SENDS {
            match self.storage.put(Arc::clone(&commit)).await {
                Ok(Put::Stored) if again && sent == 0 => {}
                Ok(Put::Stored | Put::Repeated { .. }) => {
                    self.streams[stream].end = Some(commit.last());
                    return;
                }
                Ok(Put::Conflict(conflict)) => {
                    let existing = conflict.existing.map(|existing| existing.last());
                    let head = conflict.head.map(|head| head.sequence);
                    self.streams[stream].end = head.or(existing).or(self.streams[stream].end);
                    return;
                }
                Err(_) => {}
            }
            tokio::task::yield_now().await;
        }
    }

    async fn save(&mut self, stream: usize) {
        if self.random.random_bool(0.5) {
            self.look(stream).await;
        }
        let key = self.streams[stream].key.clone();
        let end = self.streams[stream].end;
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
        let mut again = self.random.random_bool(0.1);
        for _ in 0..MOST_SENDS {
            match self.saves.save_all(&key, &context, &operations).await {
                Ok(Outcome::Saved(saved)) => {
                    self.streams[stream].end = Some(saved.sequence);
                    context.commit_id = Some(saved.commit_id);
                    if !std::mem::take(&mut again) {
                        return;
                    }
                }
                Ok(Outcome::Rejected { .. } | Outcome::Contended { .. }) => return,
                Err(error) => context.commit_id = Some(error.commit_id),
            }
            tokio::task::yield_now().await;
        }
    }

    async fn look(&mut self, stream: usize) {
        let place = &mut self.streams[stream];
        if let Ok(head) = self.storage.latest(&place.key).await {
            place.end = head.map(|head| head.sequence);
        }
    }

    /// Reads from near the end, from past it, or all, and gives up early at times.
    async fn read(&mut self, stream: usize) {
        let Location { key, end } = &self.streams[stream];
        let end = end.map_or(0, Sequence::number);
        let from = match self.random.random_range(0..LONG_READS) {
            0 => None,
            1..40 if end < LONG_READS => None,
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
        let Location { key, end } = &self.streams[stream];
        let first = St::Sequence::following(*end, Zone::default())?;
        let length = if self.random.random_bool(0.7) { 1 } else { self.random.random_range(2..5) };
        let time = self.clock.now();
        let metadata = Metadata::new(self.ids.commit_id(time));
        let events = (self.events + 1..=self.events + length).collect();
        self.events += length;
        let payloads = Vec1::try_from_vec(events).ok()?;
        Some(Arc::new(Commit { key: key.clone(), first, time, metadata, payloads }))
    }
}
