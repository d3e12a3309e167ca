//! A snapshot storage that fails now and then.

use std::sync::Arc;

use eventsrc_core::clock::Clock;
use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::{Snapshot, StorageError};

use super::{FaultSource, Faults, Injected};

/// A snapshot storage that passes calls on, and now and then fails, loses a reply or takes its time.
#[derive(Debug)]
pub struct FaultySnapshots<Sn> {
    snapshots: Sn,
    source: Arc<FaultSource>,
}

impl<Sn> FaultySnapshots<Sn> {
    /// `snapshots` with these faults; delays are on this clock.
    pub fn new(snapshots: Sn, faults: Faults, clock: Arc<dyn Clock>) -> Self {
        Self::with(snapshots, Arc::new(FaultSource::new(faults, clock)))
    }

    /// `snapshots` with faults from a source that others draw from as well.
    pub fn with(snapshots: Sn, source: Arc<FaultSource>) -> Self {
        Self { snapshots, source }
    }

    /// What was injected so far.
    pub fn injected(&self) -> Injected {
        self.source.injected()
    }

    /// The snapshot storage without faults.
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
