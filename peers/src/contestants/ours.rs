//! eventsrc on Postgres, without snapshots.
//!
//! A command is decided on the loaded stream, and saved on the condition that nothing was saved since. By default a
//! `Decider` remembers the values of streams and loads only the others; this is measured separately. The view is
//! exactly-once, and a feed from the storage in this process delivers what is stored. The view writes its table with one
//! statement per batch, as recommended, and in a separate entry with one per event, as the handlers of the other
//! libraries do.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use eventsrc_core::clock::{Randomness, SystemClock};
use eventsrc_core::feed::{NotifyingStorage, ScanFeed};
use eventsrc_core::save::{PreconditionFailed, SaveSettings};
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::view::{Batch, ViewError};
use eventsrc_core::{
    Consistency, Decider, Event, Fold, Operation, Outcome, Query, QueryApi, SaveApi, StreamName,
    Synchronizer, ViewDefinition,
};
use eventsrc_postgres::{Postgres, PostgresStorage, PostgresView, Transaction, View, each, tokio_postgres};
use futures::FutureExt;

use crate::peer::{Account, Contestant, Entry, Peer, Run, UPSERT};
use crate::work::Work;

pub(crate) const SET_WISE: Contestant = Contestant {
    name: "eventsrc",
    package: "eventsrc-postgres",
    about: "Decider::save, remembering nothing; QueryApi::get; PostgresView, a statement a batch",
    takes_part: |_| true,
    least_projected: 100_000,
    open: |url| open(url, 0, false).boxed_local(),
};

pub(crate) const REMEMBERING: Contestant = Contestant {
    name: "eventsrc, remembering",
    package: "eventsrc-postgres",
    about: "Decider::save as it is by default, which loads only streams that it does not remember",
    takes_part: |work| matches!(work, Work::Commands { .. }),
    least_projected: 0,
    open: |url| open(url, SaveSettings::default().remembered, false).boxed_local(),
};

pub(crate) const EACH: Contestant = Contestant {
    name: "eventsrc, a handler an event",
    package: "eventsrc-postgres",
    about: "PostgresView, a statement an event",
    takes_part: |work| work == Work::Projection,
    least_projected: 30_000,
    open: |url| open(url, 0, true).boxed_local(),
};

type Storage = PostgresStorage<StreamName, u64, Entry>;

async fn open(url: String, remembered: usize, each: bool) -> Result<Box<dyn Peer>> {
    let postgres = Postgres::connect(&url).await?;
    let storage = Arc::new(NotifyingStorage::new(Storage::new(&postgres)));
    let saves = |remembered| {
        let settings = SaveSettings { remembered, ..SaveSettings::default() };
        let (clock, randomness) = (Arc::new(SystemClock), Arc::new(Randomness::from_system()));
        Arc::new(SaveApi::with(Arc::clone(&storage), settings, clock, randomness))
    };
    Ok(Box::new(Ours {
        decider: Decider::with(saves(remembered), |storage| QueryApi::new(storage, Ledger)),
        saves: saves(SaveSettings::default().remembered),
        storage,
        postgres,
        each,
    }))
}

struct Ours {
    decider: Decider<Arc<NotifyingStorage<Storage>>, Ledger>,
    /// Saves the events of `fill`.
    saves: Arc<SaveApi<Arc<NotifyingStorage<Storage>>>>,
    storage: Arc<NotifyingStorage<Storage>>,
    postgres: Postgres,
    each: bool,
}

#[async_trait]
impl Peer for Ours {
    async fn command(&self, stream: &str, entry: Entry) -> Result<u64> {
        let outcome =
            self.decider.save(&key(stream)?, Operation::<_, PreconditionFailed, _>::insert(entry)).await?;
        ensure!(matches!(outcome, Outcome::Saved(_)), "a save to a stream with one writer was not stored");
        Ok(outcome.retries().into())
    }

    /// Saves each event in its own commit, as commands would.
    async fn fill(&self, stream: &str, entries: Vec<Entry>) -> Result<()> {
        for entry in entries {
            let saved =
                self.saves.save(&key(stream)?, Operation::<_, PreconditionFailed, _>::insert(entry)).await?;
            ensure!(matches!(saved, Outcome::Saved(_)), "a save to a stream with one writer was not stored");
        }
        Ok(())
    }

    async fn load(&self, stream: &str) -> Result<Account> {
        let account = self.decider.query().get(&key(stream)?, Consistency::LatestEvent).await?;
        account.context("the stream does not exist")
    }

    async fn project(&self, run: Run) -> Result<()> {
        let feed = self.storage.subscribe(CAPACITY);
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

/// Capacity of the feed of the view, in commits.
const CAPACITY: usize = 10_000;
/// Number of segments of the scan.
const SEGMENTS: u32 = 2;

pub(crate) fn key(stream: &str) -> Result<StreamName> {
    Ok(StreamName::new("ledger", stream)?)
}

pub(crate) struct Ledger;

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
