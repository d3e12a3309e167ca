//! What all workers of a synchronizer share.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use quick_cache::sync::Cache;
use tokio::sync::watch;

use super::settings::{Environment, SynchronizerSettings};
use super::source::Source;
use super::status::{StalledStream, SynchronizerState, SynchronizerStatus};
use crate::storage::StorageError;
use crate::stream::StreamName;
use crate::view::{BatchOf, QuarantinedCommit, ViewStore};

pub(super) struct Shared<V: ViewStore> {
    pub(super) source: Arc<dyn Source<V::Key, V::Sequence, V::Payload>>,
    pub(super) view: V,
    pub(super) settings: SynchronizerSettings,
    pub(super) environment: Environment<V>,
    /// Where the view had the streams that moved lately; by now it may be further, by another process.
    positions: Cache<StreamName, Option<V::Sequence>>,
    /// What each worker says of itself.
    pub(super) reports: Vec<Report<V::Sequence>>,
    stopping: watch::Sender<bool>,
    broken: OnceLock<SynchronizerState>,
    /// How streams lately fared; see [`Shared::fared`].
    moved: AtomicUsize,
    quarantined: AtomicUsize,
    events: AtomicU64,
    batches: AtomicU64,
    repeated: AtomicU64,
    meters: Meters,
}

/// Of how many streams the breaker remembers how they fared.
const LATELY: usize = 1000;

impl<V: ViewStore> Shared<V> {
    pub(super) fn new(
        source: Arc<dyn Source<V::Key, V::Sequence, V::Payload>>,
        view: V,
        settings: SynchronizerSettings,
        environment: Environment<V>,
    ) -> Self {
        let meters = Meters::new(&view);
        Self {
            source,
            view,
            positions: Cache::new(settings.remembered_positions.max(1)),
            reports: (0..settings.workers.max(1)).map(|_| Report::default()).collect(),
            settings,
            environment,
            stopping: watch::Sender::new(false),
            broken: OnceLock::new(),
            moved: AtomicUsize::new(0),
            quarantined: AtomicUsize::new(0),
            events: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            meters,
        }
    }

    pub(super) fn follows(&self, stream: &StreamName) -> bool {
        self.view.definition().follows(stream.category())
    }

    /// Where the view has a stream, or had it a while ago, if that is remembered.
    pub(super) fn remembered(&self, stream: &StreamName) -> Option<Option<V::Sequence>> {
        self.positions.get(stream)
    }

    pub(super) fn remember(&self, stream: &StreamName, position: Option<V::Sequence>) {
        self.positions.insert(stream.clone(), position);
    }

