//! Round trips of calls. A relay counts how often the client sends after the server did.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eventsrc_core::EventStorage;
use eventsrc_core::storage::Put;
use eventsrc_postgres::{Postgres, PostgresStorage};
use eventsrc_test_servers as servers;
use futures::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;

use super::{Storage, client, commit, name, store, transactions};

/// A relay in front of a server that counts round trips.
struct Relay {
    address: SocketAddr,
    trips: Arc<AtomicU64>,
}

impl Relay {
    async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, trips) = (listener.local_addr().unwrap(), Arc::<AtomicU64>::default());
        let counted = Arc::clone(&trips);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, TcpStream::connect(server).await.unwrap(), Arc::clone(&counted)));
            }
        });
        Self { address, trips }
    }

    /// Number of round trips since the last call.
    fn trips(&self) -> u64 {
        self.trips.swap(0, Ordering::Relaxed)
    }
}

/// Forwards both ways. A round trip begins when the client sends after the server did.
async fn relay(mut client: TcpStream, mut server: TcpStream, trips: Arc<AtomicU64>) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut is_asking = false;
    loop {
        select! {
            Ok(length @ 1..) = client.read(&mut asked) => {
                if !is_asking {
                    trips.fetch_add(1, Ordering::Relaxed);
                }
                is_asking = true;
                server.write_all(&asked[..length]).await.unwrap();
            }
            Ok(length @ 1..) = server.read(&mut answered) => {
                is_asking = false;
                client.write_all(&answered[..length]).await.unwrap();
            }
            else => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_command_is_one_round_trip_and_one_transaction() {
    let server = servers::postgres().await;
    let direct = server.database("trips").await;
    let relay = Relay::before(server.address()).await;
    let url = direct.replacen(&server.address().to_string(), &relay.address.to_string(), 1);
    let postgres = Postgres::connect(&url).await.unwrap();
    let storage: Storage = PostgresStorage::new(&postgres);
    // Connects, and prepares the statements.
    store(&storage, &commit("user/1", 1, &["here"])).await;
    relay.trips();
    for first in 2..=20 {
        store(&storage, &commit("user/1", first, &["here"])).await;
        assert_eq!(relay.trips(), 1, "at {first}");
    }
    assert_eq!((postgres.disk_commits(), transactions(&client(&direct).await).await), (20, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_and_a_repetition_are_reported_in_the_same_round_trip() {
    let server = servers::postgres().await;
    let relay = Relay::before(server.address()).await;
    let url =
        server.database("trips").await.replacen(&server.address().to_string(), &relay.address.to_string(), 1);
    let storage = super::open(&url).await;
    let draft = commit("user/1", 1, &["a", "b"]);
    store(&storage, &draft).await;
    relay.trips();
    let Put::Conflict(conflict) = storage.put(commit("user/1", 2, &["c"])).await.unwrap() else {
        panic!("2 is taken");
    };
    assert_eq!((conflict.existing, conflict.head), (Some(Arc::clone(&draft)), Some(draft.head())));
    assert_eq!(relay.trips(), 1);
    assert!(matches!(storage.put(draft).await.unwrap(), Put::Repeated { last: 2 }));
    assert_eq!(relay.trips(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_one_round_trip_a_page() {
    let server = servers::postgres().await;
    let relay = Relay::before(server.address()).await;
    let url =
        server.database("trips").await.replacen(&server.address().to_string(), &relay.address.to_string(), 1);
    let storage = super::open(&url).await;
    store(&storage, &commit("user/1", 1, &["a", "b"])).await;
    let read = async || {
        storage.latest(&name("user/1")).await.unwrap();
        storage.events(&name("user/1"), Some(2)).try_collect::<Vec<_>>().await.unwrap()
    };
    // Prepares the statements.
    read().await;
    relay.trips();
    assert_eq!(read().await.len(), 1);
    assert_eq!(relay.trips(), 2);
}
