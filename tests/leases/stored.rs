//! Tables as an earlier version of the library made them.

use eventsrc_core::Timestamp;
use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore};
use eventsrc_postgres::{Postgres, PostgresLeases};
use eventsrc_test_servers as servers;

use super::{after, client, moved, take, unmoved};

/// A database with tables of version 1, in SQL. It must not be changed.
const VERSION_1: &str = include_str!("version_1.sql");

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_version_1_stay_readable() {
    let url = servers::postgres().await.database("stored").await;
    client(&url).await.batch_execute(VERSION_1).await.unwrap();
    let leases = PostgresLeases::new(&Postgres::connect(&url).await.unwrap(), "orders");
    let free = |shard: &str, checkpoint| Lease {
        shard: format!("shardId-00000000000{shard}"),
        parents: Vec::new(),
        owner: None,
        next_owner: None,
        counter: 0,
        heartbeat: 0,
        checkpoint,
    };
    let number = "49590338271490256608559692538361571095921575989136588898";
    let stored = [
        Lease { counter: 4, ..free("0", Checkpoint::End) },
        Lease {
            parents: vec!["shardId-000000000000".into()],
            owner: Some("worker 1".into()),
            next_owner: Some("worker 2".into()),
            counter: 3,
            heartbeat: 17,
            ..free("1", after(number, 2, Some(1_767_225_600_000_001)))
        },
        Lease {
            parents: vec!["shardId-000000000000".into(), "shardId-00000000000a".into()],
            owner: Some("worker 1".into()),
            counter: 1,
            heartbeat: 17,
            ..free("2", after("17", 0, None))
        },
        free("3", Checkpoint::TrimHorizon),
        free("4", Checkpoint::Latest),
        free("5", Checkpoint::At(Timestamp::from_microsecond(1_767_225_600_000_002).unwrap())),
    ];
    assert_eq!(leases.leases().await.unwrap(), stored);

    // The store continues from there.
    let renewals = [unmoved(&stored[1]), moved(&stored[2], after("18", 1, None))];
    let renewed = leases.renew("worker 1", &renewals).await.unwrap();
    let expected = [
        Lease { heartbeat: 18, ..stored[1].clone() },
        Lease { heartbeat: 18, ..Lease { checkpoint: after("18", 1, None), ..stored[2].clone() } },
    ];
    assert_eq!(renewed, expected.clone().map(Some));
    assert!(leases.release("worker 1", &unmoved(&stored[1])).await.unwrap());
    take(&leases, &stored[3], "worker 3").await;
    leases.remove(&["shardId-000000000000".to_owned()]).await.unwrap();
    let now = leases.leases().await.unwrap();
    let owners: Vec<_> = now.iter().map(|lease| lease.owner.as_deref()).collect();
    assert_eq!(owners, [Some("worker 2"), Some("worker 1"), Some("worker 3"), None, None]);
    let of_another = PostgresLeases::new(&Postgres::connect(&url).await.unwrap(), "another");
    assert_eq!(of_another.leases().await.unwrap()[0].heartbeat, 99);
}
