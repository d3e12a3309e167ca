//! DynamoDB's own Kinesis destination. According to AWS, its records may come out of order, repeatedly or not at
//! all.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eventsrc_core::Synchronizer;
use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::lease::MemoryLeases;
use eventsrc_core::storage::CountingStorage;
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_dynamo::ItemDecoder;
use eventsrc_kinesis::aws_sdk_kinesis::primitives::Blob;
use eventsrc_kinesis::aws_sdk_kinesis::types::PutRecordsRequestEntry;
use eventsrc_kinesis::dynamodb::DestinationRecords;
use eventsrc_kinesis::{Consumer, KinesisStream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::timeout;

use super::destination::{Changes, DestinationRecord, PartitionKeys};
use super::disorder::{Disorder, DisorderCounts};
use super::{Bus, TABLE, polling, quick};
use crate::HANG;
use crate::ledgers::{Entries, Filler, Ledger as _};

/// Result of a run.
#[derive(Debug, Default)]
pub struct ConvergenceReport {
    /// Number of stored commits, each to be applied once.
    pub commits: u64,
    /// Disorder that was applied to their records.
    pub done: DisorderCounts,
    /// Number of records that first came before the preceding record of the same stream of events.
    pub gaps: u64,
    /// Number of reads of the storage because of gaps.
    pub fetches: u64,
    /// Number of streams of events that were behind after all records had come.
    pub behind: u64,
    /// Number of reads of the storage for these streams.
    pub swept: u64,
    /// Descriptions of all violations.
    pub violations: Vec<String>,
}

/// Number of commits that are stored before their records come.
const TOGETHER: u64 = 200;

/// Stores `commits`, delivers their records in the worst order that DynamoDB permits, without the last records of
/// some streams, and compares the ledger with the fold.
///
/// # Errors
///
/// If a server fails.
pub async fn converge(bus: &Bus, commits: u64, keys: PartitionKeys, seed: u64) -> Result<ConvergenceReport> {
    let mut random = StdRng::seed_from_u64(seed);
    let (storage, view) = (bus.storage(), bus.view().await?);
    let counted = Arc::new(CountingStorage::new(storage.clone()));
    let settings = SynchronizerSettings { sweep_every: None, ..SynchronizerSettings::default() };
    let synchronizer = Synchronizer::start(Arc::clone(&counted), view.clone(), settings);
    let source = KinesisStream::with(bus.kinesis_client(), &bus.stream, polling());
    let decoder = DestinationRecords::new(TABLE, ItemDecoder::new());
    let feed = Consumer::start(source, MemoryLeases::default(), decoder, quick()).await?;
    let handle = feed.handle();
    let follower = synchronizer.clone();
    let following = tokio::spawn(async move { follower.follow(feed).await });

    let mut changes = Changes::of(bus).await?;
    let mut filler = Filler::new((commits / 50).max(10), StdRng::from_rng(&mut random));
    let mut disorder = Disorder::new(StdRng::from_rng(&mut random));
    let mut arrivals = Arrivals::default();
    let mut stored = 0;
    while stored < commits {
        let together = TOGETHER.min(commits - stored);
        filler.add(&storage, together).await?;
        stored += together;
        let records = changes.next(usize::try_from(together)?).await?;
        let is_last =
            |place: usize| records[place + 1..].iter().all(|other| other.stream != records[place].stream);
        for (place, record) in records.iter().enumerate() {
            // No later record shows that these are missing.
            if stored == commits && is_last(place) && random.random_bool(0.5) {
                disorder.drop(record.clone());
            } else {
                disorder.put(record.clone());
            }
        }
        let come = if stored < commits { disorder.take() } else { disorder.take_all() };
        arrivals.put(bus, keys, come).await?;
    }

    let came = async {
        while handle.status().records < arrivals.count {
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(HANG, came).await.context("all records come")?;
    let anomalies = handle.status().anomalies;
    handle.drain();
    following.await??;

    let mut converged = ConvergenceReport { commits, done: disorder.done, ..ConvergenceReport::default() };
    converged.gaps = arrivals.gaps;
    converged.fetches = counted.take().reads;
    let expected = Entries::of(&storage).await?;
    let lacks = view.read_ledger().await?;
    let lacks =
        expected.commits.iter().filter(|(stream, all)| lacks.commits.get(*stream) != Some(all)).count();
    let swept = synchronizer.sweep().await?;
    converged.behind = swept.behind as u64;
    converged.swept = counted.take().reads;
    synchronizer.stop().await;

    let found = view.read_ledger().await?;
    let mut violation = |what: String| converged.violations.push(format!("seed {seed}, {keys:?}: {what}"));
    found.wrong(&expected).into_iter().for_each(&mut violation);
    if anomalies > 0 {
        violation(format!("{anomalies} anomalies"));
    }
    if swept.behind != lacks {
        violation(format!("{} streams were behind, and {lacks} lacked something", swept.behind));
    }
    // All commits of the delivered records are applied, or read with the commits before them. So a read needs
    // a record that comes too early. If one stream is in several shards, any record may.
    let most = match keys {
        PartitionKeys::OfStreams => converged.gaps,
        PartitionKeys::OfItems => arrivals.seen.len() as u64,
    };
    if converged.fetches > most {
        violation(format!("{} fetches, at most {most} were needed", converged.fetches));
    }
    // One read of the heads, and one of each stream that was behind.
    if converged.swept > 1 + converged.behind {
        violation(format!("a sweep read the storage {} times for {}", converged.swept, converged.behind));
    }
    Ok(converged)
}

/// Records that were put onto the stream.
#[derive(Default)]
struct Arrivals {
    count: u64,
    seen: HashSet<(String, usize)>,
    gaps: u64,
}

impl Arrivals {
    async fn put(&mut self, bus: &Bus, keys: PartitionKeys, records: Vec<DestinationRecord>) -> Result<()> {
        for some in records.chunks(500) {
            let entries = some.iter().map(|record| {
                let entry = PutRecordsRequestEntry::builder().partition_key(record.partition_key(keys));
                entry.data(Blob::new(record.data.as_bytes())).build().map_err(anyhow::Error::from)
            });
            let call = bus.kinesis_client().put_records().stream_name(&bus.stream);
            let put = call.set_records(Some(entries.collect::<Result<_>>()?)).send().await?;
            ensure!(put.failed_record_count.unwrap_or_default() == 0, "the local server takes all");
        }
        for DestinationRecord { stream, number, .. } in records {
            self.count += 1;
            let follows = number == 0 || self.seen.contains(&(stream.clone(), number - 1));
            if self.seen.insert((stream, number)) && !follows {
                self.gaps += 1;
            }
        }
        Ok(())
    }
}
