//! What a rule works with: a place of its own, commits to put there, and reads that are compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eventsrc_core::backend::truncate_to_microseconds;
use eventsrc_core::clock::Randomness;
use eventsrc_core::commit::Vec1;
use eventsrc_core::storage::Page;
use eventsrc_core::storage::{Conflict, Put, ScanStorage, Segment};
use eventsrc_core::stream::Zone;
use eventsrc_core::{Commit, ErrorKind, EventStorage, Head, Metadata, Sequence, StorageError, Timestamp};
use futures::TryStreamExt;
use futures::stream::BoxStream;

use super::backend::{Backend, Capabilities};
use super::report::{RuleResult, Violation, ensure_eq};
use super::sample::{Sample, SampleKey};

/// The sequence of a backend's storage.
pub type SequenceOf<B> = <<B as Backend>::Storage as EventStorage>::Sequence;

/// A commit for a backend's storage.
pub type CommitOf<B> = Arc<Commit<SampleKey, SequenceOf<B>, Sample>>;

/// A conflict in a backend's storage.
pub type ConflictOf<B> = Conflict<SampleKey, SequenceOf<B>, Sample>;

/// A stream and its head.
pub type HeadOf<B> = (SampleKey, Head<SequenceOf<B>>);

/// An event that was read: its commit, and its place there.
pub type Seen<B> = (CommitOf<B>, usize);

/// A place of its own for one rule, and a source of commits that are all different.
pub struct Trial<B: Backend> {
    backend: Arc<B>,
    place: B::Location,
    ids: Randomness,
    commits: AtomicU64,
}

impl<B: Backend> Trial<B> {
    /// A trial at a new place.
    pub async fn new(backend: Arc<B>) -> Self {
        let place = backend.create().await;
        Self { backend, place, ids: Randomness::seeded(1), commits: AtomicU64::new(0) }
    }

    /// A new handle on the place.
    pub async fn open(&self) -> Handle<B> {
        Handle(Arc::new(self.backend.open(&self.place).await))
    }

    /// What the backend declares.
    pub fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    /// A commit that is like no other, of `events` small events from `number` on.
    pub fn commit(&self, key: impl Into<SampleKey>, number: u64, events: usize) -> CommitOf<B> {
        Arc::new(self.draft(key, number, events))
    }

    /// The same, to be changed before it is put.
    pub fn draft(
        &self,
        key: impl Into<SampleKey>,
        number: u64,
        events: usize,
    ) -> Commit<SampleKey, SequenceOf<B>, Sample> {
        let made = self.commits.fetch_add(1, Ordering::Relaxed);
        // 2026-01-01 and some microseconds.
        let time = Timestamp::from_microsecond(1_767_225_600_000_001 + made as i64 * 1_000_003)
            .expect("a time of this century is in range");
        let payloads = (0..events).map(|place| Sample::Text(format!("{number}+{place} of {made}"))).collect();
        Commit {
            key: key.into(),
            first: sequence::<SequenceOf<B>>(number),
            time,
            metadata: Metadata::new(self.ids.commit_id(time)),
            payloads: Vec1::try_from_vec(payloads).expect("a commit has an event"),
        }
    }

    /// Commits of these lengths, one after the other from the first sequence.
    pub fn chain(
        &self,
        key: impl Into<SampleKey>,
        lengths: impl IntoIterator<Item = usize>,
    ) -> Vec<CommitOf<B>> {
        let key = key.into();
        let mut number = 1;
        let next = |length| {
            let commit = self.commit(&key, number, length);
            number += length as u64;
            commit
        };
        lengths.into_iter().map(next).collect()
    }
}

/// The sequence of this number: where the type knows zones, in one that changes from number to number.
pub(super) fn sequence<S: Sequence>(number: u64) -> S {
    S::from_parts(number, Zone(1 + (number % 3) as u16))
        .or_else(|| S::from_parts(number, Zone::default()))
        .expect("the number is in range")
}

/// A handle on a place. Its calls end the rule with a violation where something else than expected comes back.
pub struct Handle<B: Backend>(Arc<B::Storage>);

impl<B: Backend> Clone for Handle<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Backend> Handle<B> {
    /// The storage itself.
    pub fn storage(&self) -> &B::Storage {
        &self.0
    }

