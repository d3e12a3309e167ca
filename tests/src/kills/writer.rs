//! A writer that is killed.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::commit::Vec1;
use eventsrc_core::storage::Put;
use eventsrc_core::{Commit, EventStorage, Metadata, StreamName};
use eventsrc_dynamo::DynamoStorage;
use eventsrc_sqlite::{Database, SqliteStorage};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::place::Location;

/// One event of a writer's commit, with its index in it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) place: usize,
    pub(super) of: usize,
    text: String,
}

/// Writes commits of several events from several tasks at once, and prints the stored ones, until it is killed or
/// each task has stored `commits`. This is what `writer` does.
///
/// # Errors
///
/// If the storage fails, or violates its contract.
pub async fn write(place: &Location, seed: u64, commits: Option<u64>) -> Result<()> {
    match place {
        Location::File(file) => {
            let storage = SqliteStorage::new(&Database::open(file).await?);
            write_to(&storage, seed, commits, false).await
        }
        Location::Dynamo { .. } => write_to(&DynamoStorage::new(&place.dynamo()?), seed, commits, true).await,
    }
}

/// Writes to any storage. If `sends_again`, the storage may retry a put by itself and then find it stored.
async fn write_to<St>(storage: &St, seed: u64, commits: Option<u64>, sends_again: bool) -> Result<()>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = Part> + Clone,
{
    let randomness = Arc::new(Randomness::seeded(seed));
    let task = |number: usize| {
        let (storage, randomness) = (storage.clone(), Arc::clone(&randomness));
        let key = StreamName::new("written", &(number % STREAMS).to_string())?;
        let write = async move { write_stream(&storage, &key, &randomness, commits, sends_again).await };
        Ok(tokio::spawn(write))
    };
    let tasks: Vec<_> = (0..TASKS).map(task).collect::<Result<_>>()?;
    for outcome in try_join_all(tasks).await? {
        outcome?;
    }
    Ok(())
}

const TASKS: usize = 8;

/// Fewer streams than tasks, so that tasks race.
const STREAMS: usize = 5;

async fn write_stream<St>(
    storage: &St,
    key: &StreamName,
    randomness: &Randomness,
    commits: Option<u64>,
    sends_again: bool,
) -> Result<()>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = Part>,
{
    let mut next = storage.latest(key).await?.map_or(1, |head| head.sequence + 1);
    let mut stored = 0;
    while commits.is_none_or(|commits| stored < commits) {
        let commit = Arc::new(draft(key, next, randomness));
        match storage.put(Arc::clone(&commit)).await? {
            Put::Repeated { last } if !sends_again || last != commit.last() => {
                bail!("a new commit of {key} is said to be stored up to {last}")
            }
            Put::Stored | Put::Repeated { .. } => {
                println!("{key} {next} {} {}", commit.len(), commit.metadata.commit_id);
                next = commit.last() + 1;
                stored += 1;
            }
            Put::Conflict(conflict) => {
                let head = conflict.head.map(|head| head.sequence);
                let last = head.or(conflict.existing.map(|existing| existing.last()));
                let last = last.context("a conflict without a commit")?;
                ensure!(last >= next, "a conflict at {next} of {key}, where {last} is in the way");
                next = last + 1;
            }
        }
    }
    Ok(())
}

/// A commit of one to six events, sometimes with long payloads.
fn draft(key: &StreamName, first: u64, randomness: &Randomness) -> Commit<StreamName, u64, Part> {
    let time = SystemClock.now();
    let id = randomness.commit_id(time);
    let drawn = id.0.as_u128();
    let (of, length) = (1 + drawn as usize % 6, if drawn >> 8 & 15 == 0 { 9_000 } else { 40 });
    let part = |place| Part { place, of, text: "x".repeat(length) };
    let mut payloads = Vec1::new(part(0));
    payloads.extend((1..of).map(part));
    Commit {
        key: key.clone(),
        first,
        previous: None,
        time,
        metadata: Metadata::new(id),
        payloads: payloads.into(),
    }
}
