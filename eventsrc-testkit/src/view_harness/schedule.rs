//! Disturbances of a view, derived from a seed.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use eventsrc_core::StreamName;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::faulty::{Faults, FeedFaults};

/// Disturbances of a view in one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The seed from which the schedule is derived. It suffices to run the schedule again.
    pub seed: u64,
    /// The kind of disturbance.
    pub disturbance: Disturbance,
    /// Number of processes that keep the view up to date concurrently.
    pub processes: usize,
    /// Number of workers of each process.
    pub workers: usize,
    /// Largest number of events in one transaction.
    pub events_per_batch: usize,
    /// Largest number of changes in one delivery.
    pub changes_per_delivery: usize,
    pub(super) feed: FeedFaults,
    pub(super) database: Faults,
}

/// Kind of disturbance of a [`Schedule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// Every change is delivered once and in order.
    Nothing,
    /// Changes are delivered again, at once and later.
    Repeats,
    /// Streams are delivered in another order. Each stream on its own is in order.
    StreamsReordered,
    /// Changes of a stream are delivered in another order.
    Reordered,
    /// Changes are lost, in the middle of streams and at their ends, and repaired by a sweep.
    Holes,
    /// The process crashes at each step: before a batch is applied, after it but before the process knows, and after
    /// the process knows.
    Crashes,
    /// Several processes race.
    Races,
    /// Calls of the view's database fail, before or after they take effect.
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

    /// Returns the likely defect if rows differ under this disturbance and under none before it.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Nothing => "the rows depend on how events are grouped into batches",
            Self::Repeats => "a repeated change has an effect",
            Self::StreamsReordered => {
                "the rows depend on the order in which streams are applied, and streams have no order"
            }
            Self::Reordered => "the rows depend on the order in which changes are delivered",
            Self::Holes => "the rows depend on how changes are delivered, by the feed or by repair",
            Self::Crashes => "the view keeps state outside of its rows, or has effects outside of them",
            Self::Races => {
                "the rows depend on which process applies a batch: the view keeps state outside of its rows"
            }
            Self::Failures => "a batch whose reply was lost has another effect",
            Self::Everything => "the rows depend on several of the above at once",
        }
    }
}

impl Schedule {
    /// Returns the schedule of a seed.
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
        // Small steps for disturbances that must occur at many steps.
        let small_steps = is(&[Disturbance::Crashes, Disturbance::Races, Disturbance::Failures]);
        let (batches, deliveries) =
            if small_steps { ([1, 2, 5], [1, 2, 4]) } else { ([1, 5, 10_000], [1, 4, 1_000]) };
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

    /// Returns the crash of the `index`th of consecutive processes, if it crashes.
    pub(super) fn crash(&self, process: usize, index: usize) -> Option<Crash> {
        let stage = [CrashStage::Before, CrashStage::Unknown, CrashStage::Known][index % 3];
        match self.disturbance {
            Disturbance::Crashes => Some(Crash { apply: 1, stage }),
            // The other processes do not crash, so that the run ends.
            Disturbance::Everything if process == 0 && index < 6 => {
                let mut draws = StdRng::seed_from_u64(self.seed.wrapping_mul(31).wrapping_add(index as u64));
                Some(Crash { apply: draws.random_range(1..=3), stage })
            }
            _ => None,
        }
    }

    /// Returns the order in which `process` receives the changes of these streams.
    pub(super) fn order(&self, process: usize, streams: &[StreamName]) -> Vec<usize> {
        let in_order: Vec<usize> = (0..streams.len()).collect();
        let reorders = match self.disturbance {
            Disturbance::StreamsReordered | Disturbance::Everything => true,
            // In the same order, the process that starts first would always be ahead.
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

/// A crash of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crash {
    /// The number of the call of `apply` at which the process crashes, from 1.
    pub(super) apply: usize,
    /// The progress of that call.
    pub(super) stage: CrashStage,
}

/// Progress of a call at the moment of a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CrashStage {
    /// The batch is not applied.
    Before,
    /// The batch is applied, and the process did not get the answer.
    Unknown,
    /// The batch is applied, and the process got the answer but could not act on it.
    Known,
}

/// Prints the seed and everything that is derived from it.
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
        writeln!(f, "  processes: {processes}, each with {workers} workers")?;
        writeln!(
            f,
            "  at most {events_per_batch} events per batch and {changes_per_delivery} changes per delivery"
        )?;
        writeln!(
            f,
            "  rates of changes: {} repeated, {} reordered by up to {} changes, {} lost, {} silence their stream",
            feed.repeated, feed.reordered, feed.window, feed.dropped, feed.silenced
        )?;
        write!(
            f,
            "  rates of calls: {} fail before they take effect, {} lose their reply",
            database.failed_before, database.reply_lost
        )
    }
}
