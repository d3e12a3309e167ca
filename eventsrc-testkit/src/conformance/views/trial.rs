//! Environment of a rule about views: a new location, unique commits, and the rows that must result.

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
use eventsrc_core::{Commit, ErrorKind, Metadata, StorageError, StreamName, Timestamp, ViewDefinition};

use super::super::sample::SampleKey;
use super::super::trial::sequence;
use super::super::violation::{RuleResult, Violation, ensure, ensure_eq};
use super::backend::{ViewBackend, ViewRows, ViewSequenceOf};
use super::sample::ViewSample;

/// Commit of a backend's views.
pub(super) type ViewCommitOf<B> = Arc<Commit<SampleKey, ViewSequenceOf<B>, ViewSample>>;

/// Commit run of a backend's views.
pub(super) type RunOf<B> = CommitRun<SampleKey, ViewSequenceOf<B>, ViewSample>;

/// Environment of one rule: a location of its own, and a source of unique commits.
pub(super) struct ViewTrial<B: ViewBackend> {
    backend: Arc<B>,
    location: B::Location,
    ids: Randomness,
    commits: AtomicU64,
}

impl<B: ViewBackend> ViewTrial<B> {
    /// Creates an environment with a new location.
    pub(super) async fn new(backend: Arc<B>) -> Self {
        let location = backend.create().await;
        Self { backend, location, ids: Randomness::seeded(1), commits: AtomicU64::new(0) }
    }

    /// Opens a new handle on version 1 of the default view.
    pub(super) async fn open(&self) -> ViewHandle<B> {
        self.open_version(1).await
    }

    /// Opens a new handle on this version of the default view.
    pub(super) async fn open_version(&self, version: u32) -> ViewHandle<B> {
        self.open_view("ledger", version).await
    }

    /// Opens a new handle on this version of the view called `name`.
    pub(super) async fn open_view(&self, name: &str, version: u32) -> ViewHandle<B> {
        let definition = ViewDefinition::new(name, ["sample", "other"]).expect("the name is well-formed");
        let store = self.backend.open(&self.location, &definition.at_version(version)).await;
        ViewHandle { backend: Arc::clone(&self.backend), store: Arc::new(store) }
    }

    /// Returns the backend and the location.
    pub(super) fn location(&self) -> (&B, &B::Location) {
        (&self.backend, &self.location)
    }

    /// Returns a unique commit of these events, starting at `number`.
    pub(super) fn commit(
        &self,
        key: impl Into<SampleKey>,
        number: u64,
        payloads: impl IntoIterator<Item = ViewSample>,
    ) -> ViewCommitOf<B> {
        let time = self.time();
        Arc::new(Commit {
            key: key.into(),
            first: sequence(number),
            previous: None,
            time,
            metadata: Metadata::new(self.ids.commit_id(time)),
            payloads: Vec1::try_from_vec(payloads.into_iter().collect())
                .expect("a commit has an event")
                .into(),
        })
    }

    /// Returns consecutive commits of these lengths, starting at the first sequence. Every event writes to the row of
    /// its stream.
    pub(super) fn chain(
        &self,
        key: impl Into<SampleKey>,
        lengths: impl IntoIterator<Item = usize>,
    ) -> Vec<ViewCommitOf<B>> {
        self.chain_of(key, lengths.into_iter().map(|length| vec![ViewSample::Write; length]))
    }

