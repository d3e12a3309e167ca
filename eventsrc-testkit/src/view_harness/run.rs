//! One run: processes that keep a view up to date under a schedule.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::clock::{Randomness, SystemClock};
use eventsrc_core::retry::BackoffSettings;
use eventsrc_core::storage::Put;
use eventsrc_core::synchronizer::{AtLeastError, CircuitBreaker, Environment, SynchronizerSettings};
use eventsrc_core::view::ViewStore;
use eventsrc_core::{ErrorKind, EventStorage, MemoryStorage, StorageError, StreamName, Synchronizer, Token};
use futures::future::{Either, join_all, select};

use super::checked::Checked;
use super::commits::{CommitOf, followed, named};
use super::crashing::Crashing;
use super::finding::Finding;
use super::harness::ViewHarness;
use super::schedule::{Disturbance, Schedule};
use super::script::Script;
use crate::faulty::{FaultSource, FaultyFeed, FaultyView, FeedFaultSource};

type Storage<V> =
    Arc<MemoryStorage<<V as ViewStore>::Key, <V as ViewStore>::Sequence, <V as ViewStore>::Payload>>;

/// The view store of one process: a separate handle on a database that injects faults.
type ProcessView<V> = Arc<Crashing<FaultyView<Arc<V>>>>;

/// The state that the processes of a run share.
struct Run<'s, V: ViewStore> {
    schedule: &'s Schedule,
    storage: Storage<V>,
    commits: Vec<CommitOf<V>>,
    /// A token of all stored commits.
    token: Token,
    database: Arc<FaultSource>,
    feed: Arc<FeedFaultSource>,
}

impl<V: ViewStore, R: PartialEq + Debug> ViewHarness<'_, V, R> {
    /// Keeps a new view up to date under the schedule, and returns its final rows.
    pub(super) async fn run(
        &self,
        schedule: &Schedule,
        commits: &[CommitOf<V>],
        checked: &mut Checked,
    ) -> Result<R, Finding> {
        let view = Arc::new((self.fresh)().await);
        let run = Run::new(schedule, &*view, commits).await;
        let mut handles = vec![Arc::clone(&view)];
        for _ in 1..schedule.processes {
            handles.push(self.reopened(&view).await);
        }
        let processes = handles.into_iter().enumerate();
        let processes = processes.map(|(process, handle)| self.process(process, &view, handle, &run));
        for crashes in join_all(processes).await {
            checked.crashes += crashes?;
        }
        let (feed, database) = (run.feed.injected(), run.database.injected());
        checked.racing += if schedule.processes > 1 { schedule.processes } else { 0 };
        checked.repeated += feed.repeated;
        checked.reordered += feed.reordered;
        checked.lost += feed.dropped + feed.unheard;
        checked.failed += database.failed_before + database.replies_lost;
        run.ensure_applied(&*view).await?;
        Ok((self.rows)(view).await)
    }

    /// Returns the handle that the next process opens.
    async fn reopened(&self, view: &Arc<V>) -> Arc<V> {
        match &self.reopen {
            Some(reopen) => Arc::new(reopen(Arc::clone(view)).await),
            None => Arc::clone(view),
        }
    }

    /// Keeps the view up to date until all commits are applied, first with `handle`, through any number of crashes.
    /// Returns the number of crashes.
    async fn process(
        &self,
        process: usize,
        view: &Arc<V>,
        mut handle: Arc<V>,
        run: &Run<'_, V>,
    ) -> Result<usize, Finding> {
        let script = Script::new(&run.delivery_order(process), run.schedule.changes_per_delivery);
        for crashes in 0.. {
            let database = FaultyView::with(handle, Arc::clone(&run.database));
            let store = Arc::new(Crashing::new(database, run.schedule.crash(process, crashes)));
            let synchronizer = run.start(Arc::clone(&store), process + crashes);
            let feed = FaultyFeed::with(script.feed(), Arc::clone(&run.feed));
            let work = Box::pin(async {
                // `follow` ends early only if the process has crashed.
                let _ = synchronizer.follow(feed).await;
                run.catch_up(&synchronizer).await
            });
            let ended = match select(work, Box::pin(store.crashed())).await {
                Either::Left((ended, _)) => Some(ended),
                Either::Right(..) => None,
            };
            synchronizer.stop().await;
            if let Some(ended) = ended {
                ended.map_err(|source| Finding::Failed { doing: "catching up", source })?;
                return Ok(crashes);
            }
            handle = self.reopened(view).await;
        }
        unreachable!("a process without further crashes ends")
    }
}

