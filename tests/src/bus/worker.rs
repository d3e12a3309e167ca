//! A process on the way of events, until it is killed.

use std::io::Write as _;
use std::ops::AddAssign;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::{ErrorKind, StorageError, Synchronizer};
use eventsrc_kinesis::{ConsumerHandle, forward};

use super::reader::answer;
use super::{Bus, BusFaults, quick};

/// Which part of the way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// From the stream of the table onto the stream of Kinesis.
    Bridge,
    /// From there into the ledger.
    Ledger,
    /// From there into the ledger, with answers to whoever asks.
    Reader,
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
            "reader" => Self::Reader,
            other => bail!("there is no part {other}"),
        })
    }

    /// What [`parse`](Self::parse) reads.
    pub fn text(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Ledger => "ledger",
            Self::Reader => "reader",
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
    /// How many faults were injected into its calls.
    pub faults: u64,
    /// How many of its iterators Kinesis said were too old.
    pub expired: u64,
    /// How many anomalies it had.
    pub anomalies: u64,
}

impl Said {
    pub(super) fn parse(line: &str) -> Result<Self> {
        let mut numbers = line.split(' ').map(str::parse::<u64>);
        let mut next = || anyhow::Ok(numbers.next().context("a process says six numbers")??);
        Ok(Self {
            lost: next()?,
            repeated: next()?,
            applied: next()?,
            faults: next()?,
            expired: next()?,
            anomalies: next()?,
        })
    }

    fn say(self) -> Result<()> {
        let Self { lost, repeated, applied, faults, expired, anomalies } = self;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{lost} {repeated} {applied} {faults} {expired} {anomalies}")?;
        Ok(out.flush()?)
    }
}

impl AddAssign for Said {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.applied += other.applied;
        self.faults += other.faults;
        self.expired += other.expired;
        self.anomalies += other.anomalies;
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
            let feed = answered(|| bus.changes_of_the_table(leases.clone(), quick())).await?;
            let (handle, publisher) = (feed.handle(), bus.publisher());
            let randomness = Randomness::from_system();
            let says = keep_saying(|| async { Ok(heard(bus, &handle)) });
            tokio::select! {
                ended = forward(feed, &publisher, &SystemClock, &randomness) => ended?,
                said = says => said?,
            }
        }
        Part::Ledger => {
            let feed = answered(|| bus.changes_on_kinesis(leases.clone(), quick())).await?;
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
                Ok(Said { repeated, applied, ..heard(bus, &handle) })
            });
            tokio::select! {
                ended = synchronizer.follow(feed) => ended?,
                said = says => said?,
            }
        }
        Part::Reader => return answer(bus).await,
    }
    bail!("the feed has ended")
}

/// What `begin` comes to, however often the services are out of reach before: whoever runs a process starts it again.
pub(super) async fn answered<T, F: Future<Output = Result<T, StorageError>>>(
    begin: impl Fn() -> F,
) -> Result<T> {
    loop {
        match begin().await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                SystemClock.sleep(BETWEEN_STARTS).await;
            }
            begun => return Ok(begun?),
        }
    }
}

/// What is known of any process.
fn heard(bus: &Bus, handle: &ConsumerHandle) -> Said {
    let (status, faults) = (handle.status(), bus.faults.as_ref());
    Said {
        lost: status.lost,
        anomalies: status.anomalies,
        faults: faults.map_or(0, |faults| faults.injected().total()),
        expired: faults.map_or(0, BusFaults::expired),
        ..Said::default()
    }
}

/// Says from time to time how it is.
async fn keep_saying<F: Future<Output = Result<Said>>>(status: impl Fn() -> F) -> Result<()> {
    loop {
        status().await?.say()?;
        SystemClock.sleep(BETWEEN_WORDS).await;
    }
}

const BETWEEN_SWEEPS: Duration = Duration::from_secs(20);

const BETWEEN_STARTS: Duration = Duration::from_millis(20);

const BETWEEN_WORDS: Duration = Duration::from_millis(100);
