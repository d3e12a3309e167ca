//! A small view store that keeps the contract, except for one defect at a time.

pub(crate) mod applying;
mod defect;
pub(crate) mod kept;
pub(crate) mod places;
pub(crate) mod quarantine;
pub(crate) mod trouble;
pub(crate) mod versions;
mod views;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventsrc_core::view::{
    Applied, Batch, CatchUp, QuarantinedCommit, SkippedCommits, StreamPosition, VersionedStore, ViewDigest,
    ViewStore,
};
use eventsrc_core::{ErrorKind, StorageError, StreamName, ViewDefinition};
use eventsrc_testkit::conformance::{SampleKey, ViewBackend, ViewCapabilities, ViewRows, ViewSample};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) use defect::{Defect, Outage};
pub(crate) use views::{Views, Which};

use kept::{Answer, B, Kept, S, TakenOver};

/// A rule, the description of the defect, and the defect.
pub(crate) type Proof = (&'static str, &'static str, Defect);

/// State shared by all handles.
pub(crate) struct Shared {
    views: Mutex<Views>,
    before: Mutex<Views>,
    worker: Mutex<Option<tokio::task::Id>>,
    lock: Semaphore,
    connections: Semaphore,
    busy: AtomicBool,
    interrupted: AtomicBool,
    /// Versions whose table is missing.
    hidden: Mutex<HashSet<Which>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            views: Mutex::default(),
            before: Mutex::default(),
            worker: Mutex::default(),
            lock: Semaphore::new(1),
            connections: Semaphore::new(100),
            busy: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            hidden: Mutex::default(),
        }
    }
}

/// The backend of stores with one defect.
pub(crate) struct WrongBackend(pub(crate) Defect);

impl ViewBackend for WrongBackend {
    type Store = Wrong;
    type Location = Arc<Shared>;

    fn capabilities(&self) -> ViewCapabilities {
        ViewCapabilities::ALL
    }

    async fn create(&self) -> Self::Location {
        Arc::default()
    }

    async fn open(&self, place: &Self::Location, definition: &ViewDefinition) -> Wrong {
        let mut which = (definition.name().to_owned(), definition.version());
        if let Defect::Which(change) = self.0 {
            change(&mut which);
        }
        let mut views = locked(&place.views);
        views.of(&which);
        if let Defect::Open(open) = self.0 {
            open(&mut views, &which);
        } else {
            views.serving.entry(which.0.clone()).or_insert(which.1);
        }
        Wrong {
            shared: Arc::clone(place),
            definition: definition.clone(),
            which,
            defect: self.0,
            known: Mutex::new(views.clone()),
            lock: Semaphore::new(1),
        }
    }

    async fn rows(&self, store: &Wrong) -> Result<ViewRows, StorageError> {
        Ok(store.seen().of(&store.which).rows.clone())
    }

    async fn read(
        &self,
        store: &Wrong,
        streams: &[StreamName],
    ) -> Result<(Vec<StreamPosition<S>>, ViewRows), StorageError> {
        if matches!(self.0, Defect::TornRead) {
            let places = store.seen().read(&store.which, streams).0;
            tokio::task::yield_now().await;
            return Ok((places, store.seen().read(&store.which, streams).1));
        }
        let views = store.seen();
        Ok(match self.0 {
            Defect::Read(read) => read(&views, &store.which, streams),
            _ => views.read(&store.which, streams),
        })
    }

    async fn interrupt(&self, place: &Self::Location) -> BoxFuture<'static, ()> {
        place.interrupted.store(true, Ordering::Relaxed);
        let place = Arc::clone(place);
        async move { place.interrupted.store(false, Ordering::Relaxed) }.boxed()
    }

    async fn hide_table(
        &self,
        place: &Self::Location,
        definition: &ViewDefinition,
    ) -> BoxFuture<'static, ()> {
        let (place, which) = (Arc::clone(place), (definition.name().to_owned(), definition.version()));
        locked(&place.hidden).insert(which.clone());
        async move {
            locked(&place.hidden).remove(&which);
        }
        .boxed()
    }
}

