//! eventsrc on Postgres, without snapshots.
//!
//! A command loads the stream, and saves on condition that nothing was saved since. (With `Decider`, which remembers the
//! folded value, it would not load.) The view is exactly once, and is told by the storage in this process what is
//! stored. As recommended, it writes its table with one statement a batch; and, as the others' handlers do, with one an
//! event.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use eventsrc_core::{
    Batch, Consistency, Context, Event, Fold, Operation, Outcome, Published, Query, QueryApi, SaveApi,
    ScanFeed, StreamName, Synchronizer, SynchronizerSettings, Unmet, ViewDefinition, ViewError,
};
use eventsrc_postgres::{Postgres, PostgresStorage, PostgresView, Transaction, View, each, tokio_postgres};
use futures::FutureExt;

use crate::peer::{Account, Contestant, Entry, Part, Peer, Run, UPSERT};

pub(crate) const SET_WISE: Contestant = Contestant {
    name: "eventsrc",
    package: "eventsrc-postgres",
    about: "QueryApi::snapshot, SaveApi::save_with; QueryApi::snapshot; PostgresView, a statement a batch",
    part: Part::All,
    least_projected: 100_000,
    open: |url| open(url, false).boxed_local(),
};

pub(crate) const EACH: Contestant = Contestant {
    name: "eventsrc, a handler an event",
    package: "eventsrc-postgres",
    about: "PostgresView, a statement an event",
    part: Part::ProjectionOnly,
    least_projected: 100_000,
    open: |url| open(url, true).boxed_local(),
};

type Storage = PostgresStorage<StreamName, u64, Entry>;

async fn open(url: String, each: bool) -> Result<Box<dyn Peer>> {
    let postgres = Postgres::connect(&url).await?;
    let storage = Arc::new(Published::new(Storage::new(&postgres)));
    Ok(Box::new(Ours {
        queries: QueryApi::new(Arc::clone(&storage), Ledger),
        saves: SaveApi::new(Arc::clone(&storage)),
        storage,
        postgres,
        each,
    }))
}

struct Ours {
    queries: QueryApi<Arc<Published<Storage>>, Ledger>,
    saves: SaveApi<Arc<Published<Storage>>>,
    storage: Arc<Published<Storage>>,
    postgres: Postgres,
    each: bool,
}

#[async_trait]
impl Peer for Ours {
    async fn command(&self, stream: &str, entry: Entry) -> Result<u64> {
        let key = key(stream)?;
        let mut failures = 0;
        loop {
            let seen = self.queries.snapshot(&key, Consistency::LatestEvent).await?;
            let context = Context { token: self.queries.token(&key, &seen), ..Context::default() };
            let append = Operation::if_seq(seen.sequence(), entry.clone());
            match self.saves.save_with(&key, &context, append).await? {
                Outcome::Saved(_) => return Ok(failures),
                _ => failures += 1,
            }
        }
    }

    /// Each in a commit of its own, as commands would store them.
    async fn fill(&self, stream: &str, entries: Vec<Entry>) -> Result<()> {
        for entry in entries {
            let saved = self.saves.save(&key(stream)?, Operation::<_, Unmet, _>::insert(entry)).await?;
            ensure!(matches!(saved, Outcome::Saved(_)), "nobody else saves to this stream");
        }
        Ok(())
    }

    async fn load(&self, stream: &str) -> Result<Account> {
        let account = self.queries.get(&key(stream)?, Consistency::LatestEvent).await?;
        account.context("the stream is there")
    }

    async fn project(&self, run: Run) -> Result<()> {
        let feed = self.storage.subscribe(WAITING);
        let view = PostgresView::open(&self.postgres, Totals { each: self.each }).await?;
        let settings = SynchronizerSettings::default();
        let synchronizer = Synchronizer::start(Arc::clone(&self.storage), view, settings);
        run.listening.cancel();
        let stored = ScanFeed::new(Arc::clone(&self.storage), SEGMENTS, SEGMENTS as usize);
        let following = async { tokio::try_join!(synchronizer.follow(feed), synchronizer.follow(stored)) };
        tokio::select! {
            ended = following => drop(ended?),
            () = run.stop.cancelled() => {}
        }
        synchronizer.stop().await;
        Ok(())
    }

    fn count(&self) -> &'static str {
        "SELECT coalesce(sum(count), 0)::bigint FROM eventsrc.commits"
    }
}

/// How many commits wait for the view.
const WAITING: usize = 10_000;
/// In how many parts what is stored is read.
const SEGMENTS: u32 = 2;

fn key(stream: &str) -> Result<StreamName> {
    Ok(StreamName::new("ledger", stream)?)
}

struct Ledger;

impl Fold<StreamName, u64, Entry> for Ledger {
    type Key = StreamName;
    type Value = Account;

    fn apply(&self, _: &StreamName, value: &mut Option<Account>, event: Event<'_, StreamName, u64, Entry>) {
        value.get_or_insert_default().apply(event.payload.amount);
    }
}

struct Totals {
    each: bool,
}

impl View<StreamName, u64, Entry> for Totals {
    fn definition(&self) -> ViewDefinition {
        ViewDefinition::new("totals", ["ledger"]).expect("the name is well-formed")
    }

    fn tables(&self) -> &[&str] {
        &["proj"]
    }

    async fn create(&self, transaction: &Transaction) -> Result<(), tokio_postgres::Error> {
        transaction.batch_execute("CREATE TABLE proj_v1 (id text PRIMARY KEY, total bigint NOT NULL)").await
    }

    async fn apply(
        &self,
        transaction: &Transaction,
        batch: &Batch<StreamName, u64, Entry>,
    ) -> Result<(), ViewError> {
        let upsert = UPSERT.replace("proj", "proj_v1");
        if self.each {
            let upsert = &transaction.prepare_cached(&upsert).await?;
            return each(batch, |event| async move {
                transaction.execute(upsert, &[&event.key().id(), &event.payload.amount]).await?;
                Ok(())
            })
            .await;
        }
        let sums =
            "SELECT id, sum(amount)::bigint FROM unnest($1::text[], $2::bigint[]) AS given (id, amount)
                    GROUP BY id ORDER BY id";
        let upsert = transaction.prepare_cached(&upsert.replace("VALUES ($1, $2)", sums)).await?;
        let (ids, amounts): (Vec<_>, Vec<_>) =
            batch.events().map(|event| (event.key().id(), event.payload.amount)).unzip();
        transaction.execute(&upsert, &[&ids, &amounts]).await?;
        Ok(())
    }
}