    /// Returns consecutive commits of these events, starting at the first sequence.
    pub(super) fn chain_of(
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

    /// Returns the quarantine record of the commit at `index` of `chain`.
    pub(super) fn quarantined_commit(
        &self,
        chain: &[ViewCommitOf<B>],
        index: usize,
    ) -> QuarantinedCommit<ViewSequenceOf<B>> {
        let PositionChange { stream, from, .. } = change_of::<B>(chain, index..index + 1);
        let error = format!("commit {index} cannot be applied");
        QuarantinedCommit { stream, position: from, sequence: chain[index].first, error, time: self.time() }
    }

    /// Returns the decision to skip the commit at `index` of `chain`.
    pub(super) fn skip(&self, chain: &[ViewCommitOf<B>], index: usize) -> SkippedCommits<ViewSequenceOf<B>> {
        let change = change_of::<B>(chain, index..index + 1);
        SkippedCommits { change, reason: format!("commit {index} is skipped by the rule"), time: self.time() }
    }

    /// Returns a time later than all earlier ones: 2026-01-01 plus some microseconds.
    fn time(&self) -> Timestamp {
        let count = self.commits.fetch_add(1, Ordering::Relaxed);
        Timestamp::from_microsecond(1_767_225_600_000_001 + count as i64 * 1_000_003)
            .expect("a time of this century is in range")
    }
}

/// Returns the run of these commits of a stream.
pub(super) fn run<B: ViewBackend>(chain: &[ViewCommitOf<B>], commits: Range<usize>) -> RunOf<B> {
    let PositionChange { stream, from, .. } = change_of::<B>(chain, commits.clone());
    CommitRun { stream, from, commits: chain[commits].to_vec() }
}

/// Returns the run of all commits of a stream.
pub(super) fn all<B: ViewBackend>(chain: &[ViewCommitOf<B>]) -> RunOf<B> {
    run::<B>(chain, 0..chain.len())
}

/// Returns the position change that these commits of a stream cause.
pub(super) fn change_of<B: ViewBackend>(
    chain: &[ViewCommitOf<B>],
    commits: Range<usize>,
) -> PositionChange<ViewSequenceOf<B>> {
    let from = commits.start.checked_sub(1).map(|before| chain[before].last());
    PositionChange { stream: stream_of::<B>(chain), from, to: chain[commits.end - 1].last() }
}

/// Returns the name of the stream of these commits.
pub(super) fn stream_of<B: ViewBackend>(chain: &[ViewCommitOf<B>]) -> StreamName {
    named(&chain[0].key)
}

/// Returns the name of the stream of this key.
pub(super) fn named(key: impl Into<SampleKey>) -> StreamName {
    StreamName::of(&key.into()).expect("the key is well-formed")
}

/// Returns the rows that result from these commits, applied each once and in order.
pub(super) fn rows_of<B: ViewBackend>(chains: &[&[ViewCommitOf<B>]]) -> ViewRows {
    let mut rows = ViewRows::new();
    let events = chains.iter().flat_map(|chain| chain.iter()).flat_map(|commit| commit.events());
    for line in events.flat_map(|event| ViewSample::lines(&event)) {
        let line = line.expect("applied events do not fail");
        if let Some(text) = line.text {
            rows.entry(line.name).or_default().push_str(&text);
        }
    }
    rows
}

/// Handle on a view. Its methods end the rule with a violation if the answer is not the expected one.
pub(super) struct ViewHandle<B: ViewBackend> {
    backend: Arc<B>,
    store: Arc<B::Store>,
}

impl<B: ViewBackend> Clone for ViewHandle<B> {
    fn clone(&self) -> Self {
        Self { backend: Arc::clone(&self.backend), store: Arc::clone(&self.store) }
    }
}

impl<B: ViewBackend> ViewHandle<B> {
    /// Returns the store.
    pub(super) fn store(&self) -> &B::Store {
        &self.store
    }

    /// Applies these runs in one batch.
    pub(super) async fn apply(&self, runs: Vec<RunOf<B>>) -> Result<Applied, StorageError> {
        self.store.apply(&Batch::new(runs)).await
    }

    /// Applies these runs in one batch and expects `Done`.
    pub(super) async fn applies(&self, runs: Vec<RunOf<B>>) -> RuleResult {
        let batch = Batch::new(runs);
        match self.store.apply(&batch).await {
            Ok(Applied::Done) => Ok(()),
            other => Err(Violation::new(format!(
                "expected `Done`, got {other:?} for {:?}",
                batch.position_changes()
            ))),
        }
    }

    /// Applies a whole stream, commit by commit.
    pub(super) async fn applies_each(&self, chain: &[ViewCommitOf<B>]) -> RuleResult {
        for index in 0..chain.len() {
            self.applies(vec![run::<B>(chain, index..index + 1)]).await?;
        }
        Ok(())
    }

