//! What a rule about views works with: a place of its own, commits to apply there, and what has to come of them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eventsrc_core::backend::truncate_to_microseconds;
use eventsrc_core::clock::Randomness;
use eventsrc_core::commit::Vec1;
use eventsrc_core::view::{
    Applied, Batch, CommitRun, PositionChange, QuarantinedCommit, SkippedCommits, StreamPosition, ViewStore,
};
use eventsrc_core::{Commit, Metadata, StorageError, StreamName, Timestamp, ViewDefinition};

use super::super::report::{RuleResult, Violation, ensure, ensure_eq};
use super::super::sample::SampleKey;
use super::super::trial::sequence;
use super::backend::{ViewBackend, ViewCapabilities, ViewRows, ViewSequenceOf};
use super::sample::ViewSample;

/// A commit for a backend's views.
pub type ViewCommitOf<B> = Arc<Commit<SampleKey, ViewSequenceOf<B>, ViewSample>>;

/// Some next commits of one stream.
pub type RunOf<B> = CommitRun<SampleKey, ViewSequenceOf<B>, ViewSample>;

/// A place of its own for one rule, and a source of commits that are all different.
pub struct ViewTrial<B: ViewBackend> {
    backend: Arc<B>,
    place: B::Location,
    ids: Randomness,
    commits: AtomicU64,
}

impl<B: ViewBackend> ViewTrial<B> {
    /// A trial at a new place.
    pub async fn new(backend: Arc<B>) -> Self {
        let place = backend.create().await;
        Self { backend, place, ids: Randomness::seeded(1), commits: AtomicU64::new(0) }
    }

    /// A new handle on the view that most rules use.
    pub async fn open(&self) -> ViewHandle<B> {
        self.open_version(1).await
    }

    /// A new handle on this version of the view that most rules use.
    pub async fn open_version(&self, version: u32) -> ViewHandle<B> {
        self.open_view("ledger", version).await
    }

    /// A new handle on this version of the view called `name`.
    pub async fn open_view(&self, name: &str, version: u32) -> ViewHandle<B> {
        let definition = ViewDefinition::new(name, ["sample", "other"]).expect("the name is well-formed");
        let store = self.backend.open(&self.place, &definition.at_version(version)).await;
        ViewHandle { backend: Arc::clone(&self.backend), store: Arc::new(store) }
    }

    /// What the backend declares.
    pub fn capabilities(&self) -> ViewCapabilities {
        self.backend.capabilities()
    }

    /// The backend, and the place that it made.
    pub fn place(&self) -> (&B, &B::Location) {
        (&self.backend, &self.place)
    }

    /// A commit that is like no other, of these events from `number` on.
    pub fn commit(
        &self,
        key: impl Into<SampleKey>,
        number: u64,
        payloads: impl IntoIterator<Item = ViewSample>,
    ) -> ViewCommitOf<B> {
        let time = self.time();
        Arc::new(Commit {
            key: key.into(),
            first: sequence(number),
            time,
            metadata: Metadata::new(self.ids.commit_id(time)),
            payloads: Vec1::try_from_vec(payloads.into_iter().collect()).expect("a commit has an event"),
        })
    }

    /// Commits of these lengths that are written, one after the other from the first sequence.
    pub fn chain(
        &self,
        key: impl Into<SampleKey>,
        lengths: impl IntoIterator<Item = usize>,
    ) -> Vec<ViewCommitOf<B>> {
        self.chain_of(key, lengths.into_iter().map(|length| vec![ViewSample::Write; length]))
    }

    /// Commits of these events, one after the other from the first sequence.
    pub fn chain_of(
        &self,
        key: impl Into<SampleKey>,
        commits: impl IntoIterator<Item = Vec<ViewSample>>,
    ) -> Vec<ViewCommitOf<B>> {
        let key = key.into();
        let mut number = 1;
        let next = |payloads: Vec<_>| {
            let first = number;
            number += payloads.len() as u64;
            self.commit(&key, first, payloads)
        };
        commits.into_iter().map(next).collect()
    }

