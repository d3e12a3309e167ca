//! Backends of event and snapshot storages, as a suite uses them.

use eventsrc_core::EventStorage;
use eventsrc_core::snapshot::SnapshotStorage;

use super::sample::{Sample, SampleKey};

/// A backend whose event storage is checked against the contract.
///
/// Each rule gets a new, empty location and opens it as often as it needs.
pub trait Backend: Send + Sync + 'static {
    /// The event storage.
    type Storage: EventStorage<Key = SampleKey, Payload = Sample>;
    /// The location of one data set, such as a directory, a schema or a table. It is dropped when the rule ends.
    type Location: Send + Sync + 'static;

    /// Returns the optional parts of the contract that the backend implements.
    fn capabilities(&self) -> Capabilities;

    /// Creates a new location without events.
    fn create(&self) -> impl Future<Output = Self::Location> + Send;

    /// Opens the data set at `location` as another process would: the handle shares no state with other handles that
    /// two processes would not share.
    fn open(&self, location: &Self::Location) -> impl Future<Output = Self::Storage> + Send;
}

/// The parts of the contract that are optional. A declared part is checked. A part that is not declared is reported
/// as undeclared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Conflicts carry the stored commit.
    pub conflict_has_commit: bool,
    /// Conflicts carry the head of the stream.
    pub conflict_has_head: bool,
    /// Payloads are stored as bytes, so that a payload can be unreadable.
    pub decodes: bool,
    /// Largest commit that the backend accepts, in bytes of payload text.
    pub largest_commit: usize,
}

impl Capabilities {
    /// All optional parts, and commits of up to 4 MiB.
    pub const ALL: Self =
        Self { conflict_has_commit: true, conflict_has_head: true, decodes: true, largest_commit: 4 << 20 };
}

/// A backend whose snapshot storage is checked against the contract.
///
/// Each rule gets a new, empty location and opens it as often as it needs.
pub trait SnapshotBackend: Send + Sync + 'static {
    /// The snapshot storage.
    type Storage: SnapshotStorage<Key = SampleKey, Value = Sample>;
    /// The location of one data set. It is dropped when the rule ends.
    type Location: Send + Sync + 'static;

    /// Returns the optional parts of the contract that the backend implements.
    fn capabilities(&self) -> SnapshotCapabilities;

    /// Creates a new location without snapshots.
    fn create(&self) -> impl Future<Output = Self::Location> + Send;

    /// Opens the snapshots called `name` at `location` as another process would.
    fn open(&self, location: &Self::Location, name: &str) -> impl Future<Output = Self::Storage> + Send;
}

/// The optional features of a snapshot storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotCapabilities {
    /// Storages of different names can share a location.
    pub has_names: bool,
    /// Values are stored as bytes, so that a value can be unreadable.
    pub decodes: bool,
    /// Largest value that the backend accepts, in bytes of text.
    pub largest_value: usize,
}

impl SnapshotCapabilities {
    /// All optional features, and values of up to 4 MiB.
    pub const ALL: Self = Self { has_names: true, decodes: true, largest_value: 4 << 20 };
}
