//! The cost of the same work on DynamoDB: requests and capacity units, counted from the requests.
//!
//! Nothing is timed, because the speed of DynamoDB Local says nothing about the service.

mod contestants;
mod recorder;
mod rules;
mod server;
mod table;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use futures::future::LocalBoxFuture;

use crate::measure;
use crate::peer::{Account, Entry};
use crate::version;
use contestants::ALL;
use recorder::Recorder;
use server::{Database, Server};
use table::Row;

/// A library in the comparison.
struct Contestant {
    name: &'static str,
    /// Package whose version is reported.
    package: &'static str,
    /// Description of its use, in a few words.
    about: &'static str,
    /// Creates its tables in an empty database.
    open: fn(database: Database) -> LocalBoxFuture<'static, Result<Box<dyn Peer>>>,
}

/// A library in one database.
#[async_trait]
trait Peer: Send + Sync {
    /// Loads the stream if the library needs it for a decision, and appends these events.
    async fn command(&self, stream: &str, entries: Vec<Entry>) -> Result<()>;

    /// Loads an existing stream.
    async fn load(&self, stream: &str) -> Result<Account>;
}

/// Events of a stream before the measurement.
const LENGTH: u64 = 100;
/// Events of each command that stores them.
const SIZE: u64 = 10;
/// Size of an event as JSON, in bytes.
const BYTES: usize = 300;
/// Numbers of events of the measured commands.
const COMMANDS: [u64; 3] = [1, 3, 10];
/// Size of an event in the stream of more than 1 MB, in bytes.
const LARGE_BYTES: usize = 30_000;
const LARGE_LENGTH: u64 = 40;

/// Runs the same work with each library, and prints a table of the costs.
pub(crate) async fn run() -> Result<()> {
    let server = Server::start().await?;
    let mut conditions = measure::machine();
    conditions.push(format!(
        "DynamoDB Local; events of {BYTES} bytes as JSON, no snapshots; a stream of {LENGTH} events, stored in \
         commands of {SIZE}"
    ));
    conditions.push(
        "units by the service's rules, from each request and its response; next to them the units that DynamoDB Local reports"
            .into(),
    );
    conditions.extend(ALL.iter().map(|it| format!("{} {}: {}", it.name, version(it.package), it.about)));

    let (mut rows, mut large) = (Vec::new(), Vec::new());
    for contestant in ALL {
        rows.extend(measured(&server, contestant).await.with_context(|| contestant.name)?);
        let outcome = above_a_megabyte(&server, contestant).await.with_context(|| contestant.name)?;
        large.push(format!("{}: {outcome}", contestant.name));
    }
    rows.sort_by_key(|row| row.work);
    println!("{}", table::markdown(&conditions, &rows));
    println!("{LARGE_LENGTH} commands of an event of {LARGE_BYTES} bytes on one stream, and a load of it:\n");
    large.iter().for_each(|outcome| println!("- {outcome}"));
    Ok(())
}

/// Measures the cost of the commands and of the load.
async fn measured(server: &Server, contestant: &Contestant) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (work, count) in COMMANDS.into_iter().enumerate() {
        let (peer, recorder) = open(server, contestant).await?;
        fill(&*peer).await?;
        recorder.take();
        peer.command(STREAM, entries(LENGTH, count)).await?;
        let what = format!("command of {count}");
        rows.push(Row { work, what, peer: contestant.name, spent: recorder.take() });
        check(peer.load(STREAM).await?, LENGTH + count)?;
    }
    let (peer, recorder) = open(server, contestant).await?;
    fill(&*peer).await?;
    recorder.take();
    check(peer.load(STREAM).await?, LENGTH)?;
    let what = format!("load of {LENGTH}");
    rows.push(Row { work: COMMANDS.len(), what, peer: contestant.name, spent: recorder.take() });
    Ok(rows)
}

/// Stores and loads a stream that is larger than one response of the service can be.
async fn above_a_megabyte(server: &Server, contestant: &Contestant) -> Result<String> {
    let (peer, _) = open(server, contestant).await?;
    let mut stored = 0;
    let mut rejected = None;
    for number in 0..LARGE_LENGTH {
        match peer.command(STREAM, vec![entry(number, LARGE_BYTES)]).await {
            Ok(()) => stored += 1,
            Err(error) => {
                rejected = Some(format!("{error:#}"));
                break;
            }
        }
    }
    let loaded = peer.load(STREAM).await?.events;
    let mut outcome = format!("{stored} stored, {loaded} loaded");
    if let Some(error) = rejected {
        outcome += &format!("; the next command, and each after it, fails: {error}");
        ensure!(
            peer.command(STREAM, vec![entry(stored, LARGE_BYTES)]).await.is_err(),
            "a command failed, and the next one succeeded"
        );
    }
    Ok(outcome)
}

const STREAM: &str = "DE89370400440532013000";

async fn open(server: &Server, contestant: &Contestant) -> Result<(Box<dyn Peer>, Recorder)> {
    let database = server.database();
    let recorder = database.recorder.clone();
    Ok(((contestant.open)(database).await?, recorder))
}

async fn fill(peer: &dyn Peer) -> Result<()> {
    for first in (0..LENGTH).step_by(SIZE as usize) {
        peer.command(STREAM, entries(first, SIZE)).await?;
    }
    Ok(())
}

fn entries(first: u64, count: u64) -> Vec<Entry> {
    (first..first + count).map(|number| entry(number, BYTES)).collect()
}

/// Returns an event that takes `bytes` bytes as JSON.
fn entry(number: u64, bytes: usize) -> Entry {
    let around = r#"{"amount":12345,"note":""}"#.len();
    let text = format!("invoice {number:06} of the analytical engine, ");
    let note = text.chars().cycle().take(bytes - around).collect();
    Entry { amount: 10_000 + number as i64, note }
}

fn check(account: Account, events: u64) -> Result<()> {
    let total = (0..events).map(|number| 10_000 + number as i64).sum();
    ensure!(
        account == Account { events, total },
        "{events} events were stored, but a load returned {account:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_requested_size() {
        for number in [0, 7, 109] {
            assert_eq!(serde_json::to_string(&entry(number, BYTES)).unwrap().len(), BYTES);
        }
    }
}
