//! A storage of one's own: a map in memory behind the trait, in as few lines as the contract allows.
//!
//! `cargo run --example custom-backend`. A real one runs the conformance suite of `eventsrc-testkit`; see chapter 10
//! of the guide.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, ensure};
use eventsrc_core::backend::{check_follows, storable_name};
use eventsrc_core::storage::{CommitOf, Conflict, Page, PageOf, Put, PutOf};
use eventsrc_core::{Commit, EventStorage, Head, Operation, SaveApi, StorageError, StreamName};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

type Stored = Arc<Commit<StreamName, u64, String>>;

/// Commits by stream and first sequence.
#[derive(Default)]
struct MapStorage(Mutex<Map>);

type Map = BTreeMap<(StreamName, u64), Stored>;

/// The commits of a stream, in order.
fn commits(stored: &Map, key: &StreamName) -> Vec<Stored> {
    stored.range((key.clone(), 0)..=(key.clone(), u64::MAX)).map(|(_, commit)| Arc::clone(commit)).collect()
}

impl MapStorage {
    fn lock(&self) -> MutexGuard<'_, Map> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventStorage for MapStorage {
    type Key = StreamName;
    type Sequence = u64;
    type Payload = String;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        storable_name(&commit)?;
        // One lock from the check to the insertion: of racing puts at one sequence, one is stored.
        let mut stored = self.lock();
        let commits = commits(&stored, &commit.key);
        let head = commits.last().map(|last| last.head());
        if let Some(existing) = commits.into_iter().find(|stored| stored.last() >= commit.first) {
            return Ok(match existing.is(&commit) {
                true => Put::Repeated { last: existing.last() },
                false => Put::Conflict(Conflict { existing: Some(existing), head }),
            });
        }
        check_follows(&commit, head.as_ref())?;
        stored.insert((commit.key.clone(), commit.first), commit);
        Ok(Put::Stored)
    }

    async fn recent(&self, key: &StreamName, count: usize) -> Result<Vec<Head<u64>>, StorageError> {
        Ok(commits(&self.lock(), key).iter().rev().take(count).map(|commit| commit.head()).collect())
    }

    fn events(
        &self,
        key: &StreamName,
        from: Option<u64>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let page = Page::starting_at(Arc::new(commits(&self.lock(), key)), from);
        stream::iter((!page.is_empty()).then_some(Ok(page))).boxed()
    }
}

pub(crate) async fn run() -> Result<()> {
    let saves = SaveApi::new(MapStorage::default());
    let ada: StreamName = "user/ada".parse()?;
    let saved = saves.save(&ada, Operation::if_absent("Ada".to_owned())).await?.saved();
    println!("saved at sequence {:?}", saved.as_ref().map(|saved| saved.sequence));
    let again = saves.save(&ada, Operation::if_absent("Grace".to_owned())).await?.saved();
    ensure!(saved.is_some() && again.is_none(), "the second is rejected: the name is taken");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    run().await
}
