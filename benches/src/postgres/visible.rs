//! The cost of a token for a read, and the time from a command until its effect is read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use eventsrc_core::feed::NotifyingStorage;
use eventsrc_core::save::PreconditionFailed;
use eventsrc_core::storage::ScanStorage;
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::view::MemoryView;
use eventsrc_core::{
    MemoryStorage, Operation, Outcome, SaveApi, StreamName, Synchronizer, Token, ViewDefinition,
};
use eventsrc_postgres::{Postgres, PostgresStorage, PostgresView};
use tokio_postgres::{Client, Statement};

use super::Bench;
use super::totals::{Totals, account, add_one, table};
use crate::measure::paired;
use crate::table::{Bar, Row};
use crate::{Benchmark, no_child};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "visible-read",
    about: "the cost of a token, and a command until its effect is read, in Postgres compared with SQL by hand",
    run,
    child: no_child,
};

const TIMEOUT: Duration = Duration::from_secs(60);

fn run(_: &Path) -> Result<Vec<Row>> {
    let bench = Bench::start()?;
    let mut rows = vec![cpu_of_a_token(&bench)?];
    rows.extend(in_postgres(&bench)?);
    Ok(rows)
}

/// Compares reads of an up-to-date view in memory with and without a token.
fn cpu_of_a_token(bench: &Bench) -> Result<Row> {
    let definition = ViewDefinition::new("counts", ["account"])?;
    let view = Arc::new(MemoryView::<StreamName, u64, i64, u64>::new(definition, |count, _| {
        *count += 1;
        Ok(())
    }));
    let storage = Arc::new(MemoryStorage::<StreamName, u64, i64>::default());
    let saves = SaveApi::new(Arc::clone(&storage));
    let (synchronizer, token) = bench.runtime.block_on(async {
        let synchronizer = Synchronizer::start(storage, Arc::clone(&view), settings());
        let token = save(&saves, &account(0)).await?;
        synchronizer.catch_up(&token, TIMEOUT).await?;
        anyhow::Ok((synchronizer, token))
    })?;
    let streams = [account(0)];
    let paired = paired::compare(
        |reads| {
            bench.runtime.block_on(async {
                for _ in 0..reads {
                    let read = |streams: Arc<[StreamName]>| {
                        let view = &view;
                        async move { Ok(view.read(&streams, |count| *count)) }
                    };
                    ensure!(
                        synchronizer.at_least(&token, TIMEOUT, read).await? == 1,
                        "the view has not applied one event"
                    );
                }
                Ok(())
            })
        },
        |reads| {
            bench.runtime.block_on(async {
                for _ in 0..reads {
                    ensure!(
                        std::hint::black_box(view.read(&streams, |count| *count)).1 == 1,
                        "the view has not applied one event"
                    );
                }
                Ok(())
            })
        },
    )?;
    let added = (paired.ours - paired.reference) * 1e6;
    Ok(Row::new("a token on a read of a view in memory, against 1 us", "us added", added, 1.0)
        .bar(Bar::AtMost(1.0)))
}

