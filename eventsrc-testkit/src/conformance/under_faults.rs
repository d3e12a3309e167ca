//! Rules for storages whose calls fail: callers that retry must reach the same state as without faults.
//!
//! [`Faulty`](crate::Faulty) wraps the backend. The rules do what the contract allows after an error: put the same
//! commit again, and continue a read where it ended. The stored state is then read without faults.

use std::sync::Arc;

use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::storage::Put;
use eventsrc_core::{ErrorKind, EventStorage, Sequence, StorageError};
use futures::TryStreamExt;

use super::backend::{Backend, SnapshotBackend};
use super::faulty_backend::{FaultyBackend, FaultySnapshotBackend};
use super::rule::{Rule, rules};
use super::sample::{Sample, SampleKey};
use super::snapshot_trial::{SnapshotOf, SnapshotTrial, at};
use super::suite::Suite;
use super::trial::{
    CommitOf, Handle, ReadEvent, Trial, ensure_same_events, events_from, events_in, read_events,
    run_concurrently, sequence,
};
use super::violation::{RuleResult, Violation, ensure, ensure_eq};

/// Returns the rules for an event storage under faults.
pub fn fault_suite<B: Backend>() -> Suite<FaultyBackend<B>> {
    Suite::new(fault_rules())
}

/// Returns the rules for a snapshot storage under faults.
pub fn snapshot_fault_suite<B: SnapshotBackend>() -> Suite<FaultySnapshotBackend<B>> {
    Suite::new(snapshot_fault_rules())
}

fn fault_rules<B: Backend>() -> Vec<Rule<FaultyBackend<B>>> {
    use super::under_faults as faults;
    rules! { Trial;
        "Any other error means unknown: the commit may or may not be stored. A put of the same commit again settles it."
            => faults [
            putting_again_settles_every_error,
            a_commit_whose_put_failed_is_stored_whole_or_not_at_all,
            a_writer_who_was_restarted_settles_its_puts,
            writers_of_many_streams_store_every_commit_once,
            racing_writers_store_every_commit_once,
        ];
        "`events` delivers events in order, without holes or repetitions, in pages of bounded size." => faults [
            a_reader_that_resumes_after_errors_reads_everything,
        ];
    }
}

fn snapshot_fault_rules<B: SnapshotBackend>() -> Vec<Rule<FaultySnapshotBackend<B>>> {
    use super::under_faults as faults;
    rules! { SnapshotTrial;
        "A put with mode `Cache` replaces the cached snapshot of the key, unless the cached one has a greater sequence. A \
         slow writer therefore never moves a cache backwards." => faults [
            the_cache_ends_at_the_greatest,
        ];
        "A put with mode `Epoch` stores the snapshot in addition to all others, and replaces an epoch of the same sequence."
            => faults [
            retried_epochs_are_all_kept,
        ];
    }
}

type Faults<B> = Trial<FaultyBackend<B>>;

/// A single writer that puts again after every error gets no conflict, and leaves no copy and no hole.
pub(super) async fn putting_again_settles_every_error<B: Backend>(on: &Faults<B>) -> RuleResult {
    let storage = on.open().await;
    let commits = on.chain("a", (0..60).map(|at| 1 + at % 4));
    for commit in &commits {
        stores_or_repeats(&storage, commit).await?;
    }
    ensure_stored(&storage, &commits).await
}

/// After an error, and before the put is retried, the commit is stored completely or not at all.
pub(super) async fn a_commit_whose_put_failed_is_stored_whole_or_not_at_all<B: Backend>(
    on: &Faults<B>,
) -> RuleResult {
    let storage = on.open().await;
    let commits = on.chain("a", [5; 50]);
    for (at, commit) in commits.iter().enumerate() {
        let failed = storage.storage().put(Arc::clone(commit)).await.is_err();
        let found = read_without_faults(&storage, &commit.key).await?.len();
        let (before, after) = (at * 5, at * 5 + 5);
        let whole = found == after || (failed && found == before);
        ensure!(whole, "{found} events are stored after a put between {before} and {after} events");
        stores_or_repeats(&storage, commit).await?;
    }
    ensure_stored(&storage, &commits).await
}

