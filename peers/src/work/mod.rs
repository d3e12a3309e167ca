//! The pieces of work, which are the same for every library.

mod commands;
mod ledger;
mod loads;
mod projection;

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

pub(crate) use ledger::Totals;
pub(crate) use projection::Verdict;

use crate::database::Database;
use crate::peer::{Contestant, Peer};

/// One piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Commands from so many tasks, each of which loads a stream and appends an event to it.
    Commands { tasks: u64 },
    /// One task loads the same stream again and again.
    Loads,
    /// A table is brought up to date with stored events, and kept so while others append.
    Projection,
}

/// All of it, in the order of the table.
pub(crate) const ALL: [Work; 5] = [
    Work::Commands { tasks: 1 },
    Work::Commands { tasks: 8 },
    Work::Commands { tasks: 32 },
    Work::Loads,
    Work::Projection,
];

/// How much of each there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) commands: u64,
    pub(crate) loads: u64,
    pub(crate) projected: u64,
}

impl Counts {
    /// The full counts, shrunk to this share of them.
    pub(crate) fn scaled(scale: f64) -> Self {
        let share = |full: f64, least: f64| (full * scale).round().max(least) as u64;
        Self {
            commands: share(20_000.0, ledger::STREAMS as f64),
            loads: share(1_000.0, 200.0),
            projected: share(100_000.0, ledger::STREAMS as f64),
        }
    }
}

/// What one library came to with one piece of work, once.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    /// In the unit of the work.
    pub(crate) value: f64,
    /// How much was done.
    pub(crate) count: u64,
    /// Tries that were in vain.
    pub(crate) failures: u64,
    /// Of a projection: what it made of the events.
    pub(crate) verdict: Option<Verdict>,
}

impl Work {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Commands { .. } => "commands",
            Self::Loads => "loads",
            Self::Projection => "projection",
        }
    }

    pub(crate) fn title(self) -> String {
        match self {
            Self::Commands { tasks: 1 } => "commands, 1 task".into(),
            Self::Commands { tasks } => format!("commands, {tasks} tasks"),
            Self::Loads => format!("load of {} events", loads::LENGTH),
            Self::Projection => "projection, 8 writers beside".into(),
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Commands { .. } => "commands/s",
            Self::Loads => "ms/load",
            Self::Projection => "events/s",
        }
    }

    pub(crate) fn less_is_better(self) -> bool {
        self == Self::Loads
    }

    /// Does it once, in a database of its own.
    pub(crate) async fn run(
        self,
        contestant: &Contestant,
        database: &mut Database,
        counts: Counts,
    ) -> Result<Measured> {
        let peer: Arc<dyn Peer> =
            (contestant.open)(database.url.clone()).await.context("cannot set it up")?.into();
        match self {
            Self::Commands { tasks } => commands::run(&peer, database, tasks, counts.commands).await,
            Self::Loads => loads::run(&*peer, database, counts.loads).await,
            Self::Projection => {
                projection::run(&peer, database, counts.projected.max(contestant.least_projected)).await
            }
        }
    }
}

/// That exactly `expected` events are stored.
async fn ensure_stored(peer: &dyn Peer, database: &mut Database, expected: u64) -> Result<()> {
    let stored = database.number(peer.count()).await?;
    ensure!(stored == expected, "{expected} events were acknowledged, and {stored} are stored");
    Ok(())
}
