//! Functions that run a whole suite against a storage.

use std::sync::Arc;

use eventsrc_core::EventStorage;
use eventsrc_core::clock::SystemClock;
use eventsrc_core::storage::ScanStorage;

use super::backend::{Backend, SnapshotBackend};
use super::contract::{scan_suite, storage_suite};
use super::fault_counts::with_fault_counts;
use super::faulty_backend::{FaultyBackend, FaultySnapshotBackend};
use super::numbers::number_suite;
use super::report::Report;
use super::snapshot_contract::snapshot_suite;
use super::under_faults::{fault_suite, snapshot_fault_suite};
use crate::faulty::{FaultSource, Faults};

/// Checks an event storage against the contract of [`EventStorage`](eventsrc_core::EventStorage).
pub async fn storage<B: Backend>(backend: &Arc<B>) -> Report {
    storage_suite().run(backend).await
}

/// Checks an event storage of `u64` sequences with numbers that are no sequences, such as 0.
pub async fn numbers<B: Backend<Storage: EventStorage<Sequence = u64>>>(backend: &Arc<B>) -> Report {
    number_suite().run(backend).await
}

/// Checks an event storage against the contract of [`ScanStorage`].
pub async fn scan<B: Backend<Storage: ScanStorage>>(backend: &Arc<B>) -> Report {
    scan_suite().run(backend).await
}

/// Checks a snapshot storage against the contract of [`SnapshotStorage`](eventsrc_core::snapshot::SnapshotStorage).
pub async fn snapshots<B: SnapshotBackend>(backend: &Arc<B>) -> Report {
    snapshot_suite().run(backend).await
}

/// Checks an event storage under the faults of `seed`: callers that retry must reach the same state as without faults.
///
/// The report names the seed and the number of injected faults. A kind of fault that was never injected is a violation.
pub async fn under_faults<B: Backend>(backend: &Arc<B>, seed: u64) -> Report {
    let source = Arc::new(FaultSource::new(Faults::seeded(seed), Arc::new(SystemClock)));
    let faulty = FaultyBackend::new(Arc::clone(backend), Arc::clone(&source));
    let report = fault_suite().run(&Arc::new(faulty)).await;
    let injected = source.injected();
    let counts = [injected.failed_before, injected.replies_lost, injected.broken_off, injected.delayed];
    with_fault_counts(report, seed, injected, !counts.contains(&0))
}

/// Checks a snapshot storage under the faults of `seed`, as [`under_faults`] checks an event storage.
pub async fn snapshots_under_faults<B: SnapshotBackend>(backend: &Arc<B>, seed: u64) -> Report {
    let source = Arc::new(FaultSource::new(Faults::seeded(seed), Arc::new(SystemClock)));
    let faulty = FaultySnapshotBackend::new(Arc::clone(backend), Arc::clone(&source));
    let report = snapshot_fault_suite().run(&Arc::new(faulty)).await;
    let injected = source.injected();
    let counts = [injected.failed_before, injected.replies_lost, injected.delayed];
    with_fault_counts(report, seed, injected, !counts.contains(&0))
}
