//! Environment of a rule of an event storage: a new location, unique commits, and reads that are compared.

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
use super::sample::{Sample, SampleKey};
use super::violation::{RuleResult, Violation, ensure_eq};

/// Sequence of a backend's storage.
pub(super) type SequenceOf<B> = <<B as Backend>::Storage as EventStorage>::Sequence;

/// Commit of a backend's storage.
pub(super) type CommitOf<B> = Arc<Commit<SampleKey, SequenceOf<B>, Sample>>;

/// Conflict of a backend's storage.
pub(super) type ConflictOf<B> = Conflict<SampleKey, SequenceOf<B>, Sample>;

/// Key of a stream, and its head.
pub(super) type HeadOf<B> = (SampleKey, Head<SequenceOf<B>>);

/// An event as it was read: its commit, and its index there.
pub(super) type ReadEvent<B> = (CommitOf<B>, usize);

/// Environment of one rule: a location of its own, and a source of unique commits.
pub(super) struct Trial<B: Backend> {
    backend: Arc<B>,
    location: B::Location,
    ids: Randomness,
    commits: AtomicU64,
}

impl<B: Backend> Trial<B> {
    /// Creates an environment with a new location.
    pub(super) async fn new(backend: Arc<B>) -> Self {
        let location = backend.create().await;
        Self { backend, location, ids: Randomness::seeded(1), commits: AtomicU64::new(0) }
    }

    /// Opens a new handle on the location.
    pub(super) async fn open(&self) -> Handle<B> {
        Handle(Arc::new(self.backend.open(&self.location).await))
    }

    /// Returns the capabilities that the backend declares.
    pub(super) fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    /// Returns a unique commit of `events` small events, starting at `number`. It names no previous commit.
    pub(super) fn commit(&self, key: impl Into<SampleKey>, number: u64, events: usize) -> CommitOf<B> {
        Arc::new(self.draft(key, number, events))
    }

    /// Returns a commit like [`commit`](Self::commit), to be changed before it is put.
    pub(super) fn draft(
        &self,
        key: impl Into<SampleKey>,
        number: u64,
        events: usize,
    ) -> Commit<SampleKey, SequenceOf<B>, Sample> {
        let count = self.commits.fetch_add(1, Ordering::Relaxed);
        // 2026-01-01 plus some microseconds.
        let time = Timestamp::from_microsecond(1_767_225_600_000_001 + count as i64 * 1_000_003)
            .expect("a time of this century is in range");
        let payloads =
            (0..events).map(|index| Sample::Text(format!("{number}+{index} of {count}"))).collect();
        Commit {
            key: key.into(),
            first: sequence::<SequenceOf<B>>(number),
            previous: None,
            time,
            metadata: Metadata::new(self.ids.commit_id(time)),
            payloads: Vec1::try_from_vec(payloads).expect("a commit has an event").into(),
        }
    }

    /// Returns a unique commit that directly follows `commit` and names it as its previous one.
    pub(super) fn after(&self, commit: &CommitOf<B>, events: usize) -> CommitOf<B> {
        let mut next = self.draft(&commit.key, commit.last().number() + 1, events);
        next.previous = Some(commit.metadata.commit_id);
        Arc::new(next)
    }

    /// Returns consecutive commits of these lengths, starting at the first sequence. Each names its previous one.
    pub(super) fn chain(
        &self,
        key: impl Into<SampleKey>,
        lengths: impl IntoIterator<Item = usize>,
    ) -> Vec<CommitOf<B>> {
        let key = key.into();
        let mut chain: Vec<CommitOf<B>> = Vec::new();
        for length in lengths {
            let next = match chain.last() {
                Some(last) => self.after(last, length),
                None => self.commit(&key, 1, length),
            };
            chain.push(next);
        }
        chain
    }
}

/// Returns the sequence of this number. If the type has zones, the zone differs from number to number.
pub(super) fn sequence<S: Sequence>(number: u64) -> S {
    S::from_parts(number, Zone(1 + (number % 3) as u16))
        .or_else(|| S::from_parts(number, Zone::default()))
        .expect("the number is in range")
}

/// Handle on a location. Its methods end the rule with a violation if the answer is not the expected one.
pub(super) struct Handle<B: Backend>(Arc<B::Storage>);

impl<B: Backend> Clone for Handle<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Backend> Handle<B> {
    /// Returns the storage.
    pub(super) fn storage(&self) -> &B::Storage {
        &self.0
    }

    /// Puts the commit and expects `Stored`.
    pub(super) async fn stores(&self, commit: &CommitOf<B>) -> RuleResult {
        match self.0.put(Arc::clone(commit)).await {
            Ok(Put::Stored) => Ok(()),
            other => Err(Violation::new(format!("{}: expected `Stored`, got {other:?}", describe(commit)))),
        }
    }

