//! Commands that append to Postgres: 64 concurrent ones compared with UNNEST by hand, and a single one with an INSERT.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::Result;
use eventsrc_core::{SaveApi, StreamName};
use eventsrc_postgres::{Postgres, PostgresStorage};
use futures::future::try_join_all;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Client, Statement};

use super::Bench;
use crate::append::{event, save_on};
use crate::measure::paired;
use crate::table::{Bar, Row};
use crate::{Benchmark, no_child};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "postgres-append",
    about: "Postgres: 64 commands at once compared with UNNEST by hand, and one command compared with an INSERT",
    run,
    child: no_child,
};

const WRITERS: u64 = 64;

fn run(_: &Path) -> Result<Vec<Row>> {
    let bench = Bench::start()?;
    let url = bench.database("ours");
    let postgres = bench.runtime.block_on(Postgres::connect(&url))?;
    let saves = Arc::new(SaveApi::new(PostgresStorage::new(&postgres)));
    let url = bench.database("by_hand");
    let by_hand = Arc::new(bench.runtime.block_on(ByHand::create(bench.client(&url)?))?);
    let insert = |streams, units| {
        let by_hand = Arc::clone(&by_hand);
        bench.task(async move { by_hand.insert(streams, units).await })
    };

    // A unit is one command of each writer.
    let mut commands = 0;
    let mut all_write = |units| {
        commands += units * WRITERS;
        bench.runtime.block_on(async {
            let writers = (0..WRITERS).map(|writer| {
                let saves = Arc::clone(&saves);
                tokio::spawn(async move { save_on(&saves, &key(writer), units).await })
            });
            try_join_all(writers).await?.into_iter().collect()
        })
    };
    let grouped = paired::compare(&mut all_write, |units| insert(WRITERS, units))?;
    let concurrent =
        paired::compare(&mut all_write, |units| bench.task(Arc::clone(&by_hand).insert_in_groups(units)))?;
    let disk_commits = postgres.disk_commits() as f64 / commands as f64;

    let alone = key(WRITERS);
    let before = postgres.disk_commits();
    let mut lone_commands = 0;
    let lone = paired::compare(
        |units| {
            lone_commands += units;
            let (saves, alone) = (Arc::clone(&saves), alone.clone());
            bench.task(async move { save_on(&saves, &alone, units).await })
        },
        |units| insert(1, units),
    )?;
    let lone_commits = (postgres.disk_commits() - before) as f64 / lone_commands as f64;
    let writers = WRITERS as f64;
    Ok(vec![
        Row::new(
            "Postgres append, 64 at once, against UNNEST of 64 rows by hand",
            "commands/s",
            writers / grouped.ours,
            writers / grouped.reference,
        )
        .by_pairs(grouped.speed)
        .bar(Bar::AtLeast(0.95)),
        Row::new(
            "Postgres append, 64 at once, against 64 tasks with UNNEST by hand",
            "commands/s",
            writers / concurrent.ours,
            writers / concurrent.reference,
        )
        .by_pairs(concurrent.speed)
        .bar(Bar::AtLeast(0.95)),
        Row::new("Postgres append, 64 at once", "disk commits/command", disk_commits, 1.0)
            .bar(Bar::AtMost(0.1)),
        Row::new(
            "Postgres append, one at a time, against INSERT by hand",
            "commands/s",
            1.0 / lone.ours,
            1.0 / lone.reference,
        )
        .by_pairs(lone.speed),
        Row::new("Postgres append, one at a time", "disk commits/command", lone_commits, 1.0)
            .bar(Bar::AtMost(1.0)),
    ])
}

fn key(writer: u64) -> StreamName {
    StreamName::new("account", &writer.to_string()).expect("the name is well-formed")
}

/// A program without eventsrc that inserts rows with the same columns by one statement.
struct ByHand {
    client: Client,
    insert: Statement,
    number: AtomicI64,
}

impl ByHand {
    async fn create(client: Client) -> Result<Self> {
        client
            .batch_execute(
                "CREATE TABLE events (
                     category text COLLATE \"C\", id text COLLATE \"C\", number bigint, zone integer NOT NULL,
                     count integer NOT NULL, time bigint NOT NULL, commit_id uuid NOT NULL, version integer NOT NULL,
                     payload text NOT NULL, PRIMARY KEY (category, id, number)
                 )",
            )
            .await?;
        let insert = client
            .prepare(
                "INSERT INTO events
                 SELECT 'account', id, number, 0, 1, 0, commit_id, 1, payload
                 FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) AS given (id, number, commit, payload),
                      LATERAL (SELECT commit::uuid AS commit_id) AS converted
                 ORDER BY id
                 ON CONFLICT DO NOTHING RETURNING id",
            )
            .await?;
        Ok(Self { client, insert, number: AtomicI64::new(0) })
    }

    /// Appends `times` rows to each of 64 streams from 64 tasks. One statement inserts all waiting rows, as in a service that
    /// groups the appends of its requests.
    async fn insert_in_groups(self: Arc<Self>, times: u64) -> Result<()> {
        let (append, mut appended) = mpsc::channel::<(String, i64, String, oneshot::Sender<bool>)>(64);
        let first = self.number.fetch_add(times as i64, Ordering::Relaxed) + 1;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let append = append.clone();
                tokio::spawn(async move {
                    for number in (first..).take(times as usize) {
                        let (reply, stored) = oneshot::channel();
                        let row = (writer.to_string(), number, serde_json::to_string(&[event()])?, reply);
                        append.send(row).await?;
                        anyhow::ensure!(stored.await?, "a row conflicts with a stored one");
                    }
                    Ok(())
                })
            })
            .collect();
        drop(append);
        let mut group = Vec::new();
        while appended.recv_many(&mut group, WRITERS as usize).await > 0 {
            let ids: Vec<&str> = group.iter().map(|(id, ..)| id.as_str()).collect();
            let numbers: Vec<i64> = group.iter().map(|(_, number, ..)| *number).collect();
            let commits: Vec<String> =
                numbers.iter().map(|number| uuid::Uuid::from_u128(*number as u128).to_string()).collect();
            let payloads: Vec<&str> = group.iter().map(|(_, _, payload, _)| payload.as_str()).collect();
            let rows = self.client.query(&self.insert, &[&ids, &numbers, &commits, &payloads]).await?;
            let stored: HashSet<&str> = rows.iter().map(|row| row.get(0)).collect();
            let answers: Vec<bool> = ids.iter().map(|id| stored.contains(id)).collect();
            for ((.., reply), stored) in group.drain(..).zip(answers) {
                let _ = reply.send(stored);
            }
        }
        try_join_all(writers).await?.into_iter().collect()
    }

    /// Appends one row to each of `streams` streams, `times` times.
    async fn insert(&self, streams: u64, times: u64) -> Result<()> {
        for _ in 0..times {
            self.insert_once(streams).await?;
        }
        Ok(())
    }

    async fn insert_once(&self, streams: u64) -> Result<()> {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let ids: Vec<String> = (0..streams).map(|stream| stream.to_string()).collect();
        let numbers = vec![number; ids.len()];
        let commits: Vec<String> =
            ids.iter().map(|_| uuid::Uuid::from_u128(number as u128).to_string()).collect();
        let payloads =
            ids.iter().map(|_| serde_json::to_string(&[event()])).collect::<Result<Vec<_>, _>>()?;
        let stored = self.client.query(&self.insert, &[&ids, &numbers, &commits, &payloads]).await?;
        anyhow::ensure!(stored.len() == ids.len(), "a row conflicts with a stored one");
        Ok(())
    }
}
