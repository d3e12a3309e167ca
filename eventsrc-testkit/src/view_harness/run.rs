//! One run: processes that keep a view under a schedule.

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

use super::crashing::Crashing;
use super::schedule::{Disturbance, Schedule};
use super::script::Script;
use super::{Checked, CommitOf, Finding, ViewHarness, followed, named};
use crate::faulty::{FaultSource, FaultyFeed, FaultyView, FeedFaultSource};

type Storage<V> =
    Arc<MemoryStorage<<V as ViewStore>::Key, <V as ViewStore>::Sequence, <V as ViewStore>::Payload>>;

/// What the view is kept with by one process: a handle of its own, on a database that fails now and then.
type Kept<V> = Arc<Crashing<FaultyView<Arc<V>>>>;

/// What the processes of a run share.
struct Around<'s, V: ViewStore> {
    schedule: &'s Schedule,
    storage: Storage<V>,
    commits: Vec<CommitOf<V>>,
    /// All that is stored.
    token: Token,
    database: Arc<FaultSource>,
    feed: Arc<FeedFaultSource>,
}

impl<V: ViewStore, R: PartialEq + Debug> ViewHarness<'_, V, R> {
    /// Keeps a new view as the schedule says, and gives its rows in the end.
    pub(super) async fn run(
        &self,
        schedule: &Schedule,
        commits: &[CommitOf<V>],
        checked: &mut Checked,
    ) -> Result<R, Finding> {
        let view = Arc::new((self.fresh)().await);
        let around = Around::new(schedule, &*view, commits).await;
        let mut handles = vec![Arc::clone(&view)];
        for _ in 1..schedule.processes {
            handles.push(self.reopened(&view).await);
        }
        let processes = handles.into_iter().enumerate();
        let processes = processes.map(|(process, handle)| self.process(process, &view, handle, &around));
        for crashes in join_all(processes).await {
            checked.crashes += crashes?;
        }
        let (feed, database) = (around.feed.injected(), around.database.injected());
        checked.racing += if schedule.processes > 1 { schedule.processes } else { 0 };
        checked.repeated += feed.repeated;
        checked.reordered += feed.reordered;
        checked.lost += feed.dropped + feed.unheard;
        checked.failed += database.failed_before + database.replies_lost;
        around.is_applied_to(&*view).await?;
        Ok((self.rows)(view).await)
    }

    /// The view as the next process opens it.
    async fn reopened(&self, view: &Arc<V>) -> Arc<V> {
        match &self.reopen {
            Some(reopen) => Arc::new(reopen(Arc::clone(view)).await),
            None => Arc::clone(view),
        }
    }

    /// Keeps the view until all is applied, first with `handle`, through any number of crashes; gives their number.
    async fn process(
        &self,
        process: usize,
        view: &Arc<V>,
        mut handle: Arc<V>,
        around: &Around<'_, V>,
    ) -> Result<usize, Finding> {
        let script = Script::new(&around.told(process), around.schedule.changes_per_delivery);
        for crashes in 0.. {
            let database = FaultyView::with(handle, Arc::clone(&around.database));
            let kept = Arc::new(Crashing::new(database, around.schedule.crash(process, crashes)));
            let synchronizer = around.start(Arc::clone(&kept), process + crashes);
            let feed = FaultyFeed::with(script.feed(), Arc::clone(&around.feed));
            let works = Box::pin(async {
                // It ends early only if the process has crashed.
                let _ = synchronizer.follow(feed).await;
                around.catches_up(&synchronizer).await
            });
            let ended = match select(works, Box::pin(kept.crashed())).await {
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
        unreachable!("a process that does not crash any more ends")
    }
}

impl<'s, V: ViewStore> Around<'s, V> {
    async fn new(schedule: &'s Schedule, view: &V, commits: &[CommitOf<V>]) -> Self {
        let storage = Storage::<V>::default();
        for commit in commits {
            let put = storage.put(Arc::clone(commit)).await;
            assert!(matches!(put, Ok(Put::Stored)), "the commits make whole streams: {put:?}");
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

    /// The commits in the order in which this process is told of them.
    fn told(&self, process: usize) -> Vec<CommitOf<V>> {
        let streams: Vec<_> = self.commits.iter().map(|commit| named(commit)).collect();
        let order = self.schedule.order(process, &streams);
        order.into_iter().map(|index| Arc::clone(&self.commits[index])).collect()
    }

    fn start(&self, view: Kept<V>, which: usize) -> Synchronizer<Kept<V>> {
        let settings = SynchronizerSettings {
            workers: self.schedule.workers,
            events_per_batch: self.schedule.events_per_batch,
            // The harness sweeps where it is about that.
            sweep_every: None,
            retry: BackoffSettings {
                first_wait: Duration::from_millis(1),
                longest_wait: Duration::from_millis(2),
            },
            breaker: CircuitBreaker { share: 2.0, ..CircuitBreaker::default() },
            ..SynchronizerSettings::default()
        };
        let randomness = Arc::new(Randomness::seeded(self.schedule.seed.wrapping_add(which as u64)));
        let mut environment = Environment::default();
        environment.randomness = randomness;
        Synchronizer::start_with(Arc::clone(&self.storage), view, settings, environment)
    }

    /// Waits until all is applied: by a sweep where changes were lost, which nothing else would tell of, and by token.
    async fn catches_up(&self, synchronizer: &Synchronizer<Kept<V>>) -> Result<(), StorageError> {
        if matches!(self.schedule.disturbance, Disturbance::Holes | Disturbance::Everything) {
            while let Err(error) = synchronizer.sweep().await {
                may_be_tried_again(error)?;
                // A process that has crashed is told so at once, and has to let whoever ends it come to its turn.
                tokio::task::yield_now().await;
            }
            return Ok(());
        }
        // The limit of the whole run is what ends a wait.
        while let Err(error) = synchronizer.catch_up(&self.token, A_TURN).await {
            match error {
                AtLeastError::Storage(error) => may_be_tried_again(error)?,
                // A stream in quarantine is told of by name later.
                _ if self.is_stopped_by_quarantine(synchronizer).await => return Ok(()),
                _ => {}
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn is_stopped_by_quarantine(&self, synchronizer: &Synchronizer<Kept<V>>) -> bool {
        synchronizer.view().quarantined().await.is_ok_and(|quarantined| !quarantined.is_empty())
    }

    /// Finds out whether the view has everything.
    async fn is_applied_to(&self, view: &V) -> Result<(), Finding> {
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

/// How long a wait is before it is looked whether waiting is any use.
const A_TURN: Duration = Duration::from_secs(1);

fn may_be_tried_again(error: StorageError) -> Result<(), StorageError> {
    if error.kind() == ErrorKind::Unavailable { Ok(()) } else { Err(error) }
}
