//! The pieces of work, which are the same for all libraries.

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

/// A piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Commands from `tasks` tasks. Each command loads a stream and appends an event to it.
    Commands { tasks: u64 },
    /// Loads of the same stream by one task.
    Loads,
    /// A projection that applies stored events, and then new ones while writers append.
    Projection,
}

/// All pieces of work, in the order of the table.
pub(crate) const ALL: [Work; 5] = [
    Work::Commands { tasks: 1 },
    Work::Commands { tasks: 8 },
    Work::Commands { tasks: 32 },
    Work::Loads,
    Work::Projection,
];

/// Amount of each piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) commands: u64,
    pub(crate) loads: u64,
    pub(crate) projected: u64,
}

impl Counts {
    /// Returns this share of the full counts.
    pub(crate) fn scaled(scale: f64) -> Self {
        let share = |full: f64, least: f64| (full * scale).round().max(least) as u64;
        Self {
            commands: share(20_000.0, ledger::STREAMS as f64),
            loads: share(1_000.0, 200.0),
            projected: share(100_000.0, ledger::STREAMS as f64),
        }
    }
}

/// Result of one library with one piece of work in one repeat.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    /// Measured value, in the unit of the work.
    pub(crate) value: f64,
    /// Amount of work.
    pub(crate) count: u64,
    /// Number of failed attempts.
    pub(crate) failures: u64,
    /// Verdict of a projection.
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
            Self::Projection => "projection, 8 active writers".into(),
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

    /// Runs the work once, in its own database.
    pub(crate) async fn run(
        self,
        contestant: &Contestant,
        database: &mut Database,
        counts: Counts,
    ) -> Result<Measured> {
        let peer: Arc<dyn Peer> =
            (contestant.open)(database.url.clone()).await.context("cannot set the library up")?.into();
        match self {
            Self::Commands { tasks } => commands::run(&peer, database, tasks, counts.commands).await,
            Self::Loads => loads::run(&*peer, database, counts.loads).await,
            Self::Projection => {
                projection::run(&peer, database, counts.projected.max(contestant.least_projected)).await
            }
        }
    }
}

/// Checks that exactly `expected` events are stored.
async fn ensure_stored(peer: &dyn Peer, database: &mut Database, expected: u64) -> Result<()> {
    let stored = database.number(peer.count()).await?;
    ensure!(stored == expected, "{expected} events were acknowledged, but {stored} are stored");
    Ok(())
}
