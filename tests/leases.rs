//! Leases: every rule on every store, proof by wrong stores, and tests specific to each store.

mod client_library;
mod conformance;
mod heartbeats;
mod lost_replies;
mod proved;
mod sentences;
mod stored;
mod table;
mod wrong;

use eventsrc_core::Timestamp;
use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore, NewLease, Renewal, ShardPosition};
use eventsrc_postgres::Postgres;
use eventsrc_test_servers as servers;
use tokio_postgres::{Client, NoTls};

/// A new database of the shared server, and its address.
async fn database() -> (Postgres, String) {
    let url = servers::postgres().await.database("leases").await;
    (Postgres::connect(&url).await.unwrap(), url)
}

/// A plain client, as another program has it.
async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Creates leases of these shards. Returns all leases of the store.
async fn create(store: &impl LeaseStore, shards: &[&str]) -> Vec<Lease> {
    let new = |shard: &&str| NewLease {
        shard: (*shard).to_owned(),
        parents: Vec::new(),
        checkpoint: Checkpoint::TrimHorizon,
    };
    store.create(&shards.iter().map(new).collect::<Vec<_>>()).await.unwrap();
    store.leases().await.unwrap()
}

/// Takes a lease that must be available.
async fn take(store: &impl LeaseStore, lease: &Lease, worker: &str) -> Lease {
    store.take(lease, worker).await.unwrap().expect("the lease is as it was seen")
}

fn unmoved(lease: &Lease) -> Renewal {
    Renewal { lease: lease.clone(), checkpoint: None }
}

fn moved(lease: &Lease, checkpoint: Checkpoint) -> Renewal {
    Renewal { lease: lease.clone(), checkpoint: Some(checkpoint) }
}

fn after(sequence_number: &str, part: u64, microseconds: Option<i64>) -> Checkpoint {
    let time = microseconds.map(|time| Timestamp::from_microsecond(time).unwrap());
    Checkpoint::After(ShardPosition { sequence_number: sequence_number.into(), part, time })
}
