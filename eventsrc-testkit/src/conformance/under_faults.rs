//! What holds when calls fail: callers that try again end where they would have ended without faults.
//!
//! The backend is wrapped in [`Faulty`], and the rules do what the contract allows on an error: put the same commit again,
//! read on from where it broke off. What was left behind is then read without faults.

use std::sync::Arc;

use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::storage::Put;
use eventsrc_core::{ErrorKind, EventStorage, Sequence, StorageError};
use futures::TryStreamExt;

use super::backend::{Backend, Capabilities, SnapshotBackend, SnapshotCapabilities};
use super::contract::rules;
use super::report::{RuleResult, Suite, Violation, ensure, ensure_eq};
use super::sample::{Sample, SampleKey};
use super::snapshot_trial::{SnapshotOf, SnapshotTrial, at};
use super::trial::{CommitOf, Handle, Seen, Trial, events_from, events_in, same, sequence, together};
use crate::faulty::{FaultSource, Faulty, FaultySnapshots};

/// A backend whose storages fail now and then.
///
/// All handles draw from one source, so the faults of a whole suite come from one seed.
#[derive(Debug)]
pub struct FaultyBackend<B> {
    backend: Arc<B>,
    source: Arc<FaultSource>,
}

impl<B> FaultyBackend<B> {
    /// `backend` with faults from `source`.
    pub fn new(backend: Arc<B>, source: Arc<FaultSource>) -> Self {
        Self { backend, source }
    }
}

impl<B: Backend> Backend for FaultyBackend<B> {
    type Storage = Faulty<B::Storage>;
    type Location = B::Location;

    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    async fn create(&self) -> Self::Location {
        self.backend.create().await
    }

    async fn open(&self, place: &Self::Location) -> Self::Storage {
        Faulty::with(self.backend.open(place).await, Arc::clone(&self.source))
    }
}

/// A snapshot backend whose storages fail now and then.
#[derive(Debug)]
pub struct FaultySnapshotBackend<B> {
    backend: Arc<B>,
    source: Arc<FaultSource>,
}

impl<B> FaultySnapshotBackend<B> {
    /// `backend` with faults from `source`.
    pub fn new(backend: Arc<B>, source: Arc<FaultSource>) -> Self {
        Self { backend, source }
    }
}

impl<B: SnapshotBackend> SnapshotBackend for FaultySnapshotBackend<B> {
    type Storage = FaultySnapshots<B::Storage>;
    type Location = B::Location;

    fn capabilities(&self) -> SnapshotCapabilities {
        self.backend.capabilities()
    }

    async fn create(&self) -> Self::Location {
        self.backend.create().await
    }

    async fn open(&self, place: &Self::Location, name: &str) -> Self::Storage {
        FaultySnapshots::with(self.backend.open(place, name).await, Arc::clone(&self.source))
    }
}

/// The rules for an event storage that fails now and then.
pub fn fault_suite<B: Backend>() -> Suite<FaultyBackend<B>> {
    Suite::new(fault_rules())
}

/// The rules for a snapshot storage that fails now and then.
pub fn snapshot_fault_suite<B: SnapshotBackend>() -> Suite<FaultySnapshotBackend<B>> {
    Suite::new(snapshot_fault_rules())
}

fn fault_rules<B: Backend>() -> Vec<super::Rule<FaultyBackend<B>>> {
    use super::under_faults as faults;
    rules! { Trial;
        "An `Err` from a put means unknown: it may be stored. Putting the same commit again settles it." => faults [
            putting_again_settles_every_error,
            a_commit_whose_put_failed_is_stored_whole_or_not_at_all,
            a_writer_who_was_restarted_settles_its_puts,
            writers_of_many_streams_lose_and_repeat_nothing,
            racing_writers_lose_and_repeat_nothing,
        ];
        "`events` are in order, without holes or repetitions, in pages of a bounded size." => faults [
            a_reader_who_reads_on_after_errors_reads_everything,
        ];
    }
}

fn snapshot_fault_rules<B: SnapshotBackend>() -> Vec<super::Rule<FaultySnapshotBackend<B>>> {
    use super::under_faults as faults;
    rules! { SnapshotTrial;
        "A put with mode `Cache` replaces the cached snapshot of the key unless that one has a greater sequence: a slow \
         writer never sets a cache back." => faults [
            the_cache_ends_at_the_greatest,
        ];
        "A put with mode `Epoch` keeps the snapshot beside all others; at a sequence that has one already, it replaces it." => faults [
            epochs_put_again_are_all_kept,
        ];
    }
}

type Faults<B> = Trial<FaultyBackend<B>>;