    /// Puts the commit and expects `Repeated` with its last sequence.
    pub(super) async fn repeats(&self, commit: &CommitOf<B>) -> RuleResult {
        match self.0.put(Arc::clone(commit)).await {
            Ok(Put::Repeated { last }) if last == commit.last() => Ok(()),
            other => Err(Violation::new(format!("{}: expected `Repeated`, got {other:?}", describe(commit)))),
        }
    }

    /// Puts the commit and expects `Stored` or `Repeated`.
    pub(super) async fn stores_or_repeats(&self, commit: &CommitOf<B>) -> RuleResult {
        match self.0.put(Arc::clone(commit)).await {
            Ok(Put::Stored) => Ok(()),
            Ok(Put::Repeated { last }) if last == commit.last() => Ok(()),
            other => Err(Violation::new(format!(
                "{}: expected `Stored` or `Repeated`, got {other:?}",
                describe(commit)
            ))),
        }
    }

    /// Puts the commits one after the other and expects `Stored` each time.
    pub(super) async fn stores_all(&self, commits: &[CommitOf<B>]) -> RuleResult {
        for commit in commits {
            self.stores(commit).await?;
        }
        Ok(())
    }

    /// Puts the commit and expects a conflict, which it returns.
    pub(super) async fn conflicts(&self, commit: &CommitOf<B>) -> Result<ConflictOf<B>, Violation> {
        match self.0.put(Arc::clone(commit)).await {
            Ok(Put::Conflict(conflict)) => Ok(conflict),
            other => Err(Violation::new(format!("{}: expected a conflict, got {other:?}", describe(commit)))),
        }
    }

    /// Puts the commit and expects an error of kind `Invalid`, which it returns.
    pub(super) async fn refuses(&self, commit: &CommitOf<B>) -> Result<StorageError, Violation> {
        self.fails(commit, ErrorKind::Invalid).await
    }

    /// Puts the commit and expects an error of kind `Diverged`, which it returns.
    pub(super) async fn diverges(&self, commit: &CommitOf<B>) -> Result<StorageError, Violation> {
        self.fails(commit, ErrorKind::Diverged).await
    }

    async fn fails(&self, commit: &CommitOf<B>, kind: ErrorKind) -> Result<StorageError, Violation> {
        match self.0.put(Arc::clone(commit)).await {
            Err(error) if error.kind() == kind => Ok(error),
            other => Err(Violation::new(format!(
                "{}: expected an error of kind `{kind:?}`, got {other:?}",
                describe(commit)
            ))),
        }
    }

    /// Returns the head of the stream, truncated to the microsecond.
    pub(super) async fn latest(
        &self,
        key: impl Into<SampleKey>,
    ) -> Result<Option<Head<SequenceOf<B>>>, Violation> {
        let head = self.0.latest(&key.into()).await?;
        Ok(head.map(with_truncated_time))
    }

    /// Returns the heads after the last `count` commits of the stream, truncated to the microsecond.
    pub(super) async fn recent(
        &self,
        key: impl Into<SampleKey>,
        count: usize,
    ) -> Result<Vec<Head<SequenceOf<B>>>, Violation> {
        let heads = self.0.recent(&key.into(), count).await?;
        Ok(heads.into_iter().map(with_truncated_time).collect())
    }

    /// Returns the events of the stream, starting at `from`.
    pub(super) async fn events(
        &self,
        key: impl Into<SampleKey>,
        from: Option<SequenceOf<B>>,
    ) -> Result<Vec<ReadEvent<B>>, Violation> {
        Ok(read_events::<B>(self.0.events(&key.into(), from)).await?)
    }

    /// Expects the stream to consist of these commits, by its events and its head.
    pub(super) async fn holds(&self, key: impl Into<SampleKey>, commits: &[CommitOf<B>]) -> RuleResult {
        let key = key.into();
        ensure_same_events::<B>(&self.events(&key, None).await?, &events_from::<B>(commits, None))?;
        let head = commits.last().map(|commit| commit.head());
        let head = head.map(with_truncated_time);
        ensure_eq!(self.latest(&key).await?, head, "latest of {key:?}");
        Ok(())
    }

    /// Puts the commits and expects to read them back.
    pub(super) async fn round_trips(&self, commits: &[CommitOf<B>]) -> RuleResult {
        self.stores_all(commits).await?;
        self.holds(&commits[0].key, commits).await
    }

    /// Expects a read from `from` to return the events of `commits` from there on.
    pub(super) async fn holds_from(
        &self,
        key: impl Into<SampleKey>,
        from: SequenceOf<B>,
        commits: &[CommitOf<B>],
    ) -> RuleResult {
        let (key, from) = (key.into(), Some(from));
        ensure_same_events::<B>(&self.events(&key, from).await?, &events_from::<B>(commits, from))
            .map_err(|violation| Violation::new(format!("events from {from:?}: {violation}")))
    }
}

