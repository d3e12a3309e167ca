//! What a bus does to the order of what is put onto it.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::StdRng;

/// Brings a fifth of what is put into it later than its turn, brings a fifth twice, and leaves a twentieth out.
#[derive(Debug)]
pub(super) struct Disorder<T> {
    random: StdRng,
    /// By the turn at which it comes, and by a number that no other has.
    waiting: BTreeMap<(usize, usize), T>,
    turn: usize,
    number: usize,
    pub(super) done: Done,
}

/// How often something was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// How many come later than their turn.
    pub moved: u64,
    /// How many come twice.
    pub repeated: u64,
    /// How many do not come.
    pub dropped: u64,
}

/// By how many turns something comes later, at most.
const LATEST: usize = 100;

impl<T: Clone> Disorder<T> {
    pub(super) fn new(random: StdRng) -> Self {
        Self { random, waiting: BTreeMap::new(), turn: 0, number: 0, done: Done::default() }
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

    /// Leaves this one out.
    pub(super) fn drop(&mut self, _: T) {
        self.turn += 1;
        self.done.dropped += 1;
    }

    fn bring(&mut self, turn: usize, item: T) {
        self.number += 1;
        self.waiting.insert((turn, self.number), item);
    }

    /// Whatever's turn has come.
    pub(super) fn take(&mut self) -> Vec<T> {
        let later = self.waiting.split_off(&(self.turn + 1, 0));
        std::mem::replace(&mut self.waiting, later).into_values().collect()
    }

    /// All that is left.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        std::mem::take(&mut self.waiting).into_values().collect()
    }
}