    /// What is recorded of the commit at `index` of `chain` when it cannot be applied.
    pub fn poison(&self, chain: &[ViewCommitOf<B>], index: usize) -> QuarantinedCommit<ViewSequenceOf<B>> {
        let PositionChange { stream, from, .. } = move_of::<B>(chain, index..index + 1);
        let error = format!("commit {index} cannot be applied");
        QuarantinedCommit { stream, position: from, sequence: chain[index].first, error, time: self.time() }
    }

    /// The decision to leave out the commit at `index` of `chain`.
    pub fn skip(&self, chain: &[ViewCommitOf<B>], index: usize) -> SkippedCommits<ViewSequenceOf<B>> {
        let change = move_of::<B>(chain, index..index + 1);
        SkippedCommits { change, reason: format!("commit {index} is of no use"), time: self.time() }
    }

    /// A time like no other, after all before it: 2026-01-01 and some microseconds.
    fn time(&self) -> Timestamp {
        let made = self.commits.fetch_add(1, Ordering::Relaxed);
        Timestamp::from_microsecond(1_767_225_600_000_001 + made as i64 * 1_000_003)
            .expect("a time of this century is in range")
    }
}

/// These commits of a stream, which move it from the one before them.
pub(super) fn run<B: ViewBackend>(chain: &[ViewCommitOf<B>], commits: Range<usize>) -> RunOf<B> {
    let PositionChange { stream, from, .. } = move_of::<B>(chain, commits.clone());
    CommitRun { stream, from, commits: chain[commits].to_vec() }
}

/// All of a stream, which move it from its beginning.
pub(super) fn all<B: ViewBackend>(chain: &[ViewCommitOf<B>]) -> RunOf<B> {
    run::<B>(chain, 0..chain.len())
}

/// How these commits of a stream move it.
pub(super) fn move_of<B: ViewBackend>(
    chain: &[ViewCommitOf<B>],
    commits: Range<usize>,
) -> PositionChange<ViewSequenceOf<B>> {
    let from = commits.start.checked_sub(1).map(|before| chain[before].last());
    PositionChange { stream: stream_of::<B>(chain), from, to: chain[commits.end - 1].last() }
}

/// The name of the stream that these commits are of.
pub(super) fn stream_of<B: ViewBackend>(chain: &[ViewCommitOf<B>]) -> StreamName {
    named(&chain[0].key)
}

/// The name of the stream of this key.
pub(super) fn named(key: impl Into<SampleKey>) -> StreamName {
    StreamName::of(&key.into()).expect("the key is well-formed")
}

/// The rows that these commits come to, applied each once and in order.
pub(super) fn rows_of<B: ViewBackend>(chains: &[&[ViewCommitOf<B>]]) -> ViewRows {
    let mut rows = ViewRows::new();
    let events = chains.iter().flat_map(|chain| chain.iter()).flat_map(|commit| commit.events());
    for line in events.flat_map(|event| ViewSample::lines(&event)) {
        let line = line.expect("what was applied does not fail");
        if let Some(text) = line.text {
            rows.entry(line.name).or_default().push_str(&text);
        }
    }
    rows
}

/// A handle on a view. Its calls end the rule with a violation where something else than expected comes back.
pub struct ViewHandle<B: ViewBackend> {
    backend: Arc<B>,
    store: Arc<B::Store>,
}

impl<B: ViewBackend> Clone for ViewHandle<B> {
    fn clone(&self) -> Self {
        Self { backend: Arc::clone(&self.backend), store: Arc::clone(&self.store) }
    }
}

impl<B: ViewBackend> ViewHandle<B> {
    /// The store itself.
    pub fn store(&self) -> &B::Store {
        &self.store
    }

    /// Applies these commits in one batch.
    pub async fn apply(&self, runs: Vec<RunOf<B>>) -> Result<Applied, StorageError> {
        self.store.apply(&Batch::new(runs)).await
    }

    /// Applies in one batch, and expects it to be done.
    pub async fn applies(&self, runs: Vec<RunOf<B>>) -> RuleResult {
        let batch = Batch::new(runs);
        match self.store.apply(&batch).await {
            Ok(Applied::Done) => Ok(()),
            other => Err(Violation::new(format!(
                "a batch was to be applied: {other:?}, {:?}",
                batch.position_changes()
            ))),
        }
    }

