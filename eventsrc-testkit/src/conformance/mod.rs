//! Suites that check a backend against its contract.
//!
//! The contract is the list of sentences in the docs of a trait, such as
//! [`EventStorage`](eventsrc_core::EventStorage) or [`SnapshotStorage`](eventsrc_core::snapshot::SnapshotStorage). Some
//! rules check each sentence. A rule is an `async fn` of this crate whose name states the required behaviour. A suite runs
//! all its rules, each at a new location, and reports the results as a table.
//!
//! The author of a backend implements how a location is created and opened, and declares the optional parts of the
//! contract that the backend implements:
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
//!         // Payloads are not stored as bytes, so none can be unreadable.
//!         Capabilities { decodes: false, ..Capabilities::ALL }
//!     }
//!
//!     async fn create(&self) -> Self::Location {
//!         Arc::default()
//!     }
//!
//!     async fn open(&self, location: &Self::Location) -> Self::Storage {
//!         Arc::clone(location)
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let backend = Arc::new(Memory);
//! conformance::storage(&backend).await.assert_kept();
//! conformance::numbers(&backend).await.assert_kept();
//! conformance::scan(&backend).await.assert_kept();
//! conformance::under_faults(&backend, 7).await.assert_kept(); // 7 is the seed of the faults
//! # });
//! ```
//!
//! Run the suites on a runtime with several threads, once with sequences of one zone (`u64`) and once with
//! [`ZonedSequence`](eventsrc_core::stream::ZonedSequence). [`numbers`] checks what only a storage of `u64` sequences can
//! violate.
//!
//! [`ViewBackend`] and [`LeaseBackend`] show the same for views and leases.

mod atomicity;
mod backend;
mod cancellation;
mod conflicts;
mod contract;
mod diverging;
mod fault_counts;
mod faulty_backend;
mod heads;
mod invalid_puts;
mod leases;
mod lost_replies;
mod numbers;
mod puts;
mod races;
mod reading;
mod recent;
mod report;
mod round_trips;
mod rule;
mod run;
mod sample;
mod scanning;
mod snapshot_contract;
mod snapshot_modes;
mod snapshot_trial;
mod snapshots;
mod streams;
mod suite;
mod trial;
mod under_faults;
mod unreadable;
mod views;
mod violation;
mod visibility;

pub use backend::{Backend, Capabilities, SnapshotBackend, SnapshotCapabilities};
pub use contract::{scan_suite, storage_suite};
pub use faulty_backend::{FaultyBackend, FaultySnapshotBackend};
pub use leases::{LeaseBackend, lease_suite, leases};
pub use numbers::number_suite;
pub use report::{Report, Row, Verdict};
pub use rule::Rule;
pub use run::{numbers, scan, snapshots, snapshots_under_faults, storage, under_faults};
pub use sample::{Sample, SampleKey, Unreadable};
pub use snapshot_contract::snapshot_suite;
pub use suite::Suite;
pub use under_faults::{fault_suite, snapshot_fault_suite};
pub use views::{
    FaultyViewBackend, Line, ViewBackend, ViewCapabilities, ViewRows, ViewSample, ViewSequenceOf,
    versioned_view_suite, versioned_views, view_fault_suite, view_suite, views, views_under_faults,
};
pub use violation::Violation;
