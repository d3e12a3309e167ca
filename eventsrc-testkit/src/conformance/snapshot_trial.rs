//! Environment of a rule of a snapshot storage.

use std::sync::Arc;

use eventsrc_core::backend::truncate_to_microseconds;
use eventsrc_core::commit::Vec1;
use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::{
    Commit, CommitId, Event, EventStorage, Head, MemoryStorage, Metadata, Query, QueryApi, Snapshot,
    StorageError, Timestamp, fold_fn,
};
use uuid::Uuid;

use super::backend::{SnapshotBackend, SnapshotCapabilities};
use super::sample::{Sample, SampleKey};
use super::trial::sequence;
use super::violation::{RuleResult, Violation};

/// Sequence of a backend's snapshot storage.
pub(super) type SnapshotSequenceOf<B> = <<B as SnapshotBackend>::Storage as SnapshotStorage>::Sequence;

/// Snapshot of a backend's snapshot storage.
pub(super) type SnapshotOf<B> = Snapshot<SnapshotSequenceOf<B>, Sample>;

/// Environment of one rule: a location of its own.
pub(super) struct SnapshotTrial<B: SnapshotBackend> {
    backend: Arc<B>,
    location: B::Location,
}

impl<B: SnapshotBackend> SnapshotTrial<B> {
    /// Creates an environment with a new location.
    pub(super) async fn new(backend: Arc<B>) -> Self {
        let location = backend.create().await;
        Self { backend, location }
    }

    /// Opens a new handle on the snapshots of the default name.
    pub(super) async fn open(&self) -> SnapshotHandle<B> {
        self.open_named("snapshots").await
    }

    /// Opens a new handle on the snapshots called `name`.
    pub(super) async fn open_named(&self, name: &str) -> SnapshotHandle<B> {
        SnapshotHandle(Arc::new(self.backend.open(&self.location, name).await))
    }

    /// Returns the capabilities that the backend declares.
    pub(super) fn capabilities(&self) -> SnapshotCapabilities {
        self.backend.capabilities()
    }
}

/// Returns a snapshot at this number. Its value contains the number.
pub(super) fn at<B: SnapshotBackend>(number: u64) -> SnapshotOf<B> {
    of::<B>(number, Some(Sample::Text(format!("value at {number}"))))
}

/// Returns a snapshot of this value at this number.
pub(super) fn of<B: SnapshotBackend>(number: u64, value: Option<Sample>) -> SnapshotOf<B> {
    let microsecond = 1_767_225_600_000_001 + (number % 1_000_000) as i64 * 1_000_003;
    let time = Timestamp::from_microsecond(microsecond).expect("a time of this century is in range");
    let commit_id = Some(CommitId(Uuid::from_u128(u128::from(number))));
    Snapshot::new(value, Some(Head { sequence: sequence(number), time, commit_id }))
}

/// Returns a snapshot at number 8, which is the first of the two events of its commit.
pub(super) async fn inside_a_commit<B: SnapshotBackend>() -> Result<SnapshotOf<B>, Violation> {
    let storage = MemoryStorage::<SampleKey, SnapshotSequenceOf<B>, Sample>::default();
    let key = SampleKey::from("a");
    for (id, first, events) in [(1, 1, 7), (2, 8, 2)] {
        let commit = Commit {
            key: key.clone(),
            first: sequence(first),
            previous: None,
            time: Timestamp::UNIX_EPOCH,
            metadata: Metadata::new(CommitId(Uuid::from_u128(id))),
            payloads: Vec1::try_from_vec(vec![Sample::Nothing; events]).expect("not empty").into(),
        };
        drop(storage.put(Arc::new(commit)).await?);
    }
    let fold = fold_fn(
        |_, value: &mut Option<Sample>, event: Event<'_, SampleKey, SnapshotSequenceOf<B>, Sample>| {
            *value = Some(event.payload.clone());
        },
    );
    Ok(QueryApi::new(storage, fold).at_sequence(&key, sequence(8)).await?)
}

/// Handle on the snapshots of one name. Its methods end the rule with a violation if the answer is not the expected
/// one.
pub(super) struct SnapshotHandle<B: SnapshotBackend>(Arc<B::Storage>);

impl<B: SnapshotBackend> Clone for SnapshotHandle<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: SnapshotBackend> SnapshotHandle<B> {
    /// Returns the storage.
    pub(super) fn storage(&self) -> &B::Storage {
        &self.0
    }

    /// Puts a snapshot of version 1 with mode `Cache`.
    pub(super) async fn caches(&self, key: impl Into<SampleKey>, snapshot: &SnapshotOf<B>) -> RuleResult {
        self.put(key, 1, snapshot, SnapshotMode::Cache).await
    }

    /// Puts a snapshot of version 1 with mode `Epoch`.
    pub(super) async fn puts_epoch(&self, key: impl Into<SampleKey>, snapshot: &SnapshotOf<B>) -> RuleResult {
        self.put(key, 1, snapshot, SnapshotMode::Epoch).await
    }

    /// Puts a snapshot.
    pub(super) async fn put(
        &self,
        key: impl Into<SampleKey>,
        version: u32,
        snapshot: &SnapshotOf<B>,
        mode: SnapshotMode,
    ) -> RuleResult {
        Ok(self.0.put(&key.into(), version, snapshot, mode).await?)
    }

    /// Calls `get` of the storage.
    pub(super) async fn get(
        &self,
        key: impl Into<SampleKey>,
        version: u32,
        which: SnapshotAt<SnapshotSequenceOf<B>>,
    ) -> Result<Option<SnapshotOf<B>>, StorageError> {
        self.0.get(&key.into(), version, which).await
    }

    /// Expects this snapshot of version 1, with its time truncated to the microsecond.
    pub(super) async fn returns(
        &self,
        key: impl Into<SampleKey>,
        which: SnapshotAt<SnapshotSequenceOf<B>>,
        expected: Option<&SnapshotOf<B>>,
    ) -> RuleResult {
        self.returns_version(key, 1, which, expected).await
    }

    /// Expects this snapshot of `version`, with its time truncated to the microsecond.
    pub(super) async fn returns_version(
        &self,
        key: impl Into<SampleKey>,
        version: u32,
        which: SnapshotAt<SnapshotSequenceOf<B>>,
        expected: Option<&SnapshotOf<B>>,
    ) -> RuleResult {
        let key = key.into();
        let truncated = |mut snapshot: SnapshotOf<B>| {
            snapshot.head =
                snapshot.head.map(|head| Head { time: truncate_to_microseconds(head.time), ..head });
            snapshot
        };
        let found = self.get(&key, version, which).await?.map(truncated);
        let expected = expected.cloned().map(truncated);
        if found == expected {
            return Ok(());
        }
        Err(Violation::new(format!(
            "{which:?} of {key:?}, version {version}: found {found:?}, expected {expected:?}"
        )))
    }
}
