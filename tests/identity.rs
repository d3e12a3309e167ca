//! The example program `identity`: the promises of each command, in memory and in SQLite, and the differences in
//! DynamoDB.

mod aws;
mod commands;
mod crashes;
mod dynamo;
mod faults;
mod folds;
mod http;
mod program;
mod races;
mod schema;
mod time;

use std::collections::BTreeMap;
use std::sync::Arc;

use eventsrc_core::clock::{Randomness, SystemClock};
use eventsrc_core::commit::Vec1;
use eventsrc_core::{EventStorage, StreamKey};
use eventsrc_examples::identity::{
    DirectoryEvent, DirectoryKey, Email, Entry, Failure, GroupId, Name, Reason, Service, Storages, UserId,
};
use futures::TryStreamExt;

/// Runs each `async fn(impl Storages)` on memory and on SQLite.
macro_rules! on_memory_and_sqlite {
    ($($promise:ident),* $(,)?) => { $(
        mod $promise {
            use eventsrc_examples::identity::{InMemory, InSqlite};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_memory() {
                super::$promise(InMemory::default()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("identity.db");
                let database = eventsrc_sqlite::Database::open(&path).await.unwrap();
                super::$promise(InSqlite::new(&database)).await;
            }
        }
    )* };
}
use on_memory_and_sqlite;

/// A service after its start, with empty caches.
fn started<S: Storages>(storages: &S) -> Service<S> {
    Service::new(storages, Arc::new(SystemClock), Arc::new(Randomness::from_system()))
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn email(text: &str) -> Email {
    text.parse().unwrap()
}

async fn signed_up<S: Storages>(service: &Service<S>, who: &str) -> UserId {
    let address = email(&format!("{who}@example.org"));
    service.sign_up(&service.command(), name(who), address).await.unwrap().0
}

fn reasons<T: std::fmt::Debug>(result: Result<T, Failure>) -> Vec1<Reason> {
    match result {
        Err(Failure::Rejected(reasons)) => reasons,
        other => panic!("{other:?} is no rejection"),
    }
}

/// All payloads of a stream.
async fn payloads<St: EventStorage<Payload: Clone>>(storage: &St, key: &St::Key) -> Vec<St::Payload> {
    let pages: Vec<_> = storage.events(key, None).try_collect().await.unwrap();
    pages.iter().flat_map(|page| page.events().map(|event| event.payload.clone())).collect()
}

/// The keys of all users or groups that ever claimed something.
async fn claimants<K: StreamKey + Ord, S: Storages>(storages: &S) -> Vec<K> {
    let events = payloads(&*storages.directory(), &DirectoryKey).await;
    let owners = events.iter().filter_map(|event| match event {
        DirectoryEvent::Claimed { owner, .. } => K::from_parts(owner.category(), owner.id()),
        DirectoryEvent::Released { .. } => None,
    });
    let mut owners = Vec::from_iter(owners);
    owners.sort();
    owners.dedup();
    owners
}

/// Contents of the directory, and the same from the users and groups: entry, owner's id, claim.
type Claims = BTreeMap<Entry, (String, u64)>;

async fn said_by_the_directory<S: Storages>(storages: &S) -> Claims {
    let mut said = Claims::new();
    let pages: Vec<_> = storages.directory().events(&DirectoryKey, None).try_collect().await.unwrap();
    for event in pages.iter().flat_map(|page| page.events()) {
        match event.payload {
            DirectoryEvent::Claimed { entry, owner } => {
                said.insert(entry.clone(), (owner.id().into(), event.commit.last()));
            }
            DirectoryEvent::Released { entry, claim } => said.retain(|e, (_, at)| e != entry || at != claim),
        }
    }
    said
}

async fn said_by_the_owners<S: Storages>(storages: &S) -> Claims {
    let service = started(storages);
    let mut said = Vec::new();
    for id in claimants::<UserId, S>(storages).await {
        let user = service.user(id).await.unwrap().snapshot.value.unwrap_or_default();
        said.extend(user.name.map(|name| (Entry::UserName(name.text), (id.0.to_string(), name.claim))));
        said.extend(user.email.map(|email| (Entry::Email(email.text), (id.0.to_string(), email.claim))));
    }
    for id in claimants::<GroupId, S>(storages).await {
        let group = service.group(id).await.unwrap().snapshot.value.unwrap_or_default();
        said.extend(group.name.map(|name| (Entry::GroupName(name.text), (id.0.to_string(), name.claim))));
    }
    let count = said.len();
    let said = Claims::from_iter(said);
    assert_eq!(said.len(), count, "two have the same name or address");
    said
}

/// Asserts that the directory equals what the users and groups say. It does once every command is answered.
async fn assert_consistent<S: Storages>(storages: &S) {
    assert_eq!(said_by_the_directory(storages).await, said_by_the_owners(storages).await);
}
