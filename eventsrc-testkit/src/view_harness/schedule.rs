//! What is done around a view, expanded from a seed.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use eventsrc_core::StreamName;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::faulty::{Faults, FeedFaults};

/// What is done around a view in one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// What it was expanded from; it is all that is needed to run it again.
    pub seed: u64,
    /// What it is about.
    pub disturbance: Disturbance,
    /// How many processes keep the view at once.
    pub processes: usize,
    /// How many workers each of them has.
    pub workers: usize,
    /// How many events a transaction applies at most.
    pub events_per_batch: usize,
    /// How many changes a delivery has at most.
    pub changes_per_delivery: usize,
    pub(super) feed: FeedFaults,
    pub(super) database: Faults,
}

/// What a [`Schedule`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// Everything comes once and in order.
    Nothing,
    /// Changes come again, at once and later.
    Repeats,
    /// Streams come in another order; each by itself is in order.
    StreamsReordered,
    /// Changes of a stream come in another order.
    Reordered,
    /// Changes are lost, in the middle of streams and at their ends, and repaired by a sweep.
    Holes,
    /// The process crashes at each step: before a batch is applied, after it and before that is known, and after it is known.
    Crashes,
    /// Several processes race.
    Races,
    /// The view's database fails before or after it has done what it was asked for.
    Failures,
    /// All of these at once.
    Everything,
}

impl Disturbance {
    const ALL: [Self; 9] = [
        Self::Nothing,
        Self::Repeats,
        Self::StreamsReordered,
        Self::Reordered,
        Self::Holes,
        Self::Crashes,
        Self::Races,
        Self::Failures,
        Self::Everything,
    ];

    /// What a difference that shows under this one, and under none before it, tells of the view.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Nothing => "the rows depend on how events are put together in batches",
            Self::Repeats => "a change that comes again has an effect",
            Self::StreamsReordered => {
                "the rows depend on the order in which streams are applied, and streams have no order"
            }
            Self::Reordered => "the rows depend on the order in which changes come",
            Self::Holes => "the rows depend on how changes come, by the feed or by repair",
            Self::Crashes => {
                "the view remembers something outside of its rows, or has effects outside of them"
            }
            Self::Races => "the rows depend on which process applies what: something is kept outside of them",
            Self::Failures => "a batch whose reply was lost has another effect",
            Self::Everything => "the rows depend on several of the above at once",
        }
    }
}

impl Schedule {
    /// What the seed stands for.
    pub(super) fn of(seed: u64) -> Self {
        let disturbance = Disturbance::ALL[(seed % Disturbance::ALL.len() as u64) as usize];
        let mut draws = StdRng::seed_from_u64(seed);
        let is = |these: &[Disturbance]| these.contains(&disturbance);
        let all = is(&[Disturbance::Everything]);
        let when = |this, rate| if all || is(&[this]) { rate } else { 0.0 };
        let feed = FeedFaults {
            seed,
            repeated: when(Disturbance::Repeats, 0.4),
            reordered: when(Disturbance::Reordered, 0.5),
            window: 8,
            dropped: when(Disturbance::Holes, 0.3),
            silenced: when(Disturbance::Holes, 0.1),
            ..FeedFaults::none()
        };
        let database = Faults {
            seed,
            failed_before: when(Disturbance::Failures, 0.2),
            reply_lost: when(Disturbance::Failures, 0.2),
            longest_delay: Duration::ZERO,
            ..Faults::none()
        };
        // What has to happen at many steps has small ones.
        let steps = is(&[Disturbance::Crashes, Disturbance::Races, Disturbance::Failures]);
        let (batches, deliveries) =
            if steps { ([1, 2, 5], [1, 2, 4]) } else { ([1, 5, 10_000], [1, 4, 1_000]) };
        let one_of = |draws: &mut StdRng, sizes: [usize; 3]| sizes[draws.random_range(0..3)];
        Self {
            seed,
            disturbance,
            processes: if all || is(&[Disturbance::Races]) { draws.random_range(2..=4) } else { 1 },
            workers: draws.random_range(1..=4),
            events_per_batch: one_of(&mut draws, batches),
            changes_per_delivery: one_of(&mut draws, deliveries),
            feed,
            database,
        }
    }

    /// Whether the processes that begin one after the other crash, the `index`th among them; where, and how.
    pub(super) fn crash(&self, process: usize, index: usize) -> Option<Crash> {
        let how = [How::Before, How::Unknown, How::Known][index % 3];
        match self.disturbance {
            Disturbance::Crashes => Some(Crash { apply: 1, how }),
            // Some processes are left to bring things to an end.
            Disturbance::Everything if process == 0 && index < 6 => {
                let mut draws = StdRng::seed_from_u64(self.seed.wrapping_mul(31).wrapping_add(index as u64));
                Some(Crash { apply: draws.random_range(1..=3), how })
            }
            _ => None,
        }
    }

    /// The order in which `process` is told of the changes of these streams.
    pub(super) fn order(&self, process: usize, streams: &[StreamName]) -> Vec<usize> {
        let in_order: Vec<usize> = (0..streams.len()).collect();
        let reorders = match self.disturbance {
            Disturbance::StreamsReordered | Disturbance::Everything => true,
            // Otherwise the one that begins first would always be ahead.
            Disturbance::Races => process > 0,
            _ => false,
        };
        if !reorders {
            return in_order;
        }
        let mut draws = StdRng::seed_from_u64(self.seed.wrapping_add(1_000_003 * process as u64));
        let mut turns: Vec<&StreamName> = streams.iter().collect();
        turns.shuffle(&mut draws);
        let mut left = BTreeMap::<_, VecDeque<usize>>::new();
        for (index, stream) in streams.iter().enumerate() {
            left.entry(stream).or_default().push_back(index);
        }
        turns.iter().filter_map(|stream| left.get_mut(*stream)?.pop_front()).collect()
    }
}

/// When a process crashes, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crash {
    /// At which call that applies a batch, from 1.
    pub(super) apply: usize,
    pub(super) how: How,
}

/// How far the call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Nothing was done.
    Before,
    /// The batch is applied, and the process never learned of it.
    Unknown,
    /// The batch is applied, the process knows, and could tell nobody.
    Known,
}

/// The seed, and all that it stands for.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            disturbance,
            processes,
            workers,
            events_per_batch,
            changes_per_delivery,
            feed,
            database,
        } = self;
        writeln!(f, "seed {seed}: {disturbance:?}")?;
        writeln!(f, "  processes: {processes}, of {workers} workers")?;
        writeln!(
            f,
            "  at most {events_per_batch} events a batch, {changes_per_delivery} changes a delivery"
        )?;
        writeln!(
            f,
            "  of the changes {} are repeated, {} reordered by up to {}, {} lost; with {} the stream falls silent",
            feed.repeated, feed.reordered, feed.window, feed.dropped, feed.silenced
        )?;
        write!(
            f,
            "  of the calls {} fail before they are done, {} lose their reply",
            database.failed_before, database.reply_lost
        )
    }
}
