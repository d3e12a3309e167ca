//! Backends of lease stores, as a suite uses them.

use eventsrc_core::lease::LeaseStore;

/// A backend whose lease store is checked against the contract.
///
/// Each rule gets a new, empty location and opens it as often as it needs.
///
/// ```
/// use std::sync::Arc;
///
/// use eventsrc_core::lease::MemoryLeases;
/// use eventsrc_testkit::conformance::{self, LeaseBackend};
///
/// struct Memory;
///
/// impl LeaseBackend for Memory {
///     type Store = MemoryLeases;
///     type Location = MemoryLeases;
///
///     async fn create(&self) -> MemoryLeases {
///         MemoryLeases::default()
///     }
///
///     async fn open(&self, location: &MemoryLeases) -> MemoryLeases {
///         location.clone()
///     }
/// }
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// conformance::leases(&Arc::new(Memory)).await.assert_kept();
/// # });
/// ```
pub trait LeaseBackend: Send + Sync + 'static {
    /// The lease store.
    type Store: LeaseStore;
    /// The location of the leases of one group, such as a schema or a table. It is dropped when the rule ends.
    type Location: Send + Sync + 'static;

    /// Creates a new location without leases.
    fn create(&self) -> impl Future<Output = Self::Location> + Send;

    /// Opens the leases at `location` as another process would: the handle shares no state with other handles that
    /// two processes would not share.
    fn open(&self, location: &Self::Location) -> impl Future<Output = Self::Store> + Send;
}
