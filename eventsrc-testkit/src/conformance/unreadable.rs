//! Events that cannot be decoded: the error names them, and no event is left out silently.

use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_core::{ErrorKind, EventStorage, StorageError};
use futures::TryStreamExt;

use super::backend::Backend;
use super::sample::{Sample, Unreadable};
use super::trial::{
    CommitOf, Handle, ReadEvent, SequenceOf, Trial, ensure_same_events, events_from, events_in, sequence,
};
use super::violation::{RuleResult, Violation, ensure, ensure_eq};

/// A read of an unreadable event is an error of kind `Corrupt`.
pub(super) async fn an_unreadable_event_is_a_corrupt_error<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&unreadable_at_five(on)).await?;
    ensure_corrupt(&read_to_error(&storage, None).await?.1)
}

/// The error of an unreadable event names the stream.
pub(super) async fn an_unreadable_event_names_its_stream<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&unreadable_at_five(on)).await?;
    let (_, error) = read_to_error(&storage, None).await?;
    ensure_eq!(error.stream(), Some("sample/a"), "the stream that the error names");
    Ok(())
}

/// The error of an unreadable event names its exact sequence, also inside a commit.
pub(super) async fn an_unreadable_event_names_its_sequence<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let commits = unreadable_at_five(on);
    storage.stores_all(&commits).await?;
    let (_, error) = read_to_error(&storage, None).await?;
    let sequence = commits[2].events().nth(1).map(|event| event.sequence().to_string());
    ensure_eq!(error.sequence(), sequence.as_deref(), "the sequence that the error names");
    Ok(())
}

/// The error of an unreadable event keeps its cause.
pub(super) async fn an_unreadable_event_keeps_its_cause<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&unreadable_at_five(on)).await?;
    let (_, error) = read_to_error(&storage, None).await?;
    ensure!(std::error::Error::source(&error).is_some(), "the error has no source: {error:?}");
    Ok(())
}

/// The commits before an unreadable event are delivered before the error.
pub(super) async fn events_before_an_unreadable_one_are_delivered<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let commits = unreadable_at_five(on);
    storage.stores_all(&commits).await?;
    let (events, _) = read_to_error(&storage, None).await?;
    ensure_same_events::<B>(&events, &events_from::<B>(&commits[..2], None))
}

/// A read that begins after an unreadable event succeeds.
pub(super) async fn events_after_an_unreadable_one_can_be_read<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let commits = unreadable_at_five(on);
    storage.stores_all(&commits).await?;
    storage.holds_from("a", commits[3].first, &commits).await
}

/// `latest` does not decode payloads.
pub(super) async fn latest_does_not_decode<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let commits = unreadable_at_five(on);
    storage.stores_all(&commits[..3]).await?;
    ensure_eq!(storage.latest("a").await?, Some(commits[2].head()), "latest");
    Ok(())
}

/// `recent` does not decode payloads.
pub(super) async fn recent_does_not_decode<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let commits = unreadable_at_five(on);
    storage.stores_all(&commits).await?;
    let newest_first: Vec<_> = commits.iter().rev().map(|commit| commit.head()).collect();
    ensure_eq!(storage.recent("a", 10).await?, newest_first, "recent");
    Ok(())
}

/// An unreadable event does not stop writers of its stream.
pub(super) async fn an_unreadable_event_does_not_stop_writers<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let commits = unreadable_at_five(on);
    storage.stores_all(&commits[..3]).await?;
    storage.stores(&commits[3]).await?;
    let (events, _) = read_to_error(&storage, None).await?;
    ensure_same_events::<B>(&events, &events_from::<B>(&commits[..2], None))?;
    storage.holds_from("a", commits[3].first, &commits).await
}

/// A put at the sequence of an unreadable commit is a conflict like any other.
pub(super) async fn a_put_that_meets_an_unreadable_commit_is_a_conflict<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&unreadable_at_five(on)).await?;
    storage.conflicts(&on.commit("a", 4, 1)).await.map(drop)
}

/// A second put of an unreadable commit is `Repeated`, because its id can be read.
pub(super) async fn a_second_put_of_an_unreadable_commit_is_repeated<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let commits = unreadable_at_five(on);
    storage.stores_all(&commits).await?;
    storage.repeats(&commits[2]).await
}

/// An unreadable event stops only the reads of its own stream.
pub(super) async fn an_unreadable_event_stops_its_own_stream_only<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&unreadable_at_five(on)).await?;
    storage.round_trips(&on.chain("b", [2, 1])).await?;
    ensure_corrupt(&read_to_error(&storage, Some(sequence(4))).await?.1)
}

/// A scan of an unreadable event is an error of kind `Corrupt` that names the event.
pub(super) async fn a_scan_names_an_unreadable_event<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let commits = unreadable_at_five(on);
    storage.stores_all(&commits).await?;
    storage.stores_all(&on.chain("b", [1, 1])).await?;
    let pages = storage.storage().scan(Segment::ALL).try_for_each(|_| std::future::ready(Ok(())));
    let Err(error) = pages.await else {
        return Err(Violation::new("a scan left out an unreadable event silently"));
    };
    ensure_corrupt(&error)?;
    let sequence = commits[2].events().nth(1).map(|event| event.sequence().to_string());
    ensure_eq!(error.stream(), Some("sample/a"), "the stream that the error names");
    ensure_eq!(error.sequence(), sequence.as_deref(), "the sequence that the error names");
    Ok(())
}

/// Returns commits of 2, 1, 3 and 2 events on stream `a`. The event at sequence 5, inside the third commit, is
/// unreadable.
fn unreadable_at_five<B: Backend>(on: &Trial<B>) -> Vec<CommitOf<B>> {
    let mut commits = on.chain("a", [2, 1]);
    let mut unreadable = on.draft("a", 4, 3);
    unreadable.payloads[1] = Sample::Unreadable(Unreadable);
    commits.extend([unreadable.into(), on.commit("a", 7, 2)]);
    commits
}

/// Returns the events that stream `a` delivers before its error, and the error.
async fn read_to_error<B: Backend>(
    storage: &Handle<B>,
    from: Option<SequenceOf<B>>,
) -> Result<(Vec<ReadEvent<B>>, StorageError), Violation> {
    let key = "a".into();
    let mut pages = storage.storage().events(&key, from);
    let mut events = Vec::new();
    loop {
        match pages.try_next().await {
            Ok(Some(page)) => events.extend(events_in::<B>(&page)),
            Ok(None) => return Err(Violation::new("a read left out an unreadable event silently")),
            Err(error) => return Ok((events, error)),
        }
    }
}

fn ensure_corrupt(error: &StorageError) -> RuleResult {
    ensure_eq!(error.kind(), ErrorKind::Corrupt, "the kind of {error:?}");
    Ok(())
}
