//! What the same work costs on DynamoDB: requests and capacity units, counted from the requests themselves.
//!
//! Nothing is timed: the server is DynamoDB Local, which is nothing like as fast as the service.

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

/// A library that takes part.
struct Contestant {
    name: &'static str,
    /// The package whose version is reported.
    package: &'static str,
    /// How it is used, in a few words.
    about: &'static str,
    /// Makes its tables in an empty database.
    open: fn(database: Database) -> LocalBoxFuture<'static, Result<Box<dyn Peer>>>,
}

/// The library at work in one database.
#[async_trait]
trait Peer: Send + Sync {
    /// Decides on the stream as the library does it, and appends these events to it.
    async fn command(&self, stream: &str, entries: Vec<Entry>) -> Result<()>;

    /// Loads the stream, which is there.
    async fn load(&self, stream: &str) -> Result<Account>;
}

/// The events that a stream has when it is measured.
const LENGTH: u64 = 100;
/// The events of each command that stored them.
const SIZE: u64 = 10;
/// The bytes of an event as JSON.
const BYTES: usize = 300;
/// The events of a command that is measured.
const COMMANDS: [u64; 3] = [1, 3, 10];
/// Of the stream above a megabyte.
const LARGE_BYTES: usize = 30_000;
const LARGE_LENGTH: u64 = 40;

/// Has every library do the same work, and prints what it cost as a table.
pub(crate) async fn run() -> Result<()> {
    let server = Server::start().await?;
    let mut conditions = measure::machine();
    conditions.push(format!(
        "DynamoDB Local; events of {BYTES} bytes as JSON, no snapshots; a stream of {LENGTH} events, stored in \
         commands of {SIZE}"
    ));
    conditions.push(
        "units by the service's rules, from each request and its answer; beside them what DynamoDB Local reports"
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

/// What the commands and the load cost.
async fn measured(server: &Server, contestant: &Contestant) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (place, count) in COMMANDS.into_iter().enumerate() {
        let (peer, recorder) = open(server, contestant).await?;
        fill(&*peer).await?;
        recorder.take();
        peer.command(STREAM, entries(LENGTH, count)).await?;
        let what = format!("command of {count}");
        rows.push(Row { work: place, what, peer: contestant.name, spent: recorder.take() });
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

/// What becomes of a stream that is larger than what one answer of the service has room for.
async fn above_a_megabyte(server: &Server, contestant: &Contestant) -> Result<String> {
    let (peer, _) = open(server, contestant).await?;
    let mut stored = 0;
    let mut refused = None;
    for number in 0..LARGE_LENGTH {
        match peer.command(STREAM, vec![entry(number, LARGE_BYTES)]).await {
            Ok(()) => stored += 1,
            Err(error) => {
                refused = Some(format!("{error:#}"));
                break;
            }
        }
    }
    let loaded = peer.load(STREAM).await?.events;
    let mut outcome = format!("{stored} stored, {loaded} loaded");
    if let Some(error) = refused {
        outcome += &format!("; the next command, and each after it, fails: {error}");
        ensure!(
            peer.command(STREAM, vec![entry(stored, LARGE_BYTES)]).await.is_err(),
            "a command failed once, and then did not"
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

/// An event that takes so many bytes as JSON.
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
        "{events} events were stored, and a load came to {account:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_takes_its_bytes() {
        for number in [0, 7, 109] {
            assert_eq!(serde_json::to_string(&entry(number, BYTES)).unwrap().len(), BYTES);
        }
    }
}
