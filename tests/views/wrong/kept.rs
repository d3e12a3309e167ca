//! What a sound store keeps of one version of a view.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use eventsrc_core::{
    Applied, Batch, Digest, Event, Move, Place, Poison, Skip, StorageError, StreamName, ViewError,
    ZonedSequence, panicked,
};
use eventsrc_testkit::conformance::{Line, SampleKey, ViewRows, ViewSample};

pub(crate) type S = ZonedSequence;
pub(crate) type B = Batch<SampleKey, S, ViewSample>;
pub(crate) type E<'a> = Event<'a, SampleKey, S, ViewSample>;
pub(crate) type Answer = Result<Applied, StorageError>;

#[derive(Clone, Default)]
pub(crate) struct Kept {
    pub(crate) rows: ViewRows,
    pub(crate) positions: BTreeMap<StreamName, S>,
    pub(crate) quarantined: BTreeMap<StreamName, Poison<S>>,
    pub(crate) skipped: Vec<Skip<S>>,
    /// The quarantines that ended, which no sound store needs.
    pub(crate) released: BTreeMap<StreamName, Poison<S>>,
}

impl Kept {
    pub(crate) fn place(&self, stream: &StreamName) -> Place<S> {
        Place { position: self.position(stream), quarantined: self.quarantined.contains_key(stream) }
    }

    pub(crate) fn position(&self, stream: &StreamName) -> Option<S> {
        self.positions.get(stream).copied()
    }

    pub(crate) fn stands_before(&self, moved: &Move<S>) -> bool {
        self.place(&moved.stream) == Place { position: moved.from, quarantined: false }
    }

    pub(crate) fn apply(&mut self, batch: &B) -> Answer {
        if !batch.moves().iter().all(|moved| self.stands_before(moved)) {
            return Ok(Applied::Moved);
        }
        self.apply_as_told(batch)
    }

    /// Applies wherever the streams are.
    pub(crate) fn apply_as_told(&mut self, batch: &B) -> Answer {
        let mut changed = self.clone();
        if let Err(error) = changed.write(batch.events()) {
            return Ok(Applied::Rejected(error));
        }
        changed.advance(batch.moves());
        *self = changed;
        Ok(Applied::Done)
    }

    pub(crate) fn advance(&mut self, moves: &[Move<S>]) {
        for moved in moves {
            self.positions.insert(moved.stream.clone(), moved.to);
        }
    }

    /// Runs the code of the view; what it has written when it fails is left.
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
        catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|panic| Err(panicked(&*panic)))?;
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

    pub(crate) fn quarantine(&mut self, poison: &Poison<S>) {
        if self.position(&poison.stream) == poison.position {
            self.quarantined.entry(poison.stream.clone()).or_insert_with(|| poison.clone());
        }
    }

    pub(crate) fn release(&mut self, stream: &StreamName) -> bool {
        let released = self.quarantined.remove(stream);
        self.released.extend(released.clone().map(|poison| (stream.clone(), poison)));
        released.is_some()
    }

    pub(crate) fn skip(&mut self, skip: &Skip<S>) -> Applied {
        if self.position(&skip.moves.stream) != skip.moves.from {
            return Applied::Moved;
        }
        self.skip_as_told(skip);
        Applied::Done
    }

    /// Skips wherever the stream is.
    pub(crate) fn skip_as_told(&mut self, skip: &Skip<S>) {
        self.advance(std::slice::from_ref(&skip.moves));
        self.quarantined.remove(&skip.moves.stream);
        self.skipped.push(skip.clone());
        self.skipped.sort_by(|a, b| (&a.moves.stream, a.moves.to).cmp(&(&b.moves.stream, b.moves.to)));
    }

    /// The streams of which this version lies behind the other one.
    pub(crate) fn behind(&self, other: &Self) -> Vec<Move<S>> {
        let behind = |(stream, to): (&StreamName, &S)| {
            let from = self.position(stream);
            (from < Some(*to)).then(|| Move { stream: stream.clone(), from, to: *to })
        };
        other.positions.iter().filter_map(behind).collect()
    }

    pub(crate) fn digest(&self) -> Digest {
        digest(self.rows.len(), &self.rows)
    }
}

pub(crate) fn digest(rows: usize, what: &impl Hash) -> Digest {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    Digest { rows: rows as u64, hash: format!("{:016x}", hasher.finish()) }
}