impl<'s, V: ViewStore> Run<'s, V> {
    async fn new(schedule: &'s Schedule, view: &V, commits: &[CommitOf<V>]) -> Self {
        let storage = Storage::<V>::default();
        for commit in commits {
            let put = storage.put(Arc::clone(commit)).await;
            assert!(matches!(put, Ok(Put::Stored)), "the commits form complete streams: {put:?}");
        }
        let commits: Vec<_> = followed(view, commits).cloned().collect();
        let mut token = Token::default();
        for commit in &commits {
            token = token.join(&Token::claimed(&commit.key, commit.last()).expect("a key names a stream"));
        }
        let clock = || Arc::new(SystemClock);
        Self {
            schedule,
            storage,
            commits,
            token,
            database: Arc::new(FaultSource::new(schedule.database.clone(), clock())),
            feed: Arc::new(FeedFaultSource::new(schedule.feed.clone(), clock())),
        }
    }

    /// Returns the commits in the order in which this process receives them.
    fn delivery_order(&self, process: usize) -> Vec<CommitOf<V>> {
        let streams: Vec<_> = self.commits.iter().map(|commit| named(commit)).collect();
        let order = self.schedule.order(process, &streams);
        order.into_iter().map(|index| Arc::clone(&self.commits[index])).collect()
    }

    fn start(&self, view: ProcessView<V>, which: usize) -> Synchronizer<ProcessView<V>> {
        let settings = SynchronizerSettings {
            workers: self.schedule.workers,
            events_per_batch: self.schedule.events_per_batch,
            // The harness itself sweeps in schedules that lose changes.
            sweep_every: None,
            retry: BackoffSettings {
                first_wait: Duration::from_millis(1),
                longest_wait: Duration::from_millis(2),
            },
            // A stream that goes into quarantine is a finding, which a restart must not hide.
            retry_quarantined_at_start: false,
            breaker: CircuitBreaker { share: 2.0, ..CircuitBreaker::default() },
            ..SynchronizerSettings::default()
        };
        let randomness = Arc::new(Randomness::seeded(self.schedule.seed.wrapping_add(which as u64)));
        let mut environment = Environment::default();
        environment.randomness = randomness;
        Synchronizer::start_with(Arc::clone(&self.storage), view, settings, environment)
    }

    /// Waits until all commits are applied: by a sweep if changes were lost, otherwise by token.
    async fn catch_up(&self, synchronizer: &Synchronizer<ProcessView<V>>) -> Result<(), StorageError> {
        if matches!(self.schedule.disturbance, Disturbance::Holes | Disturbance::Everything) {
            while let Err(error) = synchronizer.sweep().await {
                retryable(error)?;
                // Calls of a crashed process fail at once. Yield, so that the task that ends the process can run.
                tokio::task::yield_now().await;
            }
            return Ok(());
        }
        // The time limit of the run ends this loop.
        while let Err(error) = synchronizer.catch_up(&self.token, WAIT_LIMIT).await {
            match error {
                AtLeastError::Storage(error) => retryable(error)?,
                // `ensure_applied` reports the stream in quarantine by name.
                _ if self.is_stopped_by_quarantine(synchronizer).await => return Ok(()),
                _ => {}
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn is_stopped_by_quarantine(&self, synchronizer: &Synchronizer<ProcessView<V>>) -> bool {
        synchronizer.view().quarantined().await.is_ok_and(|quarantined| !quarantined.is_empty())
    }

    /// Checks that the view has all commits.
    async fn ensure_applied(&self, view: &V) -> Result<(), Finding> {
        let failed = |source| Finding::Failed { doing: "reading positions", source };
        let schedule = self.schedule.clone();
        if let Some(poison) = view.quarantined().await.map_err(failed)?.into_iter().next() {
            return Err(Finding::Quarantined { schedule, stream: poison.stream, error: poison.error });
        }
        let heads: BTreeMap<StreamName, V::Sequence> =
            self.commits.iter().map(|commit| (named(commit), commit.last())).collect();
        let streams: Vec<StreamName> = heads.keys().cloned().collect();
        let places = view.positions_of(&streams).await.map_err(failed)?;
        for ((stream, head), place) in heads.into_iter().zip(places) {
            if place.position != Some(head) {
                let positions = (place.position.map(|position| position.to_string()), head.to_string());
                return Err(Finding::Behind { schedule, stream, positions });
            }
        }
        Ok(())
    }
}

/// Limit of one wait. After it, the run checks whether a quarantine makes the wait pointless.
const WAIT_LIMIT: Duration = Duration::from_secs(1);

fn retryable(error: StorageError) -> Result<(), StorageError> {
    if error.kind() == ErrorKind::Unavailable { Ok(()) } else { Err(error) }
}
