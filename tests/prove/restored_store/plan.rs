//! Random courses of one stream, around a restore.

use rand::RngExt;
use rand::rngs::StdRng;

/// Course of one stream, around a restore.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Number of the stream.
    pub(super) number: u64,
    pub(super) writer: Kind,
    /// Number of events of each commit before the backup.
    pub(super) kept: Vec<usize>,
    /// Number of events of each commit after it, which the restore loses.
    pub(super) lost: Vec<usize>,
    /// Number of events of each commit that another writer stores after the restore.
    pub(super) regrown: Vec<usize>,
    /// Number of events of the save on old knowledge.
    pub(super) events: usize,
    /// True if the saves have idempotency keys.
    pub(super) with_id: bool,
}

/// Origin of the old knowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A `SaveApi` that saved before.
    Saves,
    /// A `Decider` that saved before.
    Decider,
    /// A `SaveApi` that saved before, and gets its last command again.
    Repeats,
    /// A signed token, passed to a new `SaveApi`.
    TokenToSaves,
    /// A signed token, passed to a new `Decider`.
    TokenToDecider,
    /// A snapshot, which a new `Decider` reads.
    Snapshot,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Saves, Self::Decider, Self::Repeats, Self::TokenToSaves, Self::TokenToDecider, Self::Snapshot];

    /// True if the writer decides on a folded value.
    pub(super) fn folds(self) -> bool {
        matches!(self, Self::Decider | Self::TokenToDecider | Self::Snapshot)
    }

    pub(super) fn has_token(self) -> bool {
        matches!(self, Self::TokenToSaves | Self::TokenToDecider)
    }
}

const MOST_COMMITS: usize = 3;

const MOST_EVENTS: usize = 3;

impl Plan {
    pub(super) fn draw(number: u64, draws: &mut StdRng) -> Self {
        let writer = Kind::ALL[draws.random_range(0..Kind::ALL.len())];
        // A tenth of the streams lose nothing. A stream with a command to repeat has one commit at least.
        let loses = draws.random_ratio(9, 10);
        let kept = commits(usize::from(!loses), draws);
        let lost = if loses { commits(1, draws) } else { Vec::new() };
        let regrown = match draws.random_range(0..4) {
            0 => Vec::new(),
            1 => same_length(lost.iter().sum(), draws),
            _ => commits(1, draws),
        };
        Self {
            number,
            writer,
            kept,
            lost,
            regrown,
            events: draws.random_range(1..=MOST_EVENTS),
            with_id: writer == Kind::Repeats || draws.random(),
        }
    }
}

fn commits(least: usize, draws: &mut StdRng) -> Vec<usize> {
    let count = draws.random_range(least..=MOST_COMMITS);
    (0..count).map(|_| draws.random_range(1..=MOST_EVENTS)).collect()
}

/// Draws commits with this number of events in all.
fn same_length(events: usize, draws: &mut StdRng) -> Vec<usize> {
    let (mut left, mut commits) = (events, Vec::new());
    while left > 0 {
        let events = draws.random_range(1..=MOST_EVENTS.min(left));
        commits.push(events);
        left -= events;
    }
    commits
}
