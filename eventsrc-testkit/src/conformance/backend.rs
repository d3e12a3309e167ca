//! How a backend comes into a suite.

use eventsrc_core::EventStorage;
use eventsrc_core::snapshot::SnapshotStorage;

use super::sample::{Sample, SampleKey};

/// A backend whose event storage is held against the contract.
///
/// Every rule gets a place of its own, which is empty at first, and opens it as often as it needs.
pub trait Backend: Send + Sync + 'static {
    /// The storage.
    type Storage: EventStorage<Key = SampleKey, Payload = Sample>;
    /// Where one set of data lives: a directory, a schema, a table. It is dropped when the rule is done.
    type Location: Send + Sync + 'static;

    /// What the contract leaves to the backend, and this one does.
    fn capabilities(&self) -> Capabilities;

    /// A new place without any events.
    fn create(&self) -> impl Future<Output = Self::Location> + Send;

    /// A handle on the data at `place`, as another process would open it: it shares no more than that process would.
    fn open(&self, place: &Self::Location) -> impl Future<Output = Self::Storage> + Send;
}

/// What the contract says "where the backend can" of. What is declared is checked; what is not is shown as
/// undeclared in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// It sees that a put would leave a hole after the stored events.
    pub sees_holes: bool,
    /// It sees that a put lies inside a stored commit.
    pub sees_inside_commits: bool,
    /// Its conflicts carry the commit in the way.
    pub conflict_has_commit: bool,
    /// Its conflicts carry the head of the stream.
    pub conflict_has_head: bool,
    /// It keeps payloads as bytes, so that one may turn out to be unreadable.
    pub decodes: bool,
    /// The largest commit that it takes, in bytes of payload text.
    pub largest_commit: usize,
}

impl Capabilities {
    /// All that there is, and commits of 4 MiB.
    pub const ALL: Self = Self {
        sees_holes: true,
        sees_inside_commits: true,
        conflict_has_commit: true,
        conflict_has_head: true,
        decodes: true,
        largest_commit: 4 << 20,
    };
}

/// A backend whose snapshot storage is held against the contract.
pub trait SnapshotBackend: Send + Sync + 'static {
    /// The storage.
    type Storage: SnapshotStorage<Key = SampleKey, Value = Sample>;
    /// Where one set of data lives. It is dropped when the rule is done.
    type Location: Send + Sync + 'static;

    /// What the contract leaves to the backend, and this one does.
    fn capabilities(&self) -> SnapshotCapabilities;

    /// A new place without any snapshots.
    fn create(&self) -> impl Future<Output = Self::Location> + Send;

    /// A handle on the snapshots called `name` at `place`, as another process would open it.
    fn open(&self, place: &Self::Location, name: &str) -> impl Future<Output = Self::Storage> + Send;
}

/// What a snapshot backend may have or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotCapabilities {
    /// Storages of different names share a place.
    pub has_names: bool,
    /// It keeps values as bytes, so that one may turn out to be unreadable.
    pub decodes: bool,
    /// The largest value that it takes, in bytes of text.
    pub largest_value: usize,
}

impl SnapshotCapabilities {
    /// All that there is, and values of 4 MiB.
    pub const ALL: Self = Self { has_names: true, decodes: true, largest_value: 4 << 20 };
}