impl<B: Backend<Storage: ScanStorage>> Handle<B> {
    /// Returns the events of a segment, in the order of delivery.
    pub(super) async fn scan(&self, segment: Segment) -> Result<Vec<ReadEvent<B>>, Violation> {
        Ok(read_events::<B>(self.0.scan(segment)).await?)
    }

    /// Returns the heads of a segment, in the order of delivery.
    pub(super) async fn heads(&self, segment: Segment) -> Result<Vec<HeadOf<B>>, Violation> {
        Ok(self.0.heads(segment).try_collect::<Vec<_>>().await?.concat())
    }
}

/// Returns the head with its time truncated to the microsecond, the precision of every backend.
pub(super) fn with_truncated_time<S>(head: Head<S>) -> Head<S> {
    Head { time: truncate_to_microseconds(head.time), ..head }
}

/// Collects the events of all pages.
pub(super) async fn read_events<B: Backend>(
    mut pages: BoxStream<'_, Result<Page<SampleKey, SequenceOf<B>, Sample>, StorageError>>,
) -> Result<Vec<ReadEvent<B>>, StorageError> {
    let mut events = Vec::new();
    while let Some(page) = pages.try_next().await? {
        events.extend(events_in::<B>(&page));
    }
    Ok(events)
}

/// Returns the events of one page.
pub(super) fn events_in<B: Backend>(page: &Page<SampleKey, SequenceOf<B>, Sample>) -> Vec<ReadEvent<B>> {
    page.parts().flat_map(|(commit, indices)| indices.map(move |index| (Arc::clone(commit), index))).collect()
}

/// Returns the events of `commits` at `from` or later.
pub(super) fn events_from<B: Backend>(
    commits: &[CommitOf<B>],
    from: Option<SequenceOf<B>>,
) -> Vec<ReadEvent<B>> {
    let of = |commit: &CommitOf<B>| {
        let events = commit.events().filter(|event| Some(event.sequence()) >= from);
        events.map(|event| (Arc::clone(commit), event.index)).collect::<Vec<_>>()
    };
    commits.iter().flat_map(of).collect()
}

/// Expects the same events, in the same commits and in the same order. The violation describes the first difference.
pub(super) fn ensure_same_events<B: Backend>(
    found: &[ReadEvent<B>],
    expected: &[ReadEvent<B>],
) -> RuleResult {
    // Each pair of commits is compared once, not once for each of its events.
    let mut compared = None;
    for (at, ((found, index), (expected, expected_index))) in found.iter().zip(expected).enumerate() {
        let pair = (Arc::as_ptr(found), Arc::as_ptr(expected));
        if compared != Some(pair) {
            ensure_same_commit::<B>(found, expected)?;
            compared = Some(pair);
        }
        ensure_eq!(index, expected_index, "the index of event {at} in {}", describe(expected));
    }
    if let Some((commit, index)) = expected.get(found.len()) {
        let left_out = expected.len() - found.len();
        return Err(Violation::new(format!(
            "{left_out} events are missing, from index {index} of {}",
            describe(commit)
        )));
    }
    if let Some((commit, index)) = found.get(expected.len()) {
        let more = found.len() - expected.len();
        return Err(Violation::new(format!(
            "{more} events too many, from index {index} of {}",
            describe(commit)
        )));
    }
    Ok(())
}

/// Expects the same commit, with its time truncated to the microsecond.
pub(super) fn ensure_same_commit<B: Backend>(found: &CommitOf<B>, expected: &CommitOf<B>) -> RuleResult {
    let commit = describe(expected);
    ensure_eq!(found.key, expected.key, "the key of {commit}");
    ensure_eq!(found.first, expected.first, "the first sequence of {commit}");
    ensure_eq!(found.previous, expected.previous, "the previous commit of {commit}");
    ensure_eq!(found.metadata, expected.metadata, "the metadata of {commit}");
    ensure_eq!(
        truncate_to_microseconds(found.time),
        truncate_to_microseconds(expected.time),
        "the time of {commit}"
    );
    ensure_eq!(found.len(), expected.len(), "the number of events in {commit}");
    for (index, (found, expected)) in found.payloads.iter().zip(&expected.payloads).enumerate() {
        ensure_eq!(found, expected, "the payload at index {index} of {commit}");
    }
    Ok(())
}

/// Runs the tasks concurrently and returns their results in the order of the tasks.
pub(super) async fn run_concurrently<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Result<Vec<T>, Violation> {
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(task.await.map_err(|panic| Violation::new(format!("a task panicked: {panic}")))?);
    }
    Ok(results)
}

fn describe<S: Sequence>(commit: &Commit<SampleKey, S, Sample>) -> String {
    format!(
        "commit {} of {} from {} of {:?}",
        commit.metadata.commit_id,
        commit.len(),
        commit.first,
        commit.key
    )
}
