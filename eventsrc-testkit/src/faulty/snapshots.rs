//! A snapshot storage that injects faults.

use std::sync::Arc;

use eventsrc_core::clock::Clock;
use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::{Snapshot, StorageError};

use super::source::{FaultSource, Faults, Injected};

/// A snapshot storage that forwards calls and injects faults: failed calls, lost replies, delays.
#[derive(Debug)]
pub struct FaultySnapshots<Sn> {
    snapshots: Sn,
    source: Arc<FaultSource>,
}

impl<Sn> FaultySnapshots<Sn> {
    /// Wraps `snapshots` with these faults. Delays use `clock`.
    pub fn new(snapshots: Sn, faults: Faults, clock: Arc<dyn Clock>) -> Self {
        Self::with(snapshots, Arc::new(FaultSource::new(faults, clock)))
    }

    /// Wraps `snapshots` with faults from `source`, which several wrappers may share.
    pub fn with(snapshots: Sn, source: Arc<FaultSource>) -> Self {
        Self { snapshots, source }
    }

    /// Returns the numbers of faults injected so far.
    pub fn injected(&self) -> Injected {
        self.source.injected()
    }

    /// Returns the snapshot storage without faults.
    pub fn snapshots(&self) -> &Sn {
        &self.snapshots
    }
}

impl<Sn: SnapshotStorage> SnapshotStorage for FaultySnapshots<Sn> {
    type Key = Sn::Key;
    type Sequence = Sn::Sequence;
    type Value = Sn::Value;

    async fn get(
        &self,
        key: &Self::Key,
        version: u32,
        which: SnapshotAt<Self::Sequence>,
    ) -> Result<Option<Snapshot<Self::Sequence, Self::Value>>, StorageError> {
        self.source.delay().await;
        self.source.fail_before()?;
        self.snapshots.get(key, version, which).await
    }

    async fn put(
        &self,
        key: &Self::Key,
        version: u32,
        snapshot: &Snapshot<Self::Sequence, Self::Value>,
        mode: SnapshotMode,
    ) -> Result<(), StorageError> {
        self.source.delay().await;
        self.source.fail_before()?;
        self.snapshots.put(key, version, snapshot, mode).await?;
        self.source.delay().await;
        self.source.lose_reply()
    }
}
