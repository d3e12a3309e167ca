//! A small snapshot storage that keeps the contract, except for one defect at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::{ErrorKind, Head, Snapshot, StorageError};
use eventsrc_testkit::conformance::{Sample, SampleKey, SnapshotBackend, SnapshotCapabilities};

use super::S;

pub(crate) type Sn = Snapshot<S, Sample>;
pub(crate) type Location = (String, SampleKey, u32);
type Found = Result<Option<Sn>, StorageError>;

/// A defect of the storage.
#[derive(Clone, Copy)]
pub(crate) enum SnapshotDefect {
    /// No defect.
    None,
    /// It replaces the name, key or version.
    Name(fn(&mut Location)),
    /// It stores something else than was put.
    Keep(fn(&mut Sn)),
    /// It changes how snapshots are put.
    Put(fn(&mut Kept, &Sn, SnapshotMode)),
    /// It changes how snapshots are found.
    Find(fn(&Kept, SnapshotAt<S>) -> Found),
    /// It checks that the cached snapshot is older, and replaces it later.
    CheckThenPut,
    /// A handle sees what was stored when it was opened, and what it put itself.
    Stale,
    /// It reads all snapshots, changes one, and writes all back.
    ReadThenWriteAll,
}

/// The snapshots under one name, key and version.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    pub(crate) epochs: BTreeMap<S, Sn>,
    pub(crate) cached: Option<Sn>,
}

impl Kept {
    pub(crate) fn all(&self) -> Vec<Sn> {
        self.epochs.values().chain(&self.cached).cloned().collect()
    }

    /// The correct put.
    pub(crate) fn put(&mut self, snapshot: &Sn, mode: SnapshotMode) {
        let Some(Head { sequence, .. }) = snapshot.to_keep() else { return };
        match mode {
            SnapshotMode::Epoch => drop(self.epochs.insert(sequence, snapshot.clone())),
            SnapshotMode::Cache => {
                if self.cached.as_ref().is_none_or(|cached| cached.sequence() <= Some(sequence)) {
                    self.cached = Some(snapshot.clone());
                }
            }
        }
    }

    /// The correct lookup.
    pub(crate) fn find(&self, which: SnapshotAt<S>) -> Found {
        let all = self.all().into_iter();
        let found = match which {
            SnapshotAt::Earliest => all.min_by_key(Snapshot::sequence),
            SnapshotAt::Latest => all.max_by_key(Snapshot::sequence),
            SnapshotAt::Before(limit) => {
                all.filter(|snapshot| snapshot.sequence() < Some(limit)).max_by_key(Snapshot::sequence)
            }
        };
        match found {
            Some(Snapshot { value: Some(Sample::Unreadable(_)), .. }) => {
                Err(StorageError::new(ErrorKind::Corrupt, "unreadable"))
            }
            found => Ok(found),
        }
    }
}

type Places = BTreeMap<Location, Kept>;

pub(crate) struct WrongSnapshotBackend(pub(crate) SnapshotDefect);

impl SnapshotBackend for WrongSnapshotBackend {
    type Storage = WrongSnapshots;
    type Location = Arc<Mutex<Places>>;

    fn capabilities(&self) -> SnapshotCapabilities {
        SnapshotCapabilities::ALL
    }

    async fn create(&self) -> Self::Location {
        Arc::default()
    }

    async fn open(&self, place: &Self::Location, name: &str) -> WrongSnapshots {
        let places = if matches!(self.0, SnapshotDefect::Stale) {
            Arc::new(Mutex::new(locked(place).clone()))
        } else {
            Arc::clone(place)
        };
        WrongSnapshots { places, name: name.into(), defect: self.0 }
    }
}

pub(crate) struct WrongSnapshots {
    places: Arc<Mutex<Places>>,
    name: String,
    defect: SnapshotDefect,
}

impl WrongSnapshots {
    fn place(&self, key: &SampleKey, version: u32) -> Location {
        let mut name = (self.name.clone(), key.clone(), version);
        if let SnapshotDefect::Name(change) = self.defect {
            change(&mut name);
        }
        name
    }
}

impl SnapshotStorage for WrongSnapshots {
    type Key = SampleKey;
    type Sequence = S;
    type Value = Sample;

    async fn get(&self, key: &SampleKey, version: u32, which: SnapshotAt<S>) -> Found {
        let kept = locked(&self.places).get(&self.place(key, version)).cloned().unwrap_or_default();
        if let SnapshotDefect::Find(find) = self.defect { find(&kept, which) } else { kept.find(which) }
    }

    async fn put(
        &self,
        key: &SampleKey,
        version: u32,
        snapshot: &Sn,
        mode: SnapshotMode,
    ) -> Result<(), StorageError> {
        let name = self.place(key, version);
        let before = locked(&self.places).get(&name).cloned().unwrap_or_default();
        match self.defect {
            SnapshotDefect::CheckThenPut if mode == SnapshotMode::Cache => {
                let newer = before.cached.as_ref().is_none_or(|c| c.sequence() <= snapshot.sequence());
                tokio::task::yield_now().await;
                if newer {
                    locked(&self.places).entry(name).or_default().cached = Some(snapshot.clone());
                }
                return Ok(());
            }
            SnapshotDefect::ReadThenWriteAll => {
                let mut kept = before;
                tokio::task::yield_now().await;
                kept.put(snapshot, mode);
                locked(&self.places).insert(name, kept);
                return Ok(());
            }
            _ => {}
        }
        let mut snapshot = snapshot.clone();
        if let SnapshotDefect::Keep(keep) = self.defect {
            keep(&mut snapshot);
        }
        let mut places = locked(&self.places);
        let kept = places.entry(name).or_default();
        if let SnapshotDefect::Put(put) = self.defect {
            put(kept, &snapshot, mode);
        } else {
            kept.put(&snapshot, mode);
        }
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
