//! In Postgres a worker has one heartbeat, whatever the number of its leases.

use eventsrc_core::StorageError;
use eventsrc_core::lease::{Checkpoint, LeaseStore};
use eventsrc_postgres::{Postgres, PostgresLeases};
use futures::future::join_all;
use tokio_postgres::Client;

use super::{after, client, create, database, moved, take, unmoved};

/// The transactions that wrote the rows of `table`, by the name in `column`.
async fn written(client: &Client, table: &str, column: &str) -> Vec<(String, String)> {
    let sql = format!("SELECT {column}, xmin::text FROM eventsrc.{table} ORDER BY 1");
    client.query(&sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn workers(client: &Client) -> Vec<String> {
    written(client, "shard_workers", "worker").await.into_iter().map(|(worker, _)| worker).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_writes_one_row_and_those_with_a_new_checkpoint() {
    let (postgres, url) = database().await;
    let leases = PostgresLeases::new(&postgres, "group");
    let names: Vec<_> = (0..50).map(|shard| format!("{shard:02}")).collect();
    let mut held = Vec::new();
    for lease in create(&leases, &names.iter().map(String::as_str).collect::<Vec<_>>()).await {
        held.push(take(&leases, &lease, "v").await);
    }
    let client = client(&url).await;
    let before = written(&client, "shard_leases", "shard").await;
    let heartbeat = written(&client, "shard_workers", "worker").await;
    leases.renew("v", &held.iter().map(unmoved).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(written(&client, "shard_leases", "shard").await, before, "no lease is written");
    assert_ne!(written(&client, "shard_workers", "worker").await, heartbeat, "but the worker");
    let mut renewals: Vec<_> = held.iter().map(unmoved).collect();
    for at in [3, 30] {
        renewals[at] = moved(&held[at], after("7", 0, None));
    }
    leases.renew("v", &renewals).await.unwrap();
    let now = written(&client, "shard_leases", "shard").await;
    let changed: Vec<_> = (0..50).filter(|at| now[*at] != before[*at]).collect();
    assert_eq!(changed, [3, 30]);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_independent() {
    let (postgres, _) = database().await;
    let (one, two) = (PostgresLeases::new(&postgres, "one"), PostgresLeases::new(&postgres, "two"));
    let lease = create(&one, &["a"]).await.remove(0);
    let held = take(&one, &lease, "v").await;
    assert_eq!(two.leases().await.unwrap(), []);
    assert_eq!(two.take(&held, "w").await.unwrap(), None);
    assert_eq!(two.renew("v", &[unmoved(&held)]).await.unwrap(), [None]);
    let other = create(&two, &["a"]).await.remove(0);
    take(&two, &other, "w").await;
    assert_eq!(one.leases().await.unwrap(), [held]);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_without_leases_are_removed_eventually() {
    let (postgres, url) = database().await;
    let leases = PostgresLeases::new(&postgres, "group");
    let all = create(&leases, &["a", "b"]).await;
    for gone in ["gone 1", "gone 2"] {
        leases.renew(gone, &[]).await.unwrap();
    }
    let owned = take(&leases, &all[0], "owner").await;
    assert!(leases.claim(&owned, "heir").await.unwrap());
    let given_up = take(&leases, &all[1], "gone 3").await;
    assert!(leases.release("gone 3", &unmoved(&given_up)).await.unwrap());
    let client = client(&url).await;
    assert_eq!(workers(&client).await, ["gone 1", "gone 2", "gone 3", "heir", "owner"]);
    for _ in 0..64 {
        leases.renew("worker", &[]).await.unwrap();
    }
    assert_eq!(workers(&client).await, ["heir", "owner", "worker"]);
    // A worker that is alive after all has a row again.
    leases.renew("gone 1", &[]).await.unwrap();
    assert_eq!(workers(&client).await, ["gone 1", "heir", "owner", "worker"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_that_take_leases_from_each_other_do_not_block() {
    let (postgres, _) = database().await;
    let leases = PostgresLeases::new(&postgres, "group");
    for round in 0..20 {
        let names = [format!("{round:02} a"), format!("{round:02} b")];
        let all = create(&leases, &[&names[0], &names[1]]).await;
        let [a, b] = &all[all.len() - 2..] else { panic!("there are two leases") };
        let (a, b) = (take(&leases, a, "v").await, take(&leases, b, "w").await);
        let (taken_by_w, taken_by_v) = tokio::join!(leases.take(&a, "w"), leases.take(&b, "v"));
        assert!(taken_by_w.unwrap().is_some() && taken_by_v.unwrap().is_some());
    }
}

/// Every worker makes all kinds of calls at once, with rows of workers that come and go. No deadlock occurs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_calls_do_not_deadlock() {
    let (postgres, _) = database().await;
    let leases = PostgresLeases::new(&postgres, "group");
    create(&leases, &["a", "b", "c", "d", "e", "f"]).await;
    let work = (0..6).map(|worker| {
        let leases = leases.clone();
        tokio::spawn(async move {
            let (name, mut taken) = (format!("worker {worker}"), 0);
            for round in 0..70 {
                let all = leases.leases().await?;
                let lease = &all[(round + worker) % all.len()];
                taken += usize::from(leases.take(lease, &name).await?.is_some());
                leases.claim(&all[(round * worker) % all.len()], &name).await?;
                let own: Vec<_> = leases.leases().await?;
                let own = own.iter().rev().filter(|lease| lease.owner.as_ref() == Some(&name));
                let renewals: Vec<_> =
                    own.map(|lease| moved(lease, after(&round.to_string(), 0, None))).collect();
                leases.renew(&name, &renewals).await?;
                if let Some(renewal) = renewals.first().filter(|_| round % 3 == 0) {
                    leases.release(&name, renewal).await?;
                }
            }
            Ok::<_, StorageError>(taken)
        })
    });
    let taken: usize = join_all(work).await.into_iter().map(|work| work.unwrap().unwrap()).sum();
    println!("{taken} leases were taken");
    assert!(taken > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_role_can_make_all_lease_calls() {
    let (owner, url) = database().await;
    client(&url).await.batch_execute("CREATE USER lease_service").await.unwrap();
    owner.grant_service("lease_service").await.unwrap();
    let place = url.rsplit_once('@').map_or_else(|| url.split_once("://").unwrap().1, |(_, place)| place);
    let postgres = Postgres::connect(&format!("postgres://lease_service@{place}")).await.unwrap();
    let leases = PostgresLeases::new(&postgres, "group");
    let lease = create(&leases, &["a"]).await.remove(0);
    let mut held = take(&leases, &lease, "v").await;
    assert!(leases.claim(&held, "w").await.unwrap());
    // More renewals than it takes until old workers are forgotten.
    for _ in 0..64 {
        held = leases.renew("v", &[unmoved(&held)]).await.unwrap().remove(0).unwrap();
    }
    assert!(leases.release("v", &moved(&held, Checkpoint::End)).await.unwrap());
    leases.remove(&["a".to_owned()]).await.unwrap();
    assert_eq!(leases.leases().await.unwrap(), []);
}
