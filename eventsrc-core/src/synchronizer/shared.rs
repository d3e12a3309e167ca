//! State shared by the workers of a synchronizer.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
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

/// State shared by the workers, the sweeper and the handle.
pub(super) struct Shared<V: ViewStore> {
    pub(super) source: Arc<dyn Source<V::Key, V::Sequence, V::Payload>>,
    pub(super) view: V,
    pub(super) settings: SynchronizerSettings,
    pub(super) environment: Environment<V>,
    /// Cached positions of recently used streams. They may be stale because of another process.
    positions: Cache<StreamName, Option<V::Sequence>>,
    /// Report of each worker.
    pub(super) reports: Vec<Report<V::Sequence>>,
    stopping: watch::Sender<bool>,
    broken: OnceLock<SynchronizerState>,
    /// Recent outcomes of streams; see [`Shared::record_outcome`].
    recently_advanced: AtomicUsize,
    recently_quarantined: AtomicUsize,
    /// Streams that were released from quarantine and not tried since. If they fail again, it says nothing new about the
    /// view's code, and the circuit breaker does not count them.
    retried: Mutex<HashSet<StreamName>>,
    /// Streams that went into quarantine before the retry at the start read which streams are in quarantine.
    just_quarantined: Mutex<Option<HashSet<StreamName>>>,
    events: AtomicU64,
    batches: AtomicU64,
    repeated: AtomicU64,
    metrics: ViewMetrics,
}

/// Number of outcomes beyond which the circuit breaker halves the older ones.
const RECENT_OUTCOMES: usize = 1000;

impl<V: ViewStore> Shared<V> {
    pub(super) fn new(
        source: Arc<dyn Source<V::Key, V::Sequence, V::Payload>>,
        view: V,
        settings: SynchronizerSettings,
        environment: Environment<V>,
    ) -> Self {
        let metrics = ViewMetrics::new(&view);
        Self {
            source,
            view,
            positions: Cache::new(settings.remembered_positions.max(1)),
            reports: (0..settings.workers.max(1)).map(|_| Report::default()).collect(),
            settings,
            environment,
            stopping: watch::Sender::new(false),
            broken: OnceLock::new(),
            recently_advanced: AtomicUsize::new(0),
            recently_quarantined: AtomicUsize::new(0),
            retried: Mutex::default(),
            just_quarantined: Mutex::new(Some(HashSet::new())),
            events: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            metrics,
        }
    }

    pub(super) fn follows(&self, stream: &StreamName) -> bool {
        self.view.definition().follows(stream.category())
    }

    /// Returns the cached position of a stream, if there is one. It may be stale.
    pub(super) fn cached_position(&self, stream: &StreamName) -> Option<Option<V::Sequence>> {
        self.positions.get(stream)
    }

    pub(super) fn cache_position(&self, stream: &StreamName, position: Option<V::Sequence>) {
        self.positions.insert(stream.clone(), position);
    }

    pub(super) fn forget_position(&self, stream: &StreamName) {
        self.positions.remove(stream);
    }

    /// Records that a stream is released from quarantine and tried again.
    pub(super) fn mark_retried(&self, stream: &StreamName) {
        self.retried_streams().insert(stream.clone());
    }

    pub(super) fn unmark_retried(&self, stream: &StreamName) {
        self.retried_streams().remove(stream);
    }

    /// True if a stream was released from quarantine, and this synchronizer has not tried it since.
    pub(super) fn is_retried(&self, stream: &StreamName) -> bool {
        self.retried_streams().contains(stream)
    }

    /// Returns the streams that this synchronizer has put in quarantine since its start, and forgets them.
    pub(super) fn take_just_quarantined(&self) -> HashSet<StreamName> {
        self.just_quarantined().take().unwrap_or_default()
    }

