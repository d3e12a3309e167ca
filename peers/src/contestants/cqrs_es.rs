//! `cqrs-es` with `postgres-es`: an aggregate in an event store, without snapshots (those of 0.5.0 are incorrect).
//!
//! Its projection is a `Query`. Stored events are replayed to it; new events are dispatched to it in the process, after
//! the commit of the command. Nothing coordinates the two, so the writers wait until the replay has taken its snapshot of
//! the table, and no event is applied twice.

use std::convert::Infallible;

use anyhow::Result;
use async_trait::async_trait;
use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{PersistedEventStore, QueryReplay};
use cqrs_es::{Aggregate, AggregateContext, CqrsFramework, DomainEvent, EventEnvelope, EventStore, Query};
use futures::FutureExt;
use postgres_es::PostgresEventRepository;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;

use crate::peer::{Account, CONNECTIONS, Contestant, Entry, Peer, Run, TABLE, UPSERT};

pub(crate) const CONTESTANT: Contestant = Contestant {
    name: "cqrs-es",
    package: "postgres-es",
    about: "CqrsFramework::execute; load_aggregate; QueryReplay::replay_all, and a Query in the process",
    takes_part: |_| true,
    least_projected: 0,
    open: |url| open(url).boxed_local(),
};

async fn open(url: String) -> Result<Box<dyn Peer>> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(&url).await?;
    sqlx::query(TABLE).execute(&pool).await?;
    sqlx::query(EVENTS).execute(&pool).await?;
    let projecting = CancellationToken::new();
    let live = Totals { pool: pool.clone(), seen: CancellationToken::new() };
    Ok(Box::new(CqrsEs {
        quiet: CqrsFramework::new(store(&pool), vec![], ()),
        dispatching: CqrsFramework::new(store(&pool), vec![Box::new(live)], ()),
        loads: store(&pool),
        projecting,
        pool,
    }))
}

/// The table of the package's `db/init.sql`.
const EVENTS: &str = "CREATE TABLE events (
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    sequence bigint CHECK (sequence >= 0) NOT NULL,
    event_type text NOT NULL,
    event_version text NOT NULL,
    payload json NOT NULL,
    metadata json NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
)";

type Store = PersistedEventStore<PostgresEventRepository, Ledger>;

fn store(pool: &PgPool) -> Store {
    PersistedEventStore::new_event_store(PostgresEventRepository::new(pool.clone()))
}

struct CqrsEs {
    /// Framework for commands without a projection.
    quiet: CqrsFramework<Ledger, Store>,
    /// Framework for commands with a projection.
    dispatching: CqrsFramework<Ledger, Store>,
    loads: Store,
    projecting: CancellationToken,
    pool: PgPool,
}

#[async_trait]
impl Peer for CqrsEs {
    async fn command(&self, stream: &str, entry: Entry) -> Result<u64> {
        let framework = if self.projecting.is_cancelled() { &self.dispatching } else { &self.quiet };
        framework.execute(stream, vec![entry]).await?;
        Ok(0)
    }

    async fn fill(&self, stream: &str, entries: Vec<Entry>) -> Result<()> {
        Ok(self.quiet.execute(stream, entries).await?)
    }

    async fn load(&self, stream: &str) -> Result<Account> {
        let mut context = self.loads.load_aggregate(stream).await?;
        Ok(context.aggregate().0)
    }

    async fn project(&self, run: Run) -> Result<()> {
        self.projecting.cancel();
        let replayed = Totals { pool: self.pool.clone(), seen: run.listening.clone() };
        QueryReplay::new(PostgresEventRepository::new(self.pool.clone()), replayed).replay_all().await?;
        run.stop.cancelled().await;
        Ok(())
    }

    fn count(&self) -> &'static str {
        "SELECT count(*) FROM events"
    }
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Ledger(pub(crate) Account);

impl Aggregate for Ledger {
    const TYPE: &'static str = "ledger";
    type Command = Vec<Entry>;
    type Event = Entered;
    type Error = Infallible;
    type Services = ();

    async fn handle(
        &mut self,
        command: Vec<Entry>,
        _: &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for entry in command {
            sink.write(Entered(entry), self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Entered) {
        self.0.apply(event.0.amount);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entered(Entry);

impl DomainEvent for Entered {
    fn event_type(&self) -> String {
        "Entered".into()
    }

    fn event_version(&self) -> String {
        "1.0".into()
    }
}

struct Totals {
    pool: PgPool,
    /// Set at the first event.
    seen: CancellationToken,
}

#[async_trait]
impl Query<Ledger> for Totals {
    async fn dispatch(&self, stream: &str, events: &[EventEnvelope<Ledger>]) {
        self.seen.cancel();
        let amount: i64 = events.iter().map(|event| event.payload.0.amount).sum();
        // A query cannot report a failure: it loses the event.
        if let Err(error) = sqlx::query(UPSERT).bind(stream).bind(amount).execute(&self.pool).await {
            eprintln!("cqrs-es: a query failed: {error}");
        }
    }
}