    /// Applies a whole stream, commit by commit.
    pub async fn applies_each(&self, chain: &[ViewCommitOf<B>]) -> RuleResult {
        for index in 0..chain.len() {
            self.applies(vec![run::<B>(chain, index..index + 1)]).await?;
        }
        Ok(())
    }

    /// Applies in one batch, and expects a stream to be at another position.
    pub async fn finds_another_position(&self, runs: Vec<RunOf<B>>) -> RuleResult {
        let batch = Batch::new(runs);
        match self.store.apply(&batch).await {
            Ok(Applied::PositionDiffers) => Ok(()),
            other => Err(Violation::new(format!(
                "`PositionDiffers` was to be answered: {other:?}, {:?}",
                batch.position_changes()
            ))),
        }
    }

    /// Applies in one batch, and expects a stream to be in quarantine.
    pub async fn finds_a_quarantine(&self, runs: Vec<RunOf<B>>) -> RuleResult {
        let batch = Batch::new(runs);
        match self.store.apply(&batch).await {
            Ok(Applied::Quarantined) => Ok(()),
            other => Err(Violation::new(format!(
                "`Quarantined` was to be answered: {other:?}, {:?}",
                batch.position_changes()
            ))),
        }
    }

    /// Applies in one batch, and expects it to be rejected; gives the cause, with its causes.
    pub async fn rejects(&self, runs: Vec<RunOf<B>>) -> Result<String, Violation> {
        let batch = Batch::new(runs);
        match self.store.apply(&batch).await {
            Ok(Applied::Rejected(error)) => Ok(told(&*error)),
            other => Err(Violation::new(format!(
                "a batch was to be rejected: {other:?}, {:?}",
                batch.position_changes()
            ))),
        }
    }

    /// Where a stream is.
    pub async fn place(
        &self,
        key: impl Into<SampleKey>,
    ) -> Result<StreamPosition<ViewSequenceOf<B>>, Violation> {
        let places = self.store.positions_of(&[named(key)]).await?;
        ensure_eq!(places.len(), 1, "places of one stream");
        Ok(places[0])
    }

    /// The sequence up to which a stream is applied.
    pub async fn position(&self, key: impl Into<SampleKey>) -> Result<Option<ViewSequenceOf<B>>, Violation> {
        Ok(self.place(key).await?.position)
    }

    /// The positions of all streams, asked for at once.
    pub async fn positions(&self) -> Result<Vec<(StreamName, ViewSequenceOf<B>)>, Violation> {
        Ok(self.store.positions(None, 1_000_000).await?)
    }

    /// The rows of this version.
    pub async fn rows(&self) -> Result<ViewRows, Violation> {
        Ok(self.backend.rows(&self.store).await?)
    }

    /// Places and rows as a reader sees them.
    pub async fn read(
        &self,
        streams: &[StreamName],
    ) -> Result<(Vec<StreamPosition<ViewSequenceOf<B>>>, ViewRows), Violation> {
        let (places, rows) = self.backend.read(&self.store, streams).await?;
        ensure_eq!(places.len(), streams.len(), "places that a reader is given");
        Ok((places, rows))
    }

    /// Expects the view to be made of just these commits: rows, and the positions of all streams.
    pub async fn holds(&self, chains: &[&[ViewCommitOf<B>]]) -> RuleResult {
        same_rows(&self.rows().await?, &rows_of::<B>(chains))?;
        let applied = chains.iter().filter(|chain| !chain.is_empty());
        let expected: BTreeMap<_, _> =
            applied.map(|chain| (stream_of::<B>(chain), chain[chain.len() - 1].last())).collect();
        self.stands_at(expected).await
    }