/// A handle.
pub(crate) struct Wrong {
    shared: Arc<Shared>,
    definition: ViewDefinition,
    which: Which,
    defect: Defect,
    /// The views as this handle knows them, for defects that use it.
    known: Mutex<Views>,
    lock: Semaphore,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wrong {
    /// The views as this handle sees them.
    fn seen(&self) -> Views {
        let current = locked(&self.shared.views).clone();
        match self.defect {
            Defect::StaleReads => locked(&self.known).clone(),
            Defect::LateReads => std::mem::replace(&mut *locked(&self.known), current),
            Defect::HiddenFromOtherTasks if *locked(&self.shared.worker) != tokio::task::try_id() => {
                locked(&self.shared.before).clone()
            }
            _ => current,
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        let mut views = locked(&self.shared.views);
        *locked(&self.shared.before) = views.clone();
        *locked(&self.shared.worker) = tokio::task::try_id();
        let changed = change(views.of(&self.which));
        if matches!(self.defect, Defect::StaleReads) {
            *locked(&self.known) = views.clone();
        }
        changed
    }

    async fn alone(&self) -> SemaphorePermit<'_> {
        let lock = if matches!(self.defect, Defect::LockPerHandle) { &self.lock } else { &self.shared.lock };
        lock.acquire().await.expect("open")
    }

    fn interruption(&self) -> Result<(), StorageError> {
        if self.shared.interrupted.load(Ordering::Relaxed) {
            return Err(StorageError::new(ErrorKind::Unavailable, "interrupted"));
        }
        Ok(())
    }

    fn outage(&self, streams: &[StreamName]) -> Option<Outage> {
        let Defect::Interrupted(outage) = self.defect else { return None };
        self.interruption().is_err().then(|| outage(locked(&self.shared.views).of(&self.which), streams))
    }

    /// Applies one stream after the other, visible to readers.
    async fn apply_torn(&self, batch: &B) -> Answer {
        let stands = |kept: &mut Kept| batch.position_changes().iter().all(|moved| kept.stands_before(moved));
        if !self.change(stands) {
            return Ok(Applied::PositionDiffers);
        }
        for (moved, commits) in batch.position_changes().iter().zip(batch.streams()) {
            tokio::task::yield_now().await;
            let written = self.change(|kept| {
                kept.advance(std::slice::from_ref(moved));
                kept.write(commits.iter().flat_map(|commit| commit.events()))
            });
            if let Err(error) = written {
                return Ok(Applied::Rejected(error));
            }
        }
        Ok(Applied::Done)
    }

    /// Applies the batch some time after the call began, while other calls run.
    async fn apply_late(&self, batch: &B) -> Answer {
        match self.defect {
            Defect::ReadThenWriteAll => {
                let mut all = locked(&self.shared.views).clone();
                tokio::task::yield_now().await;
                let answer = all.of(&self.which).apply(batch);
                *locked(&self.shared.views) = all;
                answer
            }
            Defect::RejectionTakesBack => {
                let before = self.change(|kept| kept.clone());
                tokio::task::yield_now().await;
                self.change(|kept| {
                    let answer = kept.apply(batch);
                    if matches!(answer, Ok(Applied::Rejected(_))) {
                        *kept = before;
                    }
                    answer
                })
            }
            Defect::RejectsWhenBusy => {
                if self.shared.busy.swap(true, Ordering::Relaxed) {
                    return Ok(Applied::Rejected("deadlock detected".into()));
                }
                tokio::task::yield_now().await;
                let answer = self.change(|kept| kept.apply(batch));
                self.shared.busy.store(false, Ordering::Relaxed);
                answer
            }
            Defect::FewAtOnce => {
                let Ok(_some) = self.shared.connections.try_acquire_many(6) else {
                    return Err(StorageError::new(ErrorKind::Unavailable, "too many at once"));
                };
                tokio::task::yield_now().await;
                self.change(|kept| kept.apply(batch))
            }
            _ => {
                let stands =
                    |kept: &mut Kept| batch.position_changes().iter().all(|moved| kept.stands_before(moved));
                if !self.change(stands) {
                    return Ok(Applied::PositionDiffers);
                }
                tokio::task::yield_now().await;
                self.change(|kept| kept.apply_as_told(batch))
            }
        }
    }
}

impl Drop for Wrong {
    fn drop(&mut self) {
        if matches!(self.defect, Defect::LostWithTheHandle) {
            *locked(&self.shared.views) = locked(&self.known).clone();
        }
    }
}

impl ViewStore for Wrong {
    type Key = SampleKey;
    type Sequence = S;
    type Payload = ViewSample;