/// A writer that restarts after an error and knows only the commit can put it again.
pub(super) async fn a_writer_who_was_restarted_settles_its_puts<B: Backend>(on: &Faults<B>) -> RuleResult {
    let commits = on.chain("a", (0..30).map(|at| 1 + at % 3));
    for commit in &commits {
        loop {
            match on.open().await.storage().put(Arc::clone(commit)).await {
                Ok(Put::Stored | Put::Repeated { .. }) => break,
                Ok(Put::Conflict(_)) => return Err(conflicts_with_itself(commit)),
                Err(error) => ensure_injected(error)?,
            }
        }
    }
    ensure_stored(&on.open().await, &commits).await
}

/// Concurrent writers on separate streams store every commit once.
pub(super) async fn writers_of_many_streams_store_every_commit_once<B: Backend>(
    on: &Faults<B>,
) -> RuleResult {
    let storage = on.open().await;
    let chains: Vec<_> = (0..12).map(|writer| on.chain(&*format!("{writer}"), [1, 3, 2, 1, 5])).collect();
    let writers = chains.clone().into_iter().map(|chain| {
        let storage = storage.clone();
        async move {
            for commit in &chain {
                stores_or_repeats(&storage, commit).await?;
            }
            Ok(())
        }
    });
    run_concurrently(writers).await?.into_iter().collect::<RuleResult>()?;
    for chain in &chains {
        ensure_stored(&storage, chain).await?;
    }
    Ok(())
}

