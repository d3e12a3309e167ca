//! A process on the path of events, until it is killed.

use std::io::Write as _;
use std::ops::AddAssign;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::retry::BackoffSettings;
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::{ErrorKind, StorageError, Synchronizer};
use eventsrc_kinesis::{ConsumerHandle, forward};

use super::reader::answer;
use super::{Bus, BusFaults, quick};

/// The part of the path that a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// From the stream of the table to the Kinesis stream.
    Bridge,
    /// From Kinesis into the ledger.
    Ledger,
    /// From Kinesis into the ledger, with answers to reads.
    Reader,
}

impl Part {
    /// The part named by `text`.
    ///
    /// # Errors
    ///
    /// If no part has this name.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "bridge" => Self::Bridge,
            "ledger" => Self::Ledger,
            "reader" => Self::Reader,
            other => bail!("there is no part {other}"),
        })
    }

    /// The text that [`parse`](Self::parse) reads.
    pub fn text(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Ledger => "ledger",
            Self::Reader => "reader",
        }
    }
}

/// The report of a process, one on each line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkerReport {
    /// Number of leases that it lost to other workers.
    pub lost: u64,
    /// Number of commits that it found already applied.
    pub repeated: u64,
    /// Number of events that it applied.
    pub applied: u64,
    /// Number of faults that were injected into its calls.
    pub faults: u64,
    /// Number of its iterators that Kinesis rejected as expired.
    pub expired: u64,
    /// Number of anomalies.
    pub anomalies: u64,
}

impl WorkerReport {
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

impl AddAssign for WorkerReport {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.applied += other.applied;
        self.faults += other.faults;
        self.expired += other.expired;
        self.anomalies += other.anomalies;
    }
}

/// Runs its part on `bus`, and reports its state, until killed.
///
/// # Errors
///
/// If a call fails that must not fail.
pub async fn work(bus: &Bus, part: Part) -> Result<()> {
    let leases = bus.leases(part.text()).await?;
    match part {
        Part::Bridge => {
            let feed = answered(|| bus.changes_of_the_table(leases.clone(), quick())).await?;
            let (handle, publisher) = (feed.handle(), bus.publisher());
            let (backoff, randomness) = (BackoffSettings::default(), Randomness::from_system());
            let says = keep_reporting(|| async { Ok(heard(bus, &handle)) });
            tokio::select! {
                ended = forward(feed, &publisher, &backoff, &SystemClock, &randomness) => ended?,
                said = says => said?,
            }
        }
        Part::Ledger => {
            let feed = answered(|| bus.changes_on_kinesis(leases.clone(), quick())).await?;
            let handle = feed.handle();
            // A resumed bridge writes in parallel with its successor, which the local server does not
            // support: with two writers of a shard, a reader may miss a record. A sweep finds it.
            let settings = SynchronizerSettings {
                sweep_every: Some(BETWEEN_SWEEPS),
                events_per_batch: 200,
                ..Default::default()
            };
            let synchronizer = Synchronizer::start(bus.storage(), bus.view().await?, settings);
            let says = keep_reporting(|| async {
                let status = synchronizer.status().await?;
                let (repeated, applied) = (status.repeated_commits, status.applied_events);
                Ok(WorkerReport { repeated, applied, ..heard(bus, &handle) })
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

/// The output of `begin`, which is repeated while the services are unavailable: a supervisor restarts a process.
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

/// The report of any process.
fn heard(bus: &Bus, handle: &ConsumerHandle) -> WorkerReport {
    let (status, faults) = (handle.status(), bus.faults.as_ref());
    WorkerReport {
        lost: status.leases_lost,
        anomalies: status.anomalies,
        faults: faults.map_or(0, |faults| faults.injected().total()),
        expired: faults.map_or(0, BusFaults::expired),
        ..WorkerReport::default()
    }
}

/// Prints the report periodically.
async fn keep_reporting<F: Future<Output = Result<WorkerReport>>>(status: impl Fn() -> F) -> Result<()> {
    loop {
        status().await?.say()?;
        SystemClock.sleep(BETWEEN_WORDS).await;
    }
}

const BETWEEN_SWEEPS: Duration = Duration::from_secs(20);

const BETWEEN_STARTS: Duration = Duration::from_millis(20);

const BETWEEN_WORDS: Duration = Duration::from_millis(100);