    fn definition(&self) -> &ViewDefinition {
        &self.definition
    }

    async fn apply(&self, batch: &B) -> Answer {
        if let Some(outage) = self.outage(&[]) {
            return outage.applied;
        }
        self.interruption()?;
        if locked(&self.shared.hidden).contains(&self.which) {
            return match self.defect {
                Defect::WithoutTable(answer) => self.change(|kept| answer(kept, batch)),
                _ => Err(StorageError::new(ErrorKind::Refused, "no such table")),
            };
        }
        match self.defect {
            Defect::TornApply => return self.apply_torn(batch).await,
            Defect::CheckThenApply
            | Defect::ReadThenWriteAll
            | Defect::RejectionTakesBack
            | Defect::RejectsWhenBusy
            | Defect::FewAtOnce => return self.apply_late(batch).await,
            Defect::LockPerHandle => {
                let _alone = self.alone().await;
                return self.apply_late(batch).await;
            }
            Defect::RejectionsLeak => {
                let connection = self.shared.connections.acquire().await.expect("open");
                let answer = self.change(|kept| kept.apply(batch));
                if matches!(answer, Ok(Applied::Rejected(_))) {
                    connection.forget();
                }
                return answer;
            }
            Defect::DroppedApplyKeepsLock => {
                self.shared.lock.acquire().await.expect("open").forget();
                tokio::task::yield_now().await;
                let answer = self.change(|kept| kept.apply(batch));
                self.shared.lock.add_permits(1);
                return answer;
            }
            _ => {}
        }
        let _alone = self.alone().await;
        if matches!(self.defect, Defect::StaleCompares) {
            let mut known = locked(&self.known);
            if let other @ Ok(Applied::PositionDiffers | Applied::Quarantined) =
                known.of(&self.which).apply(batch)
            {
                return other;
            }
            return self.change(|kept| kept.apply_as_told(batch));
        }
        self.change(|kept| match self.defect {
            Defect::Apply(apply) => apply(kept, batch),
            _ => kept.apply(batch),
        })
    }

    async fn positions_of(&self, streams: &[StreamName]) -> Result<Vec<StreamPosition<S>>, StorageError> {
        if let Some(outage) = self.outage(streams) {
            return outage.places;
        }
        self.interruption()?;
        if matches!(self.defect, Defect::DroppedPlacesKeepsLock) {
            self.shared.lock.acquire().await.expect("open").forget();
            tokio::task::yield_now().await;
            self.shared.lock.add_permits(1);
        }
        let mut views = self.seen();
        let kept = views.of(&self.which);
        match self.defect {
            Defect::Places(places) => places(kept, streams),
            _ => Ok(streams.iter().map(|stream| kept.place(stream)).collect()),
        }
    }

