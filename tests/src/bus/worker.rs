//! A process on the way of events, until it is killed.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use eventsrc_core::{Clock, Randomness, Synchronizer, SynchronizerSettings, SystemClock};
use eventsrc_kinesis::forward;

use super::{Bus, quick};

/// Which part of the way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// From the stream of the table onto the stream of Kinesis.
    Bridge,
    /// From there into the ledger.
    Ledger,
}

impl Part {
    /// The part that `text` names.
    ///
    /// # Errors
    ///
    /// If it names none.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "bridge" => Self::Bridge,
            "ledger" => Self::Ledger,
            other => bail!("there is no part {other}"),
        })
    }

    /// What [`parse`](Self::parse) reads.
    pub fn text(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Ledger => "ledger",
        }
    }
}

/// What a process says of itself, a line at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Said {
    /// How many leases it lost to others.
    pub lost: u64,
    /// How many commits it found applied by others, or by itself before.
    pub repeated: u64,
    /// How many events it has applied.
    pub applied: u64,
}

impl Said {
    pub(super) fn parse(line: &str) -> Result<Self> {
        let mut numbers = line.split(' ').map(str::parse::<u64>);
        let mut next = || anyhow::Ok(numbers.next().context("a process says three numbers")??);
        Ok(Self { lost: next()?, repeated: next()?, applied: next()? })
    }

    fn say(self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{} {} {}", self.lost, self.repeated, self.applied)?;
        Ok(out.flush()?)
    }
}

/// Does its part on `bus`, and says how far it is, until killed.
///
/// # Errors
///
/// If something fails that should not.
pub async fn work(bus: &Bus, part: Part) -> Result<()> {
    let leases = bus.leases(part.text()).await?;
    match part {
        Part::Bridge => {
            let feed = bus.changes_of_the_table(leases, quick()).await?;
            let (handle, publisher) = (feed.handle(), bus.publisher());
            let randomness = Randomness::from_system();
            let says = keep_saying(|| async { Ok(Said { lost: handle.status().lost, ..Said::default() }) });
            tokio::select! {
                ended = forward(feed, &publisher, &SystemClock, &randomness) => ended?,
                said = says => said?,
            }
        }
        Part::Ledger => {
            let feed = bus.changes_on_kinesis(leases, quick()).await?;
            let handle = feed.handle();
            // A bridge that wakes up writes beside the one that took over, which the local server does not bear: of two writers
            // of a shard, a reader may miss a record. A sweep finds it.
            let settings = SynchronizerSettings {
                sweep_every: Some(BETWEEN_SWEEPS),
                events_per_batch: 200,
                ..Default::default()
            };
            let synchronizer = Synchronizer::start(bus.storage(), bus.view().await?, settings);
            let says = keep_saying(|| async {
                let status = synchronizer.status().await?;
                let (repeated, applied) = (status.repeated_commits, status.applied_events);
                Ok(Said { lost: handle.status().lost, repeated, applied })
            });
            tokio::select! {
                ended = synchronizer.follow(feed) => ended?,
                said = says => said?,
            }
        }
    }
    bail!("the feed has ended")
}

/// Says from time to time how it is.
async fn keep_saying<F: Future<Output = Result<Said>>>(status: impl Fn() -> F) -> Result<()> {
    loop {
        status().await?.say()?;
        SystemClock.sleep(BETWEEN_WORDS).await;
    }
}

const BETWEEN_SWEEPS: Duration = Duration::from_secs(5);

const BETWEEN_WORDS: Duration = Duration::from_millis(100);
