//! How a store for leases comes into a suite.

use eventsrc_core::lease::LeaseStore;

/// A kind of database for leases that is held against the contract.
///
/// Every rule gets a place of its own, which is empty at first, and opens it as often as it needs.
pub trait LeaseBackend: Send + Sync + 'static {
    /// The store.
    type Store: LeaseStore;
    /// Where the leases of one group live: a schema, a table. It is dropped when the rule is done.
    type Location: Send + Sync + 'static;

    /// A new place without any leases.
    fn create(&self) -> impl Future<Output = Self::Location> + Send;

    /// A handle on the leases at `place`, as another process would open it: it shares no more than that process would.
    fn open(&self, place: &Self::Location) -> impl Future<Output = Self::Store> + Send;
}