    /// Puts, and expects the commit to be stored.
    pub async fn stores(&self, commit: &CommitOf<B>) -> RuleResult {
        match self.0.put(Arc::clone(commit)).await {
            Ok(Put::Stored) => Ok(()),
            other => Err(Violation::new(format!("{} was to be stored: {other:?}", tell(commit)))),
        }
    }

    /// Puts, and expects the commit to have been stored before.
    pub async fn repeats(&self, commit: &CommitOf<B>) -> RuleResult {
        match self.0.put(Arc::clone(commit)).await {
            Ok(Put::Repeated { last }) if last == commit.last() => Ok(()),
            other => Err(Violation::new(format!("{} was to be repeated: {other:?}", tell(commit)))),
        }
    }

    /// Puts, and expects the commit to be stored, now or before.
    pub async fn settles(&self, commit: &CommitOf<B>) -> RuleResult {
        match self.0.put(Arc::clone(commit)).await {
            Ok(Put::Stored) => Ok(()),
            Ok(Put::Repeated { last }) if last == commit.last() => Ok(()),
            other => Err(Violation::new(format!("{} was to be settled: {other:?}", tell(commit)))),
        }
    }

    /// Puts one after the other, and expects all to be stored.
    pub async fn stores_all(&self, commits: &[CommitOf<B>]) -> RuleResult {
        for commit in commits {
            self.stores(commit).await?;
        }
        Ok(())
    }

    /// Puts, and expects a conflict.
    pub async fn conflicts(&self, commit: &CommitOf<B>) -> Result<ConflictOf<B>, Violation> {
        match self.0.put(Arc::clone(commit)).await {
            Ok(Put::Conflict(conflict)) => Ok(conflict),
            other => Err(Violation::new(format!("{} was to be a conflict: {other:?}", tell(commit)))),
        }
    }

    /// Puts, and expects an error of kind `Invalid` that names the stream and the sequence.
    pub async fn refuses(&self, commit: &CommitOf<B>) -> Result<StorageError, Violation> {
        match self.0.put(Arc::clone(commit)).await {
            Err(error) if error.kind() == ErrorKind::Invalid => Ok(error),
            other => Err(Violation::new(format!("{} was to be refused as invalid: {other:?}", tell(commit)))),
        }
    }

    /// The head of the stream, to the microsecond.
    pub async fn latest(&self, key: impl Into<SampleKey>) -> Result<Option<Head<SequenceOf<B>>>, Violation> {
        let head = self.0.latest(&key.into()).await?;
        Ok(head.map(to_the_microsecond))
    }

    /// The events of the stream from `from` on.
    pub async fn events(
        &self,
        key: impl Into<SampleKey>,
        from: Option<SequenceOf<B>>,
    ) -> Result<Vec<Seen<B>>, Violation> {
        Ok(seen::<B>(self.0.events(&key.into(), from)).await?)
    }

    /// Expects the stream to be these commits, as read whole and as its head says.
    pub async fn holds(&self, key: impl Into<SampleKey>, commits: &[CommitOf<B>]) -> RuleResult {
        let key = key.into();
        same::<B>(&self.events(&key, None).await?, &events_from::<B>(commits, None))?;
        let head = commits.last().map(|commit| commit.head());
        let head = head.map(to_the_microsecond);
        ensure_eq!(self.latest(&key).await?, head, "latest of {key:?}");
        Ok(())
    }

    /// Puts the commits and expects to read them back.
    pub async fn keeps(&self, commits: &[CommitOf<B>]) -> RuleResult {
        self.stores_all(commits).await?;
        self.holds(&commits[0].key, commits).await
    }

    /// Expects to read what lies in `commits` from `from` on.
    pub async fn holds_from(
        &self,
        key: impl Into<SampleKey>,
        from: SequenceOf<B>,
        commits: &[CommitOf<B>],
    ) -> RuleResult {
        let (key, from) = (key.into(), Some(from));
        same::<B>(&self.events(&key, from).await?, &events_from::<B>(commits, from))
            .map_err(|violation| Violation::new(format!("events from {from:?}: {violation}")))
    }
}

impl<B: Backend<Storage: ScanStorage>> Handle<B> {
    /// The events of a segment, in the order in which they come.
    pub async fn scan(&self, segment: Segment) -> Result<Vec<Seen<B>>, Violation> {
        Ok(seen::<B>(self.0.scan(segment)).await?)
    }

