//! What a rule for snapshots works with.

use std::sync::Arc;

use eventsrc_core::backend::truncate_to_microseconds;
use eventsrc_core::commit::vec1;
use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::{
    Commit, CommitId, Event, EventStorage, Head, MemoryStorage, Metadata, Query, QueryApi, Snapshot,
    StorageError, Timestamp, fold_fn,
};
use uuid::Uuid;

use super::backend::{SnapshotBackend, SnapshotCapabilities};
use super::report::{RuleResult, Violation};
use super::sample::{Sample, SampleKey};
use super::trial::sequence;

/// The sequence of a backend's snapshot storage.
pub type SnapshotSequenceOf<B> = <<B as SnapshotBackend>::Storage as SnapshotStorage>::Sequence;

/// A snapshot for a backend's snapshot storage.
pub type SnapshotOf<B> = Snapshot<SnapshotSequenceOf<B>, Sample>;

/// A place of its own for one rule.
pub struct SnapshotTrial<B: SnapshotBackend> {
    backend: Arc<B>,
    place: B::Location,
}

impl<B: SnapshotBackend> SnapshotTrial<B> {
    /// A trial at a new place.
    pub async fn new(backend: Arc<B>) -> Self {
        let place = backend.create().await;
        Self { backend, place }
    }

    /// A new handle on the snapshots of the name that most rules use.
    pub async fn open(&self) -> SnapshotHandle<B> {
        self.open_named("snapshots").await
    }

    /// A new handle on the snapshots of this name.
    pub async fn open_named(&self, name: &str) -> SnapshotHandle<B> {
        SnapshotHandle(Arc::new(self.backend.open(&self.place, name).await))
    }

    /// What the backend declares.
    pub fn capabilities(&self) -> SnapshotCapabilities {
        self.backend.capabilities()
    }
}

/// A snapshot of a small value at this number, which names it.
pub(super) fn at<B: SnapshotBackend>(number: u64) -> SnapshotOf<B> {
    of::<B>(number, Some(Sample::Text(format!("value at {number}"))))
}

/// A snapshot of this value at this number.
pub(super) fn of<B: SnapshotBackend>(number: u64, value: Option<Sample>) -> SnapshotOf<B> {
    let microsecond = 1_767_225_600_000_001 + (number % 1_000_000) as i64 * 1_000_003;
    let time = Timestamp::from_microsecond(microsecond).expect("a time of this century is in range");
    Snapshot::new(value, Some(Head { sequence: sequence(number), time }))
}

/// A snapshot at number 8, which is the first of the two events of its commit.
pub(super) async fn inside_a_commit<B: SnapshotBackend>() -> Result<SnapshotOf<B>, Violation> {
    let storage = MemoryStorage::<SampleKey, SnapshotSequenceOf<B>, Sample>::default();
    let key = SampleKey::from("a");
    let payloads = vec1![Sample::Text("first".into()), Sample::Text("second".into())];
    let metadata = Metadata::new(CommitId(Uuid::from_u128(1)));
    let commit =
        Commit { key: key.clone(), first: sequence(8), time: Timestamp::UNIX_EPOCH, metadata, payloads };
    drop(storage.put(Arc::new(commit)).await?);
    let fold = fold_fn(
        |_, value: &mut Option<Sample>, event: Event<'_, SampleKey, SnapshotSequenceOf<B>, Sample>| {
            *value = Some(event.payload.clone());
        },
    );
    Ok(QueryApi::new(storage, fold).at_sequence(&key, sequence(8)).await?)
}

/// A handle on the snapshots of one name. Its calls end the rule with a violation where something else than expected
/// comes back.
pub struct SnapshotHandle<B: SnapshotBackend>(Arc<B::Storage>);

impl<B: SnapshotBackend> Clone for SnapshotHandle<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: SnapshotBackend> SnapshotHandle<B> {
    /// The storage itself.
    pub fn storage(&self) -> &B::Storage {
        &self.0
    }

    /// Keeps a snapshot of version 1 as the cached one.
    pub async fn caches(&self, key: impl Into<SampleKey>, snapshot: &SnapshotOf<B>) -> RuleResult {
        self.put(key, 1, snapshot, SnapshotMode::Cache).await
    }

    /// Keeps a snapshot of version 1 for good.
    pub async fn keeps(&self, key: impl Into<SampleKey>, snapshot: &SnapshotOf<B>) -> RuleResult {
        self.put(key, 1, snapshot, SnapshotMode::Epoch).await
    }

    /// Keeps a snapshot.
    pub async fn put(
        &self,
        key: impl Into<SampleKey>,
        version: u32,
        snapshot: &SnapshotOf<B>,
        mode: SnapshotMode,
    ) -> RuleResult {
        Ok(self.0.put(&key.into(), version, snapshot, mode).await?)
    }

    /// What the storage gives.
    pub async fn get(
        &self,
        key: impl Into<SampleKey>,
        version: u32,
        which: SnapshotAt<SnapshotSequenceOf<B>>,
    ) -> Result<Option<SnapshotOf<B>>, StorageError> {
        self.0.get(&key.into(), version, which).await
    }

    /// Expects this snapshot of version 1, with its time to the microsecond.
    pub async fn gives(
        &self,
        key: impl Into<SampleKey>,
        which: SnapshotAt<SnapshotSequenceOf<B>>,
        expected: Option<&SnapshotOf<B>>,
    ) -> RuleResult {
        self.gives_version(key, 1, which, expected).await
    }

    /// Expects this snapshot of a version, with its time to the microsecond.
    pub async fn gives_version(
        &self,
        key: impl Into<SampleKey>,
        version: u32,
        which: SnapshotAt<SnapshotSequenceOf<B>>,
        expected: Option<&SnapshotOf<B>>,
    ) -> RuleResult {
        let key = key.into();
        let rounded = |mut snapshot: SnapshotOf<B>| {
            snapshot.head =
                snapshot.head.map(|head| Head { time: truncate_to_microseconds(head.time), ..head });
            snapshot
        };
        let found = self.get(&key, version, which).await?.map(rounded);
        let expected = expected.cloned().map(rounded);
        if found == expected {
            return Ok(());
        }
        Err(Violation::new(format!(
            "{which:?} of {key:?}, version {version}: found {found:?}, expected {expected:?}"
        )))
    }
}
