//! The state of one version of a view in a sound store.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use eventsrc_core::backend::error_from_panic;
use eventsrc_core::stream::ZonedSequence;
use eventsrc_core::view::{
    Applied, Batch, PositionChange, QuarantinedCommit, SkippedCommits, StreamPosition, TakeOver, ViewDigest,
    ViewError,
};
use eventsrc_core::{Event, StorageError, StreamName};
use eventsrc_testkit::conformance::{Line, SampleKey, ViewRows, ViewSample};

pub(crate) type S = ZonedSequence;
pub(crate) type B = Batch<SampleKey, S, ViewSample>;
pub(crate) type E<'a> = Event<'a, SampleKey, S, ViewSample>;
pub(crate) type Answer = Result<Applied, StorageError>;
pub(crate) type TakenOver = Result<TakeOver, StorageError>;

#[derive(Clone, Default)]
pub(crate) struct Kept {
    pub(crate) rows: ViewRows,
    pub(crate) positions: BTreeMap<StreamName, S>,
    pub(crate) quarantined: BTreeMap<StreamName, QuarantinedCommit<S>>,
    pub(crate) skipped: Vec<SkippedCommits<S>>,
    /// The quarantines that ended, which no sound store needs.
    pub(crate) released: BTreeMap<StreamName, QuarantinedCommit<S>>,
}

impl Kept {
    pub(crate) fn place(&self, stream: &StreamName) -> StreamPosition<S> {
        StreamPosition { position: self.position(stream), quarantined: self.quarantined.contains_key(stream) }
    }

    pub(crate) fn position(&self, stream: &StreamName) -> Option<S> {
        self.positions.get(stream).copied()
    }

    pub(crate) fn stands_before(&self, moved: &PositionChange<S>) -> bool {
        self.place(&moved.stream) == StreamPosition { position: moved.from, quarantined: false }
    }

    /// The answer to a batch whose positions differ.
    pub(crate) fn refuses(&self, batch: &B) -> Option<Applied> {
        let differs = |change: &PositionChange<S>| self.position(&change.stream) != change.from;
        let quarantined = |change: &PositionChange<S>| self.quarantined.contains_key(&change.stream);
        if batch.position_changes().iter().any(differs) {
            return Some(Applied::PositionDiffers);
        }
        batch.position_changes().iter().any(quarantined).then_some(Applied::Quarantined)
    }

    pub(crate) fn apply(&mut self, batch: &B) -> Answer {
        match self.refuses(batch) {
            Some(applied) => Ok(applied),
            None => self.apply_as_told(batch),
        }
    }

    /// Applies the batch, whatever the positions.
    pub(crate) fn apply_as_told(&mut self, batch: &B) -> Answer {
        let mut changed = self.clone();
        if let Err(error) = changed.write(batch.events()) {
            return Ok(Applied::Rejected(error));
        }
        changed.advance(batch.position_changes());
        *self = changed;
        Ok(Applied::Done)
    }

    pub(crate) fn advance(&mut self, moves: &[PositionChange<S>]) {
        for moved in moves {
            self.positions.insert(moved.stream.clone(), moved.to);
        }
    }

    /// Runs the code of the view. If it fails, its changes so far remain.
    pub(crate) fn write<'a>(&mut self, events: impl Iterator<Item = E<'a>>) -> Result<(), ViewError> {
        let mut beside = Vec::new();
        let write = || {
            for event in events {
                for line in ViewSample::lines(&event) {
                    let line = line?;
                    beside.extend(line.beside.clone());
                    let forgiven = line.forgiven;
                    if let Err(error) = self.add(line)
                        && !forgiven
                    {
                        return Err(error);
                    }
                }
            }
            Ok(())
        };
        catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|panic| Err(error_from_panic(&*panic)))?;
        match beside.iter().find(|name| !self.rows.contains_key(*name)) {
            Some(name) => Err(format!("there is no row {name}").into()),
            None => Ok(()),
        }
    }

    pub(crate) fn add(&mut self, line: Line) -> Result<(), ViewError> {
        let text = line.text.ok_or("a row has a text")?;
        self.rows.entry(line.name).or_default().push_str(&text);
        Ok(())
    }

    pub(crate) fn after(&self, after: Option<&StreamName>, limit: usize) -> Vec<(StreamName, S)> {
        let later = self.positions.iter().filter(|(stream, _)| after.is_none_or(|after| *stream > after));
        later.take(limit).map(|(stream, position)| (stream.clone(), *position)).collect()
    }

    pub(crate) fn quarantine(&mut self, poison: &QuarantinedCommit<S>) {
        if self.position(&poison.stream) == poison.position {
            self.quarantined.entry(poison.stream.clone()).or_insert_with(|| poison.clone());
        }
    }

    pub(crate) fn release(&mut self, stream: &StreamName) -> bool {
        let released = self.quarantined.remove(stream);
        self.released.extend(released.clone().map(|poison| (stream.clone(), poison)));
        released.is_some()
    }

    pub(crate) fn skip(&mut self, skip: &SkippedCommits<S>) -> bool {
        if self.position(&skip.change.stream) != skip.change.from {
            return false;
        }
        self.skip_as_told(skip);
        true
    }

    /// Skips the commits, whatever the position.
    pub(crate) fn skip_as_told(&mut self, skip: &SkippedCommits<S>) {
        self.advance(std::slice::from_ref(&skip.change));
        self.quarantined.remove(&skip.change.stream);
        self.skipped.push(skip.clone());
        self.skipped.sort_by(|a, b| (&a.change.stream, a.change.to).cmp(&(&b.change.stream, b.change.to)));
    }

    /// The streams of which this version is behind the other one.
    pub(crate) fn behind(&self, other: &Self) -> Vec<PositionChange<S>> {
        let behind = |(stream, to): (&StreamName, &S)| {
            let from = self.position(stream);
            (from < Some(*to)).then(|| PositionChange { stream: stream.clone(), from, to: *to })
        };
        other.positions.iter().filter_map(behind).collect()
    }

    pub(crate) fn digest(&self) -> ViewDigest {
        digest(self.rows.len(), &self.rows)
    }
}

pub(crate) fn digest(rows: usize, what: &impl Hash) -> ViewDigest {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    ViewDigest { rows: rows as u64, hash: format!("{:016x}", hasher.finish()) }
}