    fn just_quarantined(&self) -> MutexGuard<'_, Option<HashSet<StreamName>>> {
        self.just_quarantined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retried_streams(&self) -> MutexGuard<'_, HashSet<StreamName>> {
        self.retried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(super) fn is_stopped(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Waits until the synchronizer is stopped.
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

    pub(super) fn record_applied(&self, batch: &BatchOf<V>, took: Duration) {
        let events = batch.event_count() as u64;
        let streams = batch.position_changes().len();
        tracing::debug!(view = %self.view.definition(), events, streams, ?took, "applied a batch");
        self.events.fetch_add(events, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.metrics.record_batch(events, took);
        self.record_outcome(&self.recently_advanced, streams);
        let mut retried = self.retried_streams();
        if !retried.is_empty() {
            for change in batch.position_changes() {
                retried.remove(&change.stream);
            }
        }
    }

    pub(super) fn record_repeated(&self, commits: usize) {
        if commits > 0 {
            self.repeated.fetch_add(commits as u64, Ordering::Relaxed);
            self.metrics.repeated.increment(commits as u64);
        }
    }

    /// Puts a stream in quarantine, and stops the synchronizer if the circuit breaker trips. A stream that was in quarantine
    /// before does not count.
    pub(super) async fn quarantine(
        &self,
        stream: &StreamName,
        position: Option<V::Sequence>,
        sequence: V::Sequence,
        error: String,
    ) -> Result<(), StorageError> {
        let time = self.environment.clock.now();
        tracing::error!(
            view = %self.view.definition(), %stream, %sequence, error,
            "the view cannot apply a commit; putting its stream in quarantine"
        );
        if let Some(just_quarantined) = self.just_quarantined().as_mut() {
            just_quarantined.insert(stream.clone());
        }
        let entry = QuarantinedCommit { stream: stream.clone(), position, sequence, error, time };
        self.view.quarantine(&entry).await?;
        self.metrics.quarantines.increment(1);
        if !self.retried_streams().remove(stream) {
            self.record_outcome(&self.recently_quarantined, 1);
            self.check_breaker();
        }
        Ok(())
    }

    /// Adds outcomes of streams to a counter. Halves both counters when they are large, so that old outcomes count
    /// less.
    fn record_outcome(&self, counter: &AtomicUsize, streams: usize) {
        counter.fetch_add(streams, Ordering::Relaxed);
        let (advanced, quarantined) = self.recent_outcomes();
        if advanced + quarantined > RECENT_OUTCOMES {
            self.recently_advanced.store(advanced / 2, Ordering::Relaxed);
            self.recently_quarantined.store(quarantined / 2, Ordering::Relaxed);
        }
    }

    /// Returns the recent numbers of streams that advanced and of streams that went into quarantine.
    fn recent_outcomes(&self) -> (usize, usize) {
        (self.recently_advanced.load(Ordering::Relaxed), self.recently_quarantined.load(Ordering::Relaxed))
    }

    /// Stops the synchronizer if too many streams went into quarantine recently.
    fn check_breaker(&self) {
        let (advanced, quarantined) = self.recent_outcomes();
        let met = advanced + quarantined;
        let breaker = self.settings.breaker;
        if quarantined >= breaker.streams.max(1) && quarantined as f64 > breaker.share * met as f64 {
            let broken = SynchronizerState::Broken { quarantined, met };
            if self.broken.set(broken).is_ok() {
                tracing::error!(
                    view = %self.view.definition(), quarantined, met,
                    "the circuit breaker stopped the view: too many streams are in quarantine; check its code"
                );
            }
            self.stop();
        }
    }
}

impl<V: ViewStore> Shared<V> {
    /// Reads the quarantines, and adds the reports of the workers.
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
        self.metrics.publish(&status);
        Ok(status)
    }
}

/// Latest report of a worker, which it updates after each round.
#[derive(Debug)]
pub(super) struct Report<S>(Mutex<Reported<S>>);

#[derive(Debug)]
struct Reported<S> {
    lag_events: u64,
    oldest: Option<Timestamp>,
    stalled: Vec<StalledStream<S>>,
    last_error: Option<Arc<StorageError>>,
}

impl<S> Default for Report<S> {
    fn default() -> Self {
        Self(Mutex::new(Reported { lag_events: 0, oldest: None, stalled: Vec::new(), last_error: None }))
    }
}

impl<S: Clone> Report<S> {
    /// Sets the lag and the stalled streams. Clears the last error unless the worker is backing off.
    pub(super) fn set(
        &self,
        lag_events: u64,
        oldest: Option<Timestamp>,
        stalled: Vec<StalledStream<S>>,
        is_backing_off: bool,
    ) {
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last_error = reported.last_error.take().filter(|_| is_backing_off);
        *reported = Reported { lag_events, oldest, stalled, last_error };
    }

    pub(super) fn set_last_error(&self, error: Arc<StorageError>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last_error = Some(error);
    }

    fn add_to(&self, status: &mut SynchronizerStatus<S>, now: Timestamp) {
        let reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        status.lag_events += reported.lag_events;
        if let Some(oldest) = reported.oldest {
            status.lag = status.lag.max(Duration::try_from(now.duration_since(oldest)).unwrap_or_default());
        }
        status.stalled.extend(reported.stalled.iter().cloned());
        status.last_errors.extend(reported.last_error.clone());
    }
}

/// Metrics of a view, for the `metrics` facade.
struct ViewMetrics {
    events: metrics::Counter,
    batches: metrics::Counter,
    seconds: metrics::Histogram,
    repeated: metrics::Counter,
    quarantines: metrics::Counter,
    lag_events: metrics::Gauge,
    lag_seconds: metrics::Gauge,
    quarantined: metrics::Gauge,
}

impl ViewMetrics {
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

    fn record_batch(&self, events: u64, took: Duration) {
        self.events.increment(events);
        self.batches.increment(1);
        self.seconds.record(took);
    }

    fn publish<S>(&self, status: &SynchronizerStatus<S>) {
        self.lag_events.set(status.lag_events as f64);
        self.lag_seconds.set(status.lag.as_secs_f64());
        self.quarantined.set(status.quarantined.len() as f64);
    }
}
