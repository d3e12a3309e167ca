//! A snapshot storage that injects faults.

use std::fmt;
use std::sync::Arc;

use eventsrc_core::clock::Clock;
use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::{Snapshot, StorageError, StreamName};

use super::source::{FaultSource, Faults, Injected};

/// A snapshot storage that forwards calls and injects faults: failed calls, lost replies, delays and hangs. If it is told
/// the streams of its keys ([`with_streams`](Self::with_streams)), snapshots of failing streams fail too.
pub struct FaultySnapshots<Sn: SnapshotStorage> {
    snapshots: Sn,
    source: Arc<FaultSource>,
    stream_of: fn(&Sn::Key) -> Option<StreamName>,
}

impl<Sn: SnapshotStorage> FaultySnapshots<Sn> {
    /// Wraps `snapshots` with these faults. Delays use `clock`.
    pub fn new(snapshots: Sn, faults: Faults, clock: Arc<dyn Clock>) -> Self {
        Self::with(snapshots, Arc::new(FaultSource::new(faults, clock)))
    }

    /// Wraps `snapshots` with faults from `source`, which several wrappers may share.
    pub fn with(snapshots: Sn, source: Arc<FaultSource>) -> Self {
        Self { snapshots, source, stream_of: |_| None }
    }

    /// Sets the stream of each key, whose failures ([`FaultSource::fail_stream`]) concern its snapshots too.
    #[must_use]
    pub fn with_streams(self, stream_of: fn(&Sn::Key) -> Option<StreamName>) -> Self {
        Self { stream_of, ..self }
    }

    /// Returns the numbers of faults injected so far.
    pub fn injected(&self) -> Injected {
        self.source.injected()
    }

    /// Returns the source of the faults, to hang and resume all calls, and to fail and heal streams.
    pub fn source(&self) -> &Arc<FaultSource> {
        &self.source
    }

    /// Returns the snapshot storage without faults.
    pub fn snapshots(&self) -> &Sn {
        &self.snapshots
    }

    async fn fail_before(&self, key: &Sn::Key) -> Result<(), StorageError> {
        self.source.delay().await;
        (self.stream_of)(key).map_or(Ok(()), |stream| self.source.fail_on(&stream))?;
        self.source.fail_before()
    }
}

#[deny(clippy::missing_trait_methods)]
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
        self.fail_before(key).await?;
        self.snapshots.get(key, version, which).await
    }

    async fn put(
        &self,
        key: &Self::Key,
        version: u32,
        snapshot: &Snapshot<Self::Sequence, Self::Value>,
        mode: SnapshotMode,
    ) -> Result<(), StorageError> {
        self.fail_before(key).await?;
        self.snapshots.put(key, version, snapshot, mode).await?;
        self.source.delay().await;
        self.source.lose_reply()
    }
}

impl<Sn: SnapshotStorage> fmt::Debug for FaultySnapshots<Sn> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultySnapshots").field("source", &self.source).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use eventsrc_core::clock::SystemClock;
    use eventsrc_core::snapshot::MemorySnapshots;
    use eventsrc_core::{Head, Timestamp};

    use super::*;

    #[tokio::test]
    async fn snapshots_of_a_failing_stream_fail_until_it_is_healed() {
        let memory = MemorySnapshots::<StreamName, u64, u32>::default();
        let faulty = FaultySnapshots::new(memory, Faults::none(), Arc::new(SystemClock));
        let faulty = faulty.with_streams(|key| Some(key.clone()));
        let (failing, other) = ("user/1".parse().unwrap(), "user/2".parse().unwrap());
        let head = Head { sequence: 1, time: Timestamp::UNIX_EPOCH, commit_id: None };
        let snapshot = Snapshot::new(Some(7), Some(head));
        faulty.source().fail_stream(StreamName::clone(&failing));
        faulty.put(&failing, 1, &snapshot, SnapshotMode::Cache).await.unwrap_err();
        faulty.put(&other, 1, &snapshot, SnapshotMode::Cache).await.unwrap();
        faulty.source().heal_stream(&failing);
        let found = faulty.get(&failing, 1, SnapshotAt::Latest).await.unwrap();
        assert_eq!(found, None, "the failed put had no effect");
    }
}
