//! The disorder that a bus causes.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::StdRng;

/// Delays a fifth of the items that are put into it, repeats a fifth, and leaves a twentieth out.
#[derive(Debug)]
pub(super) struct Disorder<T> {
    random: StdRng,
    /// Keyed by the turn at which an item comes, and by a unique number.
    waiting: BTreeMap<(usize, usize), T>,
    turn: usize,
    number: usize,
    pub(super) done: DisorderCounts,
}

/// Counts of the disorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DisorderCounts {
    /// Number of delayed items.
    pub moved: u64,
    /// Number of repeated items.
    pub repeated: u64,
    /// Number of dropped items.
    pub dropped: u64,
}

/// Maximum delay of an item, in turns.
const LATEST: usize = 100;

impl<T: Clone> Disorder<T> {
    pub(super) fn new(random: StdRng) -> Self {
        Self { random, waiting: BTreeMap::new(), turn: 0, number: 0, done: DisorderCounts::default() }
    }

    pub(super) fn put(&mut self, item: T) {
        self.turn += 1;
        if self.random.random_bool(0.05) {
            self.done.dropped += 1;
            return;
        }
        if self.random.random_bool(0.2) {
            self.done.repeated += 1;
            let again = self.turn + self.random.random_range(0..=LATEST);
            self.bring(again, item.clone());
        }
        let mut turn = self.turn;
        if self.random.random_bool(0.2) {
            self.done.moved += 1;
            turn += self.random.random_range(1..=LATEST);
        }
        self.bring(turn, item);
    }

    /// Leaves this item out.
    pub(super) fn drop(&mut self, _: T) {
        self.turn += 1;
        self.done.dropped += 1;
    }

    fn bring(&mut self, turn: usize, item: T) {
        self.number += 1;
        self.waiting.insert((turn, self.number), item);
    }

    /// The items whose turn has come.
    pub(super) fn take(&mut self) -> Vec<T> {
        let later = self.waiting.split_off(&(self.turn + 1, 0));
        std::mem::replace(&mut self.waiting, later).into_values().collect()
    }

    /// All remaining items.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        std::mem::take(&mut self.waiting).into_values().collect()
    }
}