    pub(super) fn forget(&self, stream: &StreamName) {
        self.positions.remove(stream);
    }

    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(super) fn is_stopped(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Waits until the synchronizer is to stop.
    pub(super) async fn stopped(&self) {
        // The sender is `self`.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.get().is_some()
    }

    pub(super) fn state(&self) -> SynchronizerState {
        match self.broken.get() {
            Some(broken) => broken.clone(),
            None if self.is_stopped() => SynchronizerState::Stopped,
            None => SynchronizerState::Running,
        }
    }

    pub(super) fn applied(&self, batch: &BatchOf<V>, took: Duration) {
        let events = batch.event_count() as u64;
        tracing::debug!(view = %self.view.definition(), events, streams = batch.position_changes().len(), ?took, "applied");
        self.events.fetch_add(events, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.meters.applied(events, took);
        self.fared(&self.moved, batch.position_changes().len());
    }

    pub(super) fn repeated(&self, commits: usize) {
        if commits > 0 {
            self.repeated.fetch_add(commits as u64, Ordering::Relaxed);
            self.meters.repeated.increment(commits as u64);
        }
    }

    /// Puts a stream in quarantine, and stops everything if too many are.
    pub(super) async fn quarantine(
        &self,
        stream: &StreamName,
        position: Option<V::Sequence>,
        sequence: V::Sequence,
        error: String,
    ) -> Result<(), StorageError> {
        let time = self.environment.clock.now();
        tracing::error!(view = %self.view.definition(), %stream, %sequence, error, "quarantined a stream");
        let poison = QuarantinedCommit { stream: stream.clone(), position, sequence, error, time };
        self.view.quarantine(&poison).await?;
        self.meters.quarantines.increment(1);
        self.fared(&self.quarantined, 1);
        self.check_breaker();
        Ok(())
    }

    /// Notes how streams fared. Old streams count less and less.
    fn fared(&self, how: &AtomicUsize, streams: usize) {
        how.fetch_add(streams, Ordering::Relaxed);
        let (moved, quarantined) = self.lately();
        if moved + quarantined > LATELY {
            self.moved.store(moved / 2, Ordering::Relaxed);
            self.quarantined.store(quarantined / 2, Ordering::Relaxed);
        }
    }

    fn lately(&self) -> (usize, usize) {
        (self.moved.load(Ordering::Relaxed), self.quarantined.load(Ordering::Relaxed))
    }

    fn check_breaker(&self) {
        let (moved, quarantined) = self.lately();
        let met = moved + quarantined;
        let breaker = self.settings.breaker;
        if quarantined >= breaker.streams.max(1) && quarantined as f64 > breaker.share * met as f64 {
            let broken = SynchronizerState::Broken { quarantined, met };
            if self.broken.set(broken).is_ok() {
                tracing::error!(view = %self.view.definition(), quarantined, met, "stopped a view that cannot apply its events");
            }
            self.stop();
        }
    }
}

impl<V: ViewStore> Shared<V> {
    /// Reads what is in quarantine, and adds what the workers report.
    pub(super) async fn status(&self) -> Result<SynchronizerStatus<V::Sequence>, StorageError> {
        let quarantined = self.view.quarantined().await?;
        let mut status = SynchronizerStatus {
            view: self.view.definition().clone(),
            state: self.state(),
            applied_events: self.events.load(Ordering::Relaxed),
            applied_batches: self.batches.load(Ordering::Relaxed),
            repeated_commits: self.repeated.load(Ordering::Relaxed),
            lag_events: 0,
            lag: Duration::ZERO,
            stalled: Vec::new(),
            quarantined,
            last_errors: Vec::new(),
        };
        let now = self.environment.clock.now();
        for report in &self.reports {
            report.add_to(&mut status, now);
        }
        self.meters.show(&status);
        Ok(status)
    }
}

/// What a worker says of itself, after each turn.
#[derive(Debug)]
pub(super) struct Report<S>(Mutex<Said<S>>);

#[derive(Debug)]
struct Said<S> {
    events: u64,
    oldest: Option<Timestamp>,
    stalled: Vec<StalledStream<S>>,
    last_error: Option<Arc<StorageError>>,
}

impl<S> Default for Report<S> {
    fn default() -> Self {
        Self(Mutex::new(Said { events: 0, oldest: None, stalled: Vec::new(), last_error: None }))
    }
}

impl<S: Clone> Report<S> {
    /// What is behind, and since when; the last error is dropped if the worker is `well`.
    pub(super) fn set(
        &self,
        events: u64,
        oldest: Option<Timestamp>,
        stalled: Vec<StalledStream<S>>,
        well: bool,
    ) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last_error = said.last_error.take().filter(|_| !well);
        *said = Said { events, oldest, stalled, last_error };
    }

    pub(super) fn set_last_error(&self, error: Arc<StorageError>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last_error = Some(error);
    }

    fn add_to(&self, status: &mut SynchronizerStatus<S>, now: Timestamp) {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        status.lag_events += said.events;
        if let Some(oldest) = said.oldest {
            status.lag = status.lag.max(Duration::try_from(now.duration_since(oldest)).unwrap_or_default());
        }
        status.stalled.extend(said.stalled.iter().cloned());
        status.last_errors.extend(said.last_error.clone());
    }
}

/// The metrics of a view, by the `metrics` facade.
struct Meters {
    events: metrics::Counter,
    batches: metrics::Counter,
    seconds: metrics::Histogram,
    repeated: metrics::Counter,
    quarantines: metrics::Counter,
    lag_events: metrics::Gauge,
    lag_seconds: metrics::Gauge,
    quarantined: metrics::Gauge,
}

impl Meters {
    fn new<V: ViewStore>(view: &V) -> Self {
        let definition = view.definition();
        let labels = || {
            [
                metrics::Label::new("view", definition.name().to_owned()),
                metrics::Label::new("version", definition.version().to_string()),
            ]
            .to_vec()
        };
        Self {
            events: metrics::counter!("eventsrc_view_events_total", labels()),
            batches: metrics::counter!("eventsrc_view_batches_total", labels()),
            seconds: metrics::histogram!("eventsrc_view_batch_seconds", labels()),
            repeated: metrics::counter!("eventsrc_view_repeated_commits_total", labels()),
            quarantines: metrics::counter!("eventsrc_view_quarantines_total", labels()),
            lag_events: metrics::gauge!("eventsrc_view_lag_events", labels()),
            lag_seconds: metrics::gauge!("eventsrc_view_lag_seconds", labels()),
            quarantined: metrics::gauge!("eventsrc_view_quarantined_streams", labels()),
        }
    }

    fn applied(&self, events: u64, took: Duration) {
        self.events.increment(events);
        self.batches.increment(1);
        self.seconds.record(took);
    }

    fn show<S>(&self, status: &SynchronizerStatus<S>) {
        self.lag_events.set(status.lag_events as f64);
        self.lag_seconds.set(status.lag.as_secs_f64());
        self.quarantined.set(status.quarantined.len() as f64);
    }
}