fn in_postgres(bench: &Bench) -> Result<Vec<Row>> {
    let url = bench.database("ours");
    let key = account(1);
    let (saves, synchronizer) = bench.runtime.block_on(async {
        let postgres = Postgres::connect(&url).await?;
        let storage =
            Arc::new(NotifyingStorage::new(PostgresStorage::<StreamName, u64, i64>::new(&postgres)));
        let view = Arc::new(PostgresView::open(&postgres, Totals { each: false, version: 1 }).await?);
        let synchronizer = Synchronizer::start(Arc::clone(&storage), view, settings());
        let (feed, following) = (storage.subscribe(1024), synchronizer.clone());
        tokio::spawn(async move { following.follow(feed).await });
        anyhow::Ok((SaveApi::new(storage), synchronizer))
    })?;
    let token = bench.runtime.block_on(save(&saves, &key))?;
    let by_hand_url = bench.database("by_hand");
    let by_hand = Arc::new(bench.runtime.block_on(ByHand::create(bench.client(&by_hand_url)?))?);
    bench.runtime.block_on(by_hand.command(1))?;

    let saves = Arc::new(saves);
    let reads = paired::compare(
        |times| {
            let (synchronizer, token) = (synchronizer.clone(), token.clone());
            bench.task(async move {
                for _ in 0..times {
                    read(&synchronizer, &token).await?;
                }
                Ok(())
            })
        },
        |times| {
            let by_hand = Arc::clone(&by_hand);
            bench.task(async move {
                for _ in 0..times {
                    by_hand.read().await?;
                }
                Ok(())
            })
        },
    )?;
    let mut number = 1;
    let visible = paired::compare(
        |times| {
            let (saves, synchronizer, key) = (Arc::clone(&saves), synchronizer.clone(), key.clone());
            bench.task(async move {
                for _ in 0..times {
                    let token = save(&saves, &key).await?;
                    read(&synchronizer, &token).await?;
                }
                Ok(())
            })
        },
        |times| {
            let (by_hand, first) = (Arc::clone(&by_hand), number + 1);
            number += times as i64;
            bench.task(async move {
                for number in (first..).take(times as usize) {
                    by_hand.command(number).await?;
                    by_hand.read().await?;
                }
                Ok(())
            })
        },
    )?;
    Ok(vec![
        Row::new(
            "a read with a token in Postgres, against a SELECT",
            "reads/s",
            1.0 / reads.ours,
            1.0 / reads.reference,
        )
        .by_pairs(reads.speed),
        Row::new(
            "a command until its effect is read, against INSERT, upsert and SELECT by hand",
            "ms",
            visible.ours * 1e3,
            visible.reference * 1e3,
        )
        .by_pairs(visible.speed.inverse())
        .bar(Bar::AtMost(1.3)),
    ])
}

fn settings() -> SynchronizerSettings {
    SynchronizerSettings { workers: 1, sweep_every: None, ..SynchronizerSettings::default() }
}

async fn save<St>(saves: &SaveApi<St>, key: &StreamName) -> Result<Token>
where
    St: ScanStorage<Key = StreamName, Sequence = u64, Payload = i64>,
{
    match saves.save(key, Operation::<_, PreconditionFailed, _>::insert(1)).await? {
        Outcome::Saved(saved) => Ok(saved.token),
        _ => bail!("a save to a stream with one writer was not stored"),
    }
}

type TotalsSynchronizer = Synchronizer<Arc<PostgresView<StreamName, u64, i64, Totals>>>;

async fn read(synchronizer: &TotalsSynchronizer, token: &Token) -> Result<i64> {
    let view = synchronizer.view();
    let total = synchronizer.at_least(token, TIMEOUT, |streams| async move {
        view.read(&streams, |transaction| async move {
            let select = transaction.prepare_cached("SELECT total FROM totals WHERE id = '1'").await?;
            Ok(transaction.query_one(&select, &[]).await?.get(0))
        })
        .await
    });
    Ok(total.await?)
}

/// A program without eventsrc, with one connection.
struct ByHand {
    client: Client,
    insert: Statement,
    upsert: Statement,
    select: Statement,
}

impl ByHand {
    async fn create(client: Client) -> Result<Self> {
        client.batch_execute(&table("totals")).await?;
        client
            .batch_execute(
                "CREATE TABLE events (
                     category text, id text, number bigint, zone integer NOT NULL, time bigint NOT NULL,
                     commit_id uuid NOT NULL DEFAULT gen_random_uuid(), version integer NOT NULL, payload text NOT NULL,
                     PRIMARY KEY (category, id, number)
                 )",
            )
            .await?;
        let insert = "INSERT INTO events (category, id, number, zone, time, version, payload)
                      VALUES ('account', '1', $1, 0, 0, 1, '[1]')";
        Ok(Self {
            insert: client.prepare(insert).await?,
            upsert: client.prepare(&add_one("totals")).await?,
            select: client.prepare("SELECT total FROM totals WHERE id = '1'").await?,
            client,
        })
    }

    async fn command(&self, number: i64) -> Result<()> {
        self.client.execute(&self.insert, &[&number]).await?;
        self.client.execute(&self.upsert, &[&"1", &1i64]).await?;
        Ok(())
    }

    async fn read(&self) -> Result<i64> {
        Ok(self.client.query_one(&self.select, &[]).await?.get(0))
    }
}
