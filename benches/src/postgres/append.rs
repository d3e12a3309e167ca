//! Commands that append to Postgres: 64 at once beside UNNEST by hand, and one alone beside an INSERT.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use eventsrc_core::{SaveApi, StreamName};
use eventsrc_postgres::{Postgres, PostgresStorage};
use futures::future::try_join_all;
use tokio_postgres::{Client, Statement};

use super::Bench;
use crate::append::{event, save_on};
use crate::measure::paired;
use crate::table::{Bar, Row};
use crate::{Benchmark, no_child};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "postgres-append",
    about: "Postgres, 64 commands at once beside UNNEST by hand, and one beside an INSERT",
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
    let mut by_hand = bench.runtime.block_on(ByHand::create(bench.client(&url)?))?;

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
    let grouped = paired::compare(&mut all_write, |units| {
        (0..units).try_for_each(|_| bench.runtime.block_on(by_hand.insert(WRITERS)))
    })?;
    let disk_commits = postgres.disk_commits() as f64 / commands as f64;

    let alone = key(WRITERS);
    let before = postgres.disk_commits();
    let mut lone_commands = 0;
    let lone = paired::compare(
        |units| {
            lone_commands += units;
            bench.runtime.block_on(save_on(&saves, &alone, units))
        },
        |units| (0..units).try_for_each(|_| bench.runtime.block_on(by_hand.insert(1))),
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

/// A program without eventsrc, which inserts rows of the same columns with one statement.
struct ByHand {
    client: Client,
    insert: Statement,
    number: i64,
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
        Ok(Self { client, insert, number: 0 })
    }

    /// Appends one row to each of `streams` streams.
    async fn insert(&mut self, streams: u64) -> Result<()> {
        self.number += 1;
        let ids: Vec<String> = (0..streams).map(|stream| stream.to_string()).collect();
        let numbers = vec![self.number; ids.len()];
        let commits: Vec<String> =
            ids.iter().map(|_| uuid::Uuid::from_u128(self.number as u128).to_string()).collect();
        let payloads =
            ids.iter().map(|_| serde_json::to_string(&[event()])).collect::<Result<Vec<_>, _>>()?;
        let stored = self.client.query(&self.insert, &[&ids, &numbers, &commits, &payloads]).await?;
        anyhow::ensure!(stored.len() == ids.len(), "a row was in the way");
        Ok(())
    }
}
