//! The delay of a commit from its put to the application.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::feed::{Change, ChangeFeed as _};
use eventsrc_core::lease::MemoryLeases;
use eventsrc_kinesis::PollingSettings;

use super::by_hand::{Commit, Shard};
use super::{Bench, Feed, Stream, change, every, reads};
use crate::measure::paired::percentile;
use crate::table::{Bar, Row};
use crate::{Benchmark, no_child};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "kinesis-delay",
    about: "Kinesis: from a put to the application, compared with a raw loop at the same poll interval",
    run,
    child: no_child,
};

/// Poll interval of both sides of the comparison.
const WAIT: Duration = Duration::from_millis(20);
/// Puts per second in the comparison.
const COMPARED_RATE: u64 = 60;
const SHARDS: u64 = 4;
/// Puts per second on all shards in the measurement under light load.
const LIGHT_RATE: u64 = 2 * SHARDS;
const SECONDS: u64 = 30;

fn run(_: &Path) -> Result<Vec<Row>> {
    let bench = Bench::start()?;
    let (compared, light) = (bench.stream(1)?, bench.stream(SHARDS as i32)?);
    // Together they use less than a tenth of a core.
    let both = async { tokio::try_join!(compare(compared), as_it_comes(light)) };
    let ((ours, raw), light) = bench.runtime.block_on(both)?;
    let row = |which, of: fn(&Delays) -> f64| {
        let name = format!("Kinesis delay {which}, asked every {} ms, against a raw loop", WAIT.as_millis());
        Row::new(name, "ms", of(&ours), of(&raw))
    };
    let added = ours.p99() - raw.p99();
    Ok(vec![
        row("at p50", Delays::p50),
        row("at p99", Delays::p99),
        Row::new("Kinesis delay added to the raw loop's at p99, against 5 ms", "ms added", added, 5.0)
            .bar(Bar::AtMost(1.0)),
        Row::new("Kinesis delay at p50, little load, as it comes, against 250 ms", "ms", light.p50(), 250.0)
            .bar(Bar::AtMost(1.0)),
        Row::new("Kinesis delay at p99, little load, as it comes", "ms", light.p99(), light.p50()),
    ])
}

/// Measures the delays of a consumer and of a raw loop for the same commits of one stream.
async fn compare(stream: Stream) -> Result<(Delays, Delays)> {
    let puts = Arc::new(Puts::default());
    let feed = stream.consumer(MemoryLeases::default(), every(WAIT)).await?;
    reads(&feed.handle(), 1).await?;
    let count = COMPARED_RATE * SECONDS;
    let ours = tokio::spawn(ours(feed, Arc::clone(&puts), count));
    let raw = tokio::spawn(raw(Shard::of(&stream).await?, Arc::clone(&puts), count));
    put(&stream, &puts, COMPARED_RATE, count).await?;
    Ok((ours.await??, raw.await??))
}

/// Measures the delays of a consumer with default settings.
async fn as_it_comes(stream: Stream) -> Result<Delays> {
    let puts = Arc::new(Puts::default());
    let feed = stream.consumer(MemoryLeases::default(), PollingSettings::default()).await?;
    reads(&feed.handle(), SHARDS as usize).await?;
    let count = LIGHT_RATE * SECONDS;
    let ours = tokio::spawn(ours(feed, Arc::clone(&puts), count));
    put(&stream, &puts, LIGHT_RATE, count).await?;
    ours.await?
}

/// Puts `count` commits one by one, at random moments and `rate` per second.
async fn put(stream: &Stream, puts: &Puts, rate: u64, count: u64) -> Result<()> {
    let publisher = stream.publisher(false);
    let randomness = Randomness::seeded(20);
    let (start, step) = (SystemClock.elapsed(), Duration::from_secs(1) / rate as u32);
    for number in 1..=count {
        let change = [change(number)?];
        let moment = start + step * number as u32 + randomness.up_to(step);
        SystemClock.sleep(moment.saturating_sub(SystemClock.elapsed())).await;
        puts.begin();
        publisher.publish(&change).await?;
    }
    Ok(())
}

async fn ours(mut feed: Feed, puts: Arc<Puts>, count: u64) -> Result<Delays> {
    let mut delays = Delays::default();
    while (delays.0.len() as u64) < count {
        let delivery = feed.next().await?.context("the consumer has ended")?;
        for change in &delivery.changes {
            let Change::Commit(commit) = change else { bail!("expected a commit, got {change:?}") };
            delays.0.push(puts.ago(commit.first));
        }
        delivery.acknowledgement.acknowledge();
    }
    Ok(delays)
}

async fn raw(mut shard: Shard, puts: Arc<Puts>, count: u64) -> Result<Delays> {
    let mut delays = Delays::default();
    while (delays.0.len() as u64) < count {
        let called = SystemClock.elapsed();
        for record in shard.next().await? {
            delays.0.push(puts.ago(Commit::read(record.data.as_ref())?.number));
        }
        SystemClock.sleep(WAIT.saturating_sub(SystemClock.elapsed().saturating_sub(called))).await;
    }
    Ok(delays)
}

/// Start times of the puts.
#[derive(Default)]
struct Puts(Mutex<Vec<Duration>>);

impl Puts {
    /// Records that the next put begins now.
    fn begin(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(SystemClock.elapsed());
    }

    /// Returns the time since the put of this number began.
    fn ago(&self, number: u64) -> Duration {
        let puts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        SystemClock.elapsed().saturating_sub(puts[number as usize - 1])
    }
}

#[derive(Default)]
struct Delays(Vec<Duration>);

impl Delays {
    fn p50(&self) -> f64 {
        self.milliseconds(50)
    }

    fn p99(&self) -> f64 {
        self.milliseconds(99)
    }

    fn milliseconds(&self, percent: usize) -> f64 {
        let times = self.0.iter().map(|delay| delay.as_secs_f64() * 1e3).collect();
        percentile(times, percent)
    }
}