    /// Applies these runs in one batch and expects `PositionDiffers`.
    pub(super) async fn refuses_position(&self, runs: Vec<RunOf<B>>) -> RuleResult {
        let batch = Batch::new(runs);
        match self.store.apply(&batch).await {
            Ok(Applied::PositionDiffers) => Ok(()),
            other => Err(Violation::new(format!(
                "expected `PositionDiffers`, got {other:?} for {:?}",
                batch.position_changes()
            ))),
        }
    }

    /// Applies these runs in one batch and expects `Quarantined`.
    pub(super) async fn refuses_quarantined(&self, runs: Vec<RunOf<B>>) -> RuleResult {
        let batch = Batch::new(runs);
        match self.store.apply(&batch).await {
            Ok(Applied::Quarantined) => Ok(()),
            other => Err(Violation::new(format!(
                "expected `Quarantined`, got {other:?} for {:?}",
                batch.position_changes()
            ))),
        }
    }

    /// Applies these runs in one batch and expects `Rejected`. Returns the error with its causes.
    pub(super) async fn rejects(&self, runs: Vec<RunOf<B>>) -> Result<String, Violation> {
        let batch = Batch::new(runs);
        match self.store.apply(&batch).await {
            Ok(Applied::Rejected(error)) => Ok(error_chain(&*error)),
            other => Err(Violation::new(format!(
                "expected `Rejected`, got {other:?} for {:?}",
                batch.position_changes()
            ))),
        }
    }

    /// Returns the position of a stream, and whether the stream is in quarantine.
    pub(super) async fn stream_position(
        &self,
        key: impl Into<SampleKey>,
    ) -> Result<StreamPosition<ViewSequenceOf<B>>, Violation> {
        let stream_positions = self.store.positions_of(&[named(key)]).await?;
        ensure_eq!(stream_positions.len(), 1, "the number of positions of one stream");
        Ok(stream_positions[0])
    }

    /// Returns the sequence up to which a stream is applied.
    pub(super) async fn position(
        &self,
        key: impl Into<SampleKey>,
    ) -> Result<Option<ViewSequenceOf<B>>, Violation> {
        Ok(self.stream_position(key).await?.position)
    }

    /// Returns the positions of all streams in one request.
    pub(super) async fn positions(&self) -> Result<Vec<(StreamName, ViewSequenceOf<B>)>, Violation> {
        Ok(self.store.positions(None, 1_000_000).await?)
    }

    /// Returns the rows of this version.
    pub(super) async fn rows(&self) -> Result<ViewRows, Violation> {
        Ok(self.backend.rows(&self.store).await?)
    }

    /// Returns positions and rows as a reader sees them.
    pub(super) async fn read(
        &self,
        streams: &[StreamName],
    ) -> Result<(Vec<StreamPosition<ViewSequenceOf<B>>>, ViewRows), Violation> {
        let (stream_positions, rows) = self.backend.read(&self.store, streams).await?;
        ensure_eq!(stream_positions.len(), streams.len(), "the number of positions that a reader sees");
        Ok((stream_positions, rows))
    }

    /// Expects the view to consist of exactly these commits: rows, and the positions of all streams.
    pub(super) async fn holds(&self, chains: &[&[ViewCommitOf<B>]]) -> RuleResult {
        ensure_same_rows(&self.rows().await?, &rows_of::<B>(chains))?;
        let applied = chains.iter().filter(|chain| !chain.is_empty());
        let expected: BTreeMap<_, _> =
            applied.map(|chain| (stream_of::<B>(chain), chain[chain.len() - 1].last())).collect();
        self.has_positions(expected).await
    }

    /// Expects exactly these positions.
    pub(super) async fn has_positions(
        &self,
        expected: impl IntoIterator<Item = (StreamName, ViewSequenceOf<B>)>,
    ) -> RuleResult {
        let expected: BTreeMap<_, _> = expected.into_iter().collect();
        let found: BTreeMap<_, _> = self.positions().await?.into_iter().collect();
        if let Some((stream, position)) = found.iter().find(|(stream, _)| !expected.contains_key(*stream)) {
            return Err(Violation::new(format!("{stream} has the unexpected position {position}")));
        }
        for (stream, position) in &expected {
            ensure_eq!(found.get(stream), Some(position), "the position of {stream}");
        }
        let (streams, positions): (Vec<_>, Vec<_>) = expected.into_iter().unzip();
        for ((stream, position), stream_position) in
            streams.iter().zip(positions).zip(self.store.positions_of(&streams).await?)
        {
            ensure_eq!(stream_position.position, Some(position), "the requested position of {stream}");
        }
        Ok(())
    }