/// Writers that race on one stream, retry after errors and continue after conflicts store every commit once.
pub(super) async fn racing_writers_store_every_commit_once<B: Backend>(on: &Faults<B>) -> RuleResult {
    let mut writers = Vec::new();
    for writer in 0..6 {
        let storage = on.open().await;
        let drafts: Vec<_> = (0..8).map(|at| on.draft("a", 1, 1 + (writer + at) % 3)).collect();
        writers.push(async move {
            let mut stored = Vec::new();
            for mut draft in drafts {
                loop {
                    let head = retry(async || storage.storage().latest(&draft.key).await).await?;
                    draft.first = sequence(head.map_or(1, |head| head.sequence.number() + 1));
                    draft.previous = head.and_then(|head| head.commit_id);
                    let commit = Arc::new(draft.clone());
                    let put = retry(async || storage.storage().put(Arc::clone(&commit)).await).await?;
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
    for stored in run_concurrently(writers).await? {
        acknowledged.extend(stored?);
    }
    acknowledged.sort_by_key(|commit| commit.first);
    ensure_stored(&on.open().await, &acknowledged).await
}

/// A reader that resumes after the last event it received reads every event once.
pub(super) async fn a_reader_that_resumes_after_errors_reads_everything<B: Backend>(
    on: &Faults<B>,
) -> RuleResult {
    let storage = on.open().await;
    let text = Sample::of_length(on.capabilities().largest_commit.min(20_000));
    let mut long = on.chain("long", [2; 150]);
    for commit in &mut long {
        Arc::make_mut(commit).payloads[0] = text.clone();
    }
    let short = on.chain("short", [1, 3, 2]);
    for commit in long.iter().chain(&short) {
        stores_or_repeats(&storage, commit).await?;
    }
    for (stream, times) in [(&long, 5), (&short, 60)] {
        for _ in 0..times {
            let events = read_resuming(&storage, &stream[0].key).await?;
            ensure_same_events::<FaultyBackend<B>>(&events, &events_from::<FaultyBackend<B>>(stream, None))?;
        }
    }
    Ok(())
}

/// Returns the events of a stream. A read that fails is resumed after its last event.
async fn read_resuming<B: Backend>(
    storage: &Handle<FaultyBackend<B>>,
    key: &SampleKey,
) -> Result<Vec<ReadEvent<FaultyBackend<B>>>, Violation> {
    let mut events: Vec<ReadEvent<FaultyBackend<B>>> = Vec::new();
    loop {
        let last = events.last().and_then(|(commit, index)| Some(commit.events().nth(*index)?.sequence()));
        let mut pages = storage.storage().events(key, last.and_then(Sequence::least_greater));
        loop {
            match pages.try_next().await {
                Ok(Some(page)) => events.extend(events_in::<FaultyBackend<B>>(&page)),
                Ok(None) => return Ok(events),
                Err(error) => {
                    ensure_injected(error)?;
                    break;
                }
            }
        }
    }
}

/// Of concurrent puts to the cache that are retried after errors, the greatest is kept.
pub(super) async fn the_cache_ends_at_the_greatest<B: SnapshotBackend>(
    on: &SnapshotTrial<FaultySnapshotBackend<B>>,
) -> RuleResult {
    let storage = on.open().await;
    let puts = (1..=64u64).map(|turn| {
        let (storage, number) = (storage.clone(), 1 + turn * 37 % 64);
        async move {
            let (key, snapshot): (SampleKey, SnapshotOf<B>) = ("a".into(), at::<B>(number));
            retry(async || storage.storage().put(&key, 1, &snapshot, SnapshotMode::Cache).await).await
        }
    });
    run_concurrently(puts).await?.into_iter().collect::<RuleResult>()?;
    for which in [SnapshotAt::Latest, SnapshotAt::Earliest] {
        let kept = storage.storage().snapshots().get(&"a".into(), 1, which).await?;
        ensure_eq!(kept, Some(at::<B>(64)), "{which:?}");
    }
    Ok(())
}

/// Epochs whose puts are retried after errors are all kept, and retried gets find all of them.
pub(super) async fn retried_epochs_are_all_kept<B: SnapshotBackend>(
    on: &SnapshotTrial<FaultySnapshotBackend<B>>,
) -> RuleResult {
    let storage = on.open().await;
    let key = SampleKey::from("a");
    for number in 1..=60 {
        let snapshot = at::<B>(number);
        retry(async || storage.storage().put(&key, 1, &snapshot, SnapshotMode::Epoch).await).await?;
    }
    for number in 1..=60 {
        let which = SnapshotAt::Before(sequence(number + 1));
        let found = retry(async || storage.storage().get(&key, 1, which).await).await?;
        ensure_eq!(found, Some(at::<B>(number)), "{which:?}");
    }
    Ok(())
}

/// Retries a put until it is answered, and expects the commit to be stored. There is no other writer.
async fn stores_or_repeats<B: Backend>(
    storage: &Handle<FaultyBackend<B>>,
    commit: &CommitOf<B>,
) -> RuleResult {
    match retry(async || storage.storage().put(Arc::clone(commit)).await).await? {
        Put::Stored => Ok(()),
        Put::Repeated { last } => {
            ensure_eq!(last, commit.last(), "the last sequence of a repeated put");
            Ok(())
        }
        Put::Conflict(_) => Err(conflicts_with_itself(commit)),
    }
}

fn conflicts_with_itself<S: Sequence>(commit: &eventsrc_core::Commit<SampleKey, S, Sample>) -> Violation {
    let id = commit.metadata.commit_id;
    Violation::new(format!("the second put of commit {id} at {} is a conflict with itself", commit.first))
}

/// Retries a call until it succeeds. An error that was not injected is a violation.
async fn retry<T, F: Future<Output = Result<T, StorageError>>>(call: impl Fn() -> F) -> Result<T, Violation> {
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => ensure_injected(error)?,
        }
    }
}

fn ensure_injected(error: StorageError) -> RuleResult {
    let is_injected = error.kind() == ErrorKind::Unavailable && error.to_string().starts_with("injected");
    if is_injected { Ok(()) } else { Err(error.into()) }
}

/// Expects the stream to hold exactly these commits, as read without faults.
async fn ensure_stored<B: Backend>(
    storage: &Handle<FaultyBackend<B>>,
    commits: &[CommitOf<B>],
) -> RuleResult {
    let found = read_without_faults(storage, &commits[0].key).await?;
    ensure_same_events::<FaultyBackend<B>>(&found, &events_from::<FaultyBackend<B>>(commits, None))
}

async fn read_without_faults<B: Backend>(
    storage: &Handle<FaultyBackend<B>>,
    key: &SampleKey,
) -> Result<Vec<ReadEvent<FaultyBackend<B>>>, Violation> {
    Ok(read_events::<FaultyBackend<B>>(storage.storage().storage().events(key, None)).await?)
}
