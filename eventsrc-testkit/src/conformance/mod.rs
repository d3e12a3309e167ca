//! Suites that hold a backend against its contract.
//!
//! Each sentence of [`EventStorage`](eventsrc_core::EventStorage) and
//! [`SnapshotStorage`](eventsrc_core::snapshot::SnapshotStorage) is checked by some rules. A rule is an `async fn` whose name says
//! what has to hold, in the module of its kind; read it when it is violated. A suite holds a backend against all its
//! rules, each at a place of its own, and reports them as a table.
//!
//! A backend author says how a place is made and opened, and what of the optional parts the backend does:
//!
//! ```
//! use std::sync::Arc;
//!
//! use eventsrc_core::MemoryStorage;
//! use eventsrc_testkit::conformance::{self, Backend, Capabilities, Sample, SampleKey};
//!
//! struct Memory;
//!
//! impl Backend for Memory {
//!     type Storage = Arc<MemoryStorage<SampleKey, u64, Sample>>;
//!     type Location = Self::Storage;
//!
//!     fn capabilities(&self) -> Capabilities {
//!         // Payloads are kept as they are, so none is ever unreadable.
//!         Capabilities { decodes: false, ..Capabilities::ALL }
//!     }
//!
//!     async fn create(&self) -> Self::Location {
//!         Arc::default()
//!     }
//!
//!     async fn open(&self, place: &Self::Location) -> Self::Storage {
//!         Arc::clone(place)
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let backend = Arc::new(Memory);
//! conformance::storage(&backend).await.assert_kept();
//! conformance::scan(&backend).await.assert_kept();
//! conformance::under_faults(&backend, 7).await.assert_kept();
//! # });
//! ```
//!
//! Run it on a runtime of several threads, with a sequence of one zone (`u64`) and with
//! [`ZonedSequence`](eventsrc_core::stream::ZonedSequence).

use std::sync::Arc;

use eventsrc_core::clock::SystemClock;
use eventsrc_core::storage::ScanStorage;

use crate::faulty::{FaultSource, Faults, Injected};

pub mod as_put;
mod backend;
pub mod conflicts;
mod contract;
pub mod dropped;
pub mod heads;
pub mod leases;
pub mod lost_replies;
pub mod places;
pub mod putting;
pub mod races;
pub mod reading;
mod report;
mod sample;
pub mod scanning;
mod snapshot_contract;
pub mod snapshot_modes;
mod snapshot_trial;
pub mod snapshots;
pub mod streams;
mod trial;
pub mod under_faults;
pub mod unreadable;
pub mod views;
pub mod visibility;
pub mod whole;

pub use backend::{Backend, Capabilities, SnapshotBackend, SnapshotCapabilities};
pub use contract::{scan_suite, storage_suite};
pub use leases::{LeaseBackend, LeaseHandle, LeaseTrial, lease_suite, leases};
pub use report::{Report, Row, Rule, RuleResult, Suite, Verdict, Violation};
pub use sample::{Sample, SampleKey, Unreadable};
pub use snapshot_contract::snapshot_suite;
pub use snapshot_trial::{SnapshotHandle, SnapshotOf, SnapshotSequenceOf, SnapshotTrial};
pub use trial::{CommitOf, ConflictOf, Handle, HeadOf, Seen, SequenceOf, Trial};
pub use under_faults::{FaultyBackend, FaultySnapshotBackend, fault_suite, snapshot_fault_suite};
pub use views::{
    FaultyViewBackend, Line, RunOf, ViewBackend, ViewCapabilities, ViewCommitOf, ViewHandle, ViewRows,
    ViewSample, ViewSequenceOf, ViewTrial, versioned_view_suite, versioned_views, view_fault_suite,
    view_suite, views, views_under_faults,
};

/// Holds an event storage against the contract of [`EventStorage`](eventsrc_core::EventStorage).
pub async fn storage<B: Backend>(backend: &Arc<B>) -> Report {
    storage_suite().run(backend).await
}

/// Holds an event storage against the contract of [`ScanStorage`].
pub async fn scan<B: Backend<Storage: ScanStorage>>(backend: &Arc<B>) -> Report {
    scan_suite().run(backend).await
}

/// Holds a snapshot storage against the contract of [`SnapshotStorage`](eventsrc_core::snapshot::SnapshotStorage).
pub async fn snapshots<B: SnapshotBackend>(backend: &Arc<B>) -> Report {
    snapshot_suite().run(backend).await
}

/// Holds an event storage against what has to come out when calls fail, with the faults of this seed.
///
/// The report names the seed, and how many faults were injected; none of a kind is a violation.
pub async fn under_faults<B: Backend>(backend: &Arc<B>, seed: u64) -> Report {
    let source = Arc::new(FaultSource::new(Faults::seeded(seed), Arc::new(SystemClock)));
    let faulty = FaultyBackend::new(Arc::clone(backend), Arc::clone(&source));
    let report = fault_suite().run(&Arc::new(faulty)).await;
    let injected = source.injected();
    let enough = [injected.failed_before, injected.replies_lost, injected.broken_off, injected.delayed];
    noted(report, seed, injected, !enough.contains(&0))
}

/// The same for a snapshot storage.
pub async fn snapshots_under_faults<B: SnapshotBackend>(backend: &Arc<B>, seed: u64) -> Report {
    let source = Arc::new(FaultSource::new(Faults::seeded(seed), Arc::new(SystemClock)));
    let faulty = FaultySnapshotBackend::new(Arc::clone(backend), Arc::clone(&source));
    let report = snapshot_fault_suite().run(&Arc::new(faulty)).await;
    let injected = source.injected();
    let enough = [injected.failed_before, injected.replies_lost, injected.delayed];
    noted(report, seed, injected, !enough.contains(&0))
}

fn noted(mut report: Report, seed: u64, injected: Injected, enough: bool) -> Report {
    let verdict = if enough {
        Verdict::Kept
    } else {
        Verdict::Violated(Violation::new(format!("there were none of a kind: {injected}")))
    };
    let sentence = "A run with faults meets faults of every kind.";
    report.rows.push(Row { sentence, rule: "faults_of_every_kind_were_injected", verdict });
    report.noting(format!("seed {seed}, {injected}"))
}