/// A writer who puts again on every error is alone in the end as it was before: no conflict, no copy, no hole.
pub async fn putting_again_settles_every_error<B: Backend>(on: &Faults<B>) -> RuleResult {
    let storage = on.open().await;
    let commits = on.chain("a", (0..60).map(|at| 1 + at % 4));
    for commit in &commits {
        settles(&storage, commit).await?;
    }
    leaves(&storage, &commits).await
}

/// After an error, and before anything is put again, the commit is there whole or not at all.
pub async fn a_commit_whose_put_failed_is_stored_whole_or_not_at_all<B: Backend>(
    on: &Faults<B>,
) -> RuleResult {
    let storage = on.open().await;
    let commits = on.chain("a", [5; 50]);
    for (at, commit) in commits.iter().enumerate() {
        let failed = storage.storage().put(Arc::clone(commit)).await.is_err();
        let found = without_faults(&storage, &commit.key).await?.len();
        let (before, after) = (at * 5, at * 5 + 5);
        let whole = found == after || (failed && found == before);
        ensure!(whole, "{found} events after a put that would lead from {before} to {after}");
        settles(&storage, commit).await?;
    }
    leaves(&storage, &commits).await
}

/// A writer who comes back after an error, with no more than the commit, settles it.
pub async fn a_writer_who_was_restarted_settles_its_puts<B: Backend>(on: &Faults<B>) -> RuleResult {
    let commits = on.chain("a", (0..30).map(|at| 1 + at % 3));
    for commit in &commits {
        loop {
            match on.open().await.storage().put(Arc::clone(commit)).await {
                Ok(Put::Stored | Put::Repeated { .. }) => break,
                Ok(Put::Conflict(_)) => return Err(met_itself(commit)),
                Err(error) => injected(error)?,
            }
        }
    }
    leaves(&on.open().await, &commits).await
}

/// Writers side by side on streams of their own store every commit once.
pub async fn writers_of_many_streams_lose_and_repeat_nothing<B: Backend>(on: &Faults<B>) -> RuleResult {
    let storage = on.open().await;
    let chains: Vec<_> = (0..12).map(|writer| on.chain(&*format!("{writer}"), [1, 3, 2, 1, 5])).collect();
    let writers = chains.clone().into_iter().map(|chain| {
        let storage = storage.clone();
        async move {
            for commit in &chain {
                settles(&storage, commit).await?;
            }
            Ok(())
        }
    });
    together(writers).await?.into_iter().collect::<RuleResult>()?;
    for chain in &chains {
        leaves(&storage, chain).await?;
    }
    Ok(())
}

/// Writers who race on one stream, put again on errors, and go on after conflicts store every commit once.
pub async fn racing_writers_lose_and_repeat_nothing<B: Backend>(on: &Faults<B>) -> RuleResult {
    let mut writers = Vec::new();
    for writer in 0..6 {
        let storage = on.open().await;
        let drafts: Vec<_> = (0..8).map(|at| on.draft("a", 1, 1 + (writer + at) % 3)).collect();
        writers.push(async move {
            let mut stored = Vec::new();
            for mut draft in drafts {
                loop {
                    let head = again(async || storage.storage().latest(&draft.key).await).await?;
                    draft.first = sequence(head.map_or(1, |head| head.sequence.number() + 1));
                    let commit = Arc::new(draft.clone());
                    let put = again(async || storage.storage().put(Arc::clone(&commit)).await).await?;
                    if let Put::Stored | Put::Repeated { .. } = put {
                        stored.push(commit);
                        break;
                    }
                }
            }
            Ok::<_, Violation>(stored)
        });
    }
    let mut acknowledged = Vec::new();
    for stored in together(writers).await? {
        acknowledged.extend(stored?);
    }
    acknowledged.sort_by_key(|commit| commit.first);
    leaves(&on.open().await, &acknowledged).await
}

/// A reader who goes on right after the last event it got reads every event once.
pub async fn a_reader_who_reads_on_after_errors_reads_everything<B: Backend>(on: &Faults<B>) -> RuleResult {
    let storage = on.open().await;
    let text = Sample::of_length(on.capabilities().largest_commit.min(20_000));
    let mut long = on.chain("long", [2; 150]);
    for commit in &mut long {
        Arc::make_mut(commit).payloads[0] = text.clone();
    }
    let short = on.chain("short", [1, 3, 2]);
    for commit in long.iter().chain(&short) {
        settles(&storage, commit).await?;
    }
    for (stream, times) in [(&long, 5), (&short, 60)] {
        for _ in 0..times {
            let events = read_on(&storage, &stream[0].key).await?;
            same::<FaultyBackend<B>>(&events, &events_from::<FaultyBackend<B>>(stream, None))?;
        }
    }
    Ok(())
}