    /// Expects these positions, and no others.
    pub async fn stands_at(
        &self,
        expected: impl IntoIterator<Item = (StreamName, ViewSequenceOf<B>)>,
    ) -> RuleResult {
        let expected: BTreeMap<_, _> = expected.into_iter().collect();
        let found: BTreeMap<_, _> = self.positions().await?.into_iter().collect();
        if let Some((stream, position)) = found.iter().find(|(stream, _)| !expected.contains_key(*stream)) {
            return Err(Violation::new(format!("{stream} was not to have a position: {position}")));
        }
        for (stream, position) in &expected {
            ensure_eq!(found.get(stream), Some(position), "the position of {stream}");
        }
        let (streams, positions): (Vec<_>, Vec<_>) = expected.into_iter().unzip();
        for ((stream, position), place) in
            streams.iter().zip(positions).zip(self.store.positions_of(&streams).await?)
        {
            ensure_eq!(place.position, Some(position), "the place of {stream}");
        }
        Ok(())
    }

    /// Expects the streams in quarantine to be these, as they were recorded, with their times to the microsecond.
    pub async fn quarantines(&self, expected: &[&QuarantinedCommit<ViewSequenceOf<B>>]) -> RuleResult {
        let rounded = |poison: &QuarantinedCommit<_>| QuarantinedCommit {
            time: truncate_to_microseconds(poison.time),
            ..poison.clone()
        };
        let mut expected: Vec<_> = expected.iter().map(|poison| rounded(poison)).collect();
        expected.sort_by(|a, b| a.stream.cmp(&b.stream));
        let found: Vec<_> = self.store.quarantined().await?.iter().map(rounded).collect();
        ensure_eq!(found, expected, "the streams in quarantine");
        for poison in expected {
            let place = self.store.positions_of(std::slice::from_ref(&poison.stream)).await?;
            let expected = [StreamPosition { position: poison.position, quarantined: true }];
            ensure_eq!(place, expected, "the place of {}, which is in quarantine", poison.stream);
        }
        Ok(())
    }

    /// Skips, and expects it to be done.
    pub async fn skips(&self, skip: &SkippedCommits<ViewSequenceOf<B>>) -> RuleResult {
        match self.store.skip(skip).await {
            Ok(true) => Ok(()),
            other => Err(Violation::new(format!("{skip:?} was to be done: {other:?}"))),
        }
    }

    /// Skips, and expects the stream to be elsewhere.
    pub async fn skips_nothing(&self, skip: &SkippedCommits<ViewSequenceOf<B>>) -> RuleResult {
        match self.store.skip(skip).await {
            Ok(false) => Ok(()),
            other => Err(Violation::new(format!("{skip:?} was to be answered with `false`: {other:?}"))),
        }
    }

    /// Expects these decisions to be recorded, in this order, with their times to the microsecond.
    pub async fn has_skipped(&self, expected: &[&SkippedCommits<ViewSequenceOf<B>>]) -> RuleResult {
        let rounded = |skip: &SkippedCommits<_>| SkippedCommits {
            time: truncate_to_microseconds(skip.time),
            ..skip.clone()
        };
        let expected: Vec<_> = expected.iter().map(|skip| rounded(skip)).collect();
        let found: Vec<_> = self.store.skipped().await?.iter().map(rounded).collect();
        ensure_eq!(found, expected, "the decisions to skip");
        Ok(())
    }
}

/// An error and its causes.
pub(super) fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Expects the same rows; the first difference is told.
pub(super) fn same_rows(found: &ViewRows, expected: &ViewRows) -> RuleResult {
    for (name, text) in expected {
        let Some(found) = found.get(name) else {
            return Err(Violation::new(format!(
                "the row {name:?} is missing, which was to be {:?}",
                cut(text)
            )));
        };
        if found != text {
            let same = found.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
            let (found, expected) = (tail(found, same), tail(text, same));
            return Err(Violation::new(format!(
                "the row {name:?} is the same for {same} bytes, and then {found:?}, expected {expected:?}"
            )));
        }
    }
    let other = found.iter().find(|(name, _)| !expected.contains_key(*name));
    ensure!(other.is_none(), "there is a row that was not to be: {other:?}");
    Ok(())
}

fn tail(text: &str, from: usize) -> String {
    let from = (0..=from).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    cut(&text[from..])
}

fn cut(text: &str) -> String {
    text.chars().take(120).collect()
}