    async fn positions(
        &self,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<(StreamName, S)>, StorageError> {
        self.interruption()?;
        let mut views = self.seen();
        let kept = views.of(&self.which);
        Ok(match self.defect {
            Defect::Positions(positions) => positions(kept, after, limit),
            _ => kept.after(after, limit),
        })
    }

    async fn quarantine(&self, poison: &QuarantinedCommit<S>) -> Result<(), StorageError> {
        if matches!(self.defect, Defect::CheckThenQuarantine) {
            let stands = self.change(|kept| kept.position(&poison.stream) == poison.position);
            tokio::task::yield_now().await;
            if stands {
                self.change(|kept| kept.quarantined.insert(poison.stream.clone(), poison.clone()));
            }
            return Ok(());
        }
        self.change(|kept| match self.defect {
            Defect::Quarantine(quarantine) => quarantine(kept, poison),
            _ => {
                kept.quarantine(poison);
                Ok(())
            }
        })
    }

    async fn quarantined(&self) -> Result<Vec<QuarantinedCommit<S>>, StorageError> {
        let views = self.seen();
        Ok(match self.defect {
            Defect::Quarantined(quarantined) => quarantined(&views, &self.which),
            _ => views.kept(&self.which).quarantined.into_values().collect(),
        })
    }

    async fn release(&self, stream: &StreamName) -> Result<bool, StorageError> {
        Ok(self.change(|kept| match self.defect {
            Defect::Release(release) => release(kept, stream),
            _ => kept.release(stream),
        }))
    }

    async fn skip(&self, skip: &SkippedCommits<S>) -> Result<bool, StorageError> {
        let stands = |kept: &mut Kept| kept.position(&skip.change.stream) == skip.change.from;
        match self.defect {
            Defect::TornSkip => {
                if !self.change(stands) {
                    return Ok(false);
                }
                self.change(|kept| kept.advance(std::slice::from_ref(&skip.change)));
                tokio::task::yield_now().await;
                self.change(|kept| kept.skip_as_told(skip));
                Ok(true)
            }
            Defect::CheckThenSkip => {
                if !self.change(stands) {
                    return Ok(false);
                }
                tokio::task::yield_now().await;
                self.change(|kept| kept.skip_as_told(skip));
                Ok(true)
            }
            Defect::Skip(way) => Ok(self.change(|kept| way(kept, skip))),
            _ => {
                let _alone = self.alone().await;
                Ok(self.change(|kept| kept.skip(skip)))
            }
        }
    }

    async fn skipped(&self) -> Result<Vec<SkippedCommits<S>>, StorageError> {
        let views = self.seen();
        Ok(match self.defect {
            Defect::Skipped(skipped) => skipped(&views, &self.which),
            _ => views.kept(&self.which).skipped,
        })
    }
}

impl VersionedStore for Wrong {
    async fn serving(&self) -> Result<u32, StorageError> {
        let views = if matches!(self.defect, Defect::ServingIsRemembered) {
            locked(&self.known).clone()
        } else {
            self.seen()
        };
        views
            .serving
            .get(&self.which.0)
            .copied()
            .ok_or_else(|| StorageError::new(ErrorKind::Corrupt, "none serves"))
    }

    async fn take_over(&self, catch_up: CatchUp<Self>) -> TakenOver {
        let alone = self.alone().await;
        let mut alone = Some(alone);
        let behind = {
            let mut views = locked(&self.shared.views);
            let serving = views.serving(&self.which);
            let serving = views.of(&serving).clone();
            let kept = views.of(&self.which);
            match self.defect {
                Defect::Behind(behind) => behind(kept, &serving),
                _ => kept.behind(&serving),
            }
        };
        match self.defect {
            Defect::CatchesUpWithoutLock => alone = None,
            Defect::ServesBeforeItCatchesUp => {
                locked(&self.shared.views).serving.insert(self.which.0.clone(), self.which.1);
                tokio::task::yield_now().await;
            }
            _ => {}
        }
        let is_needed = !behind.is_empty() || matches!(self.defect, Defect::CatchesUpWithNothing);
        let brought = if is_needed { catch_up(behind.clone()).await } else { Ok(Batch::new(Vec::new())) };
        let mut views = locked(&self.shared.views);
        let answer = match self.defect {
            Defect::TakeOver(way) => way(&mut views, &self.which, &behind, brought),
            _ => views.take_over(&self.which, &brought?),
        };
        drop(alone);
        answer
    }

    async fn retire(&self) -> Result<(), StorageError> {
        let is_hidden = locked(&self.shared.hidden).remove(&self.which);
        if is_hidden && matches!(self.defect, Defect::RetiresOnlyWithTable) {
            return Err(StorageError::new(ErrorKind::Refused, "no such table"));
        }
        let mut views = locked(&self.shared.views);
        match self.defect {
            Defect::Retire(retire) => retire(&mut views, &self.which),
            _ => views.retire(&self.which),
        }
    }

    async fn digest(&self) -> Result<ViewDigest, StorageError> {
        let mut views = self.seen();
        let kept = views.of(&self.which);
        Ok(match self.defect {
            Defect::Digest(digest) => digest(kept),
            _ => kept.digest(),
        })
    }
}