/// The events of a stream, read on from where a read broke off until one comes to its end.
async fn read_on<B: Backend>(
    storage: &Handle<FaultyBackend<B>>,
    key: &SampleKey,
) -> Result<Vec<Seen<FaultyBackend<B>>>, Violation> {
    let mut events: Vec<Seen<FaultyBackend<B>>> = Vec::new();
    loop {
        let last = events.last().and_then(|(commit, place)| Some(commit.events().nth(*place)?.sequence()));
        let mut pages = storage.storage().events(key, last.and_then(Sequence::least_greater));
        loop {
            match pages.try_next().await {
                Ok(Some(page)) => events.extend(events_in::<FaultyBackend<B>>(&page)),
                Ok(None) => return Ok(events),
                Err(error) => {
                    injected(error)?;
                    break;
                }
            }
        }
    }
}

/// Of many that cache at once, and again on errors, the greatest is kept.
pub async fn the_cache_ends_at_the_greatest<B: SnapshotBackend>(
    on: &SnapshotTrial<FaultySnapshotBackend<B>>,
) -> RuleResult {
    let storage = on.open().await;
    let puts = (1..=64u64).map(|turn| {
        let (storage, number) = (storage.clone(), 1 + turn * 37 % 64);
        async move {
            let (key, snapshot): (SampleKey, SnapshotOf<B>) = ("a".into(), at::<B>(number));
            again(async || storage.storage().put(&key, 1, &snapshot, SnapshotMode::Cache).await).await
        }
    });
    together(puts).await?.into_iter().collect::<RuleResult>()?;
    for which in [SnapshotAt::Latest, SnapshotAt::Earliest] {
        let kept = storage.storage().snapshots().get(&"a".into(), 1, which).await?;
        ensure_eq!(kept, Some(at::<B>(64)), "{which:?}");
    }
    Ok(())
}

/// Epochs that are put again on errors are all kept, and got again on errors they are all found.
pub async fn epochs_put_again_are_all_kept<B: SnapshotBackend>(
    on: &SnapshotTrial<FaultySnapshotBackend<B>>,
) -> RuleResult {
    let storage = on.open().await;
    let key = SampleKey::from("a");
    for number in 1..=60 {
        let snapshot = at::<B>(number);
        again(async || storage.storage().put(&key, 1, &snapshot, SnapshotMode::Epoch).await).await?;
    }
    for number in 1..=60 {
        let which = SnapshotAt::Before(sequence(number + 1));
        let found = again(async || storage.storage().get(&key, 1, which).await).await?;
        ensure_eq!(found, Some(at::<B>(number)), "{which:?}");
    }
    Ok(())
}

/// Puts until there is an answer, and expects the commit to be stored: nobody else writes.
async fn settles<B: Backend>(storage: &Handle<FaultyBackend<B>>, commit: &CommitOf<B>) -> RuleResult {
    match again(async || storage.storage().put(Arc::clone(commit)).await).await? {
        Put::Stored => Ok(()),
        Put::Repeated { last } => {
            ensure_eq!(last, commit.last(), "the last sequence of a put again");
            Ok(())
        }
        Put::Conflict(_) => Err(met_itself(commit)),
    }
}

fn met_itself<S: Sequence>(commit: &eventsrc_core::Commit<SampleKey, S, Sample>) -> Violation {
    let id = commit.metadata.commit_id;
    Violation::new(format!("commit {id} at {} was put again and met itself as a conflict", commit.first))
}

/// Calls until there is an answer. An error that was not injected is a violation.
async fn again<T, F: Future<Output = Result<T, StorageError>>>(call: impl Fn() -> F) -> Result<T, Violation> {
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => injected(error)?,
        }
    }
}

fn injected(error: StorageError) -> RuleResult {
    let injected = error.kind() == ErrorKind::Unavailable && error.to_string().starts_with("injected");
    if injected { Ok(()) } else { Err(error.into()) }
}

/// Expects the stream to be these commits, as read without faults.
async fn leaves<B: Backend>(storage: &Handle<FaultyBackend<B>>, commits: &[CommitOf<B>]) -> RuleResult {
    let found = without_faults(storage, &commits[0].key).await?;
    same::<FaultyBackend<B>>(&found, &events_from::<FaultyBackend<B>>(commits, None))
}

async fn without_faults<B: Backend>(
    storage: &Handle<FaultyBackend<B>>,
    key: &SampleKey,
) -> Result<Vec<Seen<FaultyBackend<B>>>, Violation> {
    Ok(super::trial::seen::<FaultyBackend<B>>(storage.storage().storage().events(key, None)).await?)
}