    /// Expects exactly these streams in quarantine, with their records and with times truncated to the microsecond.
    pub(super) async fn has_quarantined(
        &self,
        expected: &[&QuarantinedCommit<ViewSequenceOf<B>>],
    ) -> RuleResult {
        let truncated = |entry: &QuarantinedCommit<_>| QuarantinedCommit {
            time: truncate_to_microseconds(entry.time),
            ..entry.clone()
        };
        let mut expected: Vec<_> = expected.iter().map(|entry| truncated(entry)).collect();
        expected.sort_by(|a, b| a.stream.cmp(&b.stream));
        let found: Vec<_> = self.store.quarantined().await?.iter().map(truncated).collect();
        ensure_eq!(found, expected, "the streams in quarantine");
        for entry in expected {
            let stream_position = self.store.positions_of(std::slice::from_ref(&entry.stream)).await?;
            let expected = [StreamPosition { position: entry.position, quarantined: true }];
            ensure_eq!(stream_position, expected, "the position of {}, which is in quarantine", entry.stream);
        }
        Ok(())
    }

    /// Skips, and expects `true`.
    pub(super) async fn skips(&self, skip: &SkippedCommits<ViewSequenceOf<B>>) -> RuleResult {
        match self.store.skip(skip).await {
            Ok(true) => Ok(()),
            other => Err(Violation::new(format!("{skip:?}: expected `true`, got {other:?}"))),
        }
    }

    /// Skips, and expects `false`.
    pub(super) async fn refuses_skip(&self, skip: &SkippedCommits<ViewSequenceOf<B>>) -> RuleResult {
        match self.store.skip(skip).await {
            Ok(false) => Ok(()),
            other => Err(Violation::new(format!("{skip:?}: expected `false`, got {other:?}"))),
        }
    }

    /// Expects exactly these recorded decisions, in this order and with times truncated to the microsecond.
    pub(super) async fn has_skipped(&self, expected: &[&SkippedCommits<ViewSequenceOf<B>>]) -> RuleResult {
        let truncated = |skip: &SkippedCommits<_>| SkippedCommits {
            time: truncate_to_microseconds(skip.time),
            ..skip.clone()
        };
        let expected: Vec<_> = expected.iter().map(|skip| truncated(skip)).collect();
        let found: Vec<_> = self.store.skipped().await?.iter().map(truncated).collect();
        ensure_eq!(found, expected, "the decisions to skip");
        Ok(())
    }
}

/// Returns the texts of an error and its causes.
pub(super) fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Expects the same rows. The violation describes the first difference.
pub(super) fn ensure_same_rows(found: &ViewRows, expected: &ViewRows) -> RuleResult {
    for (name, text) in expected {
        let Some(found) = found.get(name) else {
            return Err(Violation::new(format!("the row {name:?} is missing; expected {:?}", cut(text))));
        };
        if found != text {
            let same = found.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
            let (found, expected) = (tail(found, same), tail(text, same));
            return Err(Violation::new(format!(
                "the row {name:?} differs after {same} bytes: found {found:?}, expected {expected:?}"
            )));
        }
    }
    let other = found.iter().find(|(name, _)| !expected.contains_key(*name));
    ensure!(other.is_none(), "unexpected row: {other:?}");
    Ok(())
}

fn tail(text: &str, from: usize) -> String {
    let from = (0..=from).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    cut(&text[from..])
}

fn cut(text: &str) -> String {
    text.chars().take(120).collect()
}

/// Returns the streams as slices.
pub(super) fn slices<B: ViewBackend>(chains: &[Vec<ViewCommitOf<B>>]) -> Vec<&[ViewCommitOf<B>]> {
    chains.iter().map(Vec::as_slice).collect()
}

/// Expects an error of kind `Unavailable`, after which a call may be retried.
pub(super) fn ensure_retryable(error: &StorageError) -> RuleResult {
    ensure_eq!(error.kind(), ErrorKind::Unavailable, "the kind of {error:?}");
    Ok(())
}