    /// The heads of a segment, in the order in which they come.
    pub async fn heads(&self, segment: Segment) -> Result<Vec<HeadOf<B>>, Violation> {
        Ok(self.0.heads(segment).try_collect::<Vec<_>>().await?.concat())
    }
}

/// The same head, with its time as precise as every backend keeps it.
pub(super) fn to_the_microsecond<S>(head: Head<S>) -> Head<S> {
    Head { time: truncate_to_microseconds(head.time), ..head }
}

/// The events of all pages.
pub(super) async fn seen<B: Backend>(
    mut pages: BoxStream<'_, Result<Page<SampleKey, SequenceOf<B>, Sample>, StorageError>>,
) -> Result<Vec<Seen<B>>, StorageError> {
    let mut events = Vec::new();
    while let Some(page) = pages.try_next().await? {
        events.extend(events_in::<B>(&page));
    }
    Ok(events)
}

/// The events of one page.
pub(super) fn events_in<B: Backend>(page: &Page<SampleKey, SequenceOf<B>, Sample>) -> Vec<Seen<B>> {
    page.parts().flat_map(|(commit, places)| places.map(move |place| (Arc::clone(commit), place))).collect()
}

/// The events that lie in `commits` at `from` or after it.
pub(super) fn events_from<B: Backend>(commits: &[CommitOf<B>], from: Option<SequenceOf<B>>) -> Vec<Seen<B>> {
    let of = |commit: &CommitOf<B>| {
        let events = commit.events().filter(|event| Some(event.sequence()) >= from);
        events.map(|event| (Arc::clone(commit), event.index)).collect::<Vec<_>>()
    };
    commits.iter().flat_map(of).collect()
}

/// Expects the same events, in the same commits, in the same order; the first difference is told.
pub(super) fn same<B: Backend>(found: &[Seen<B>], expected: &[Seen<B>]) -> RuleResult {
    // Events of one commit are compared as parts of one comparison of the commits.
    let mut compared = None;
    for (at, ((found, place), (expected, expected_place))) in found.iter().zip(expected).enumerate() {
        let pair = (Arc::as_ptr(found), Arc::as_ptr(expected));
        if compared != Some(pair) {
            same_commit::<B>(found, expected)?;
            compared = Some(pair);
        }
        ensure_eq!(place, expected_place, "event {at}, the place in {}", tell(expected));
    }
    if let Some((commit, place)) = expected.get(found.len()) {
        let left_out = expected.len() - found.len();
        return Err(Violation::new(format!(
            "{left_out} events are missing, from place {place} of {}",
            tell(commit)
        )));
    }
    if let Some((commit, place)) = found.get(expected.len()) {
        let more = found.len() - expected.len();
        return Err(Violation::new(format!(
            "{more} events too many, from place {place} of {}",
            tell(commit)
        )));
    }
    Ok(())
}

/// Expects the same commit, with its time to the microsecond.
pub(super) fn same_commit<B: Backend>(found: &CommitOf<B>, expected: &CommitOf<B>) -> RuleResult {
    let what = tell(expected);
    ensure_eq!(found.key, expected.key, "the key of {what}");
    ensure_eq!(found.first, expected.first, "the first sequence of {what}");
    ensure_eq!(found.metadata, expected.metadata, "the metadata of {what}");
    ensure_eq!(
        truncate_to_microseconds(found.time),
        truncate_to_microseconds(expected.time),
        "the time of {what}"
    );
    ensure_eq!(found.len(), expected.len(), "the number of events in {what}");
    for (place, (found, expected)) in found.payloads.iter().zip(&expected.payloads).enumerate() {
        ensure_eq!(found, expected, "the payload at place {place} of {what}");
    }
    Ok(())
}

/// Runs the tasks side by side and gives what each came to, in the order given.
pub(super) async fn together<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Result<Vec<T>, Violation> {
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(task.await.map_err(|panic| Violation::new(format!("a task panicked: {panic}")))?);
    }
    Ok(results)
}

fn tell<S: Sequence>(commit: &Commit<SampleKey, S, Sample>) -> String {
    format!(
        "commit {} of {} from {} of {:?}",
        commit.metadata.commit_id,
        commit.len(),
        commit.first,
        commit.key
    )
}
