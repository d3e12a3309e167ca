//! `disintegrate` with its Postgres store.
//!
//! Its appends are serializable transactions that conflict even on unrelated streams, and it does not retry: each command
//! is repeated until it succeeds. Its listener is at-least-once: an effect and the checkpoint are in two transactions.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Result, bail};
use async_trait::async_trait;
use disintegrate::serde::json::Json;
use disintegrate::{
    Decision, DecisionError, Event, EventListener, EventSourcedStateStore, EventStore, LoadState, NoSnapshot,
    PersistedEvent, StateMutate, StateQuery, StreamQuery, query,
};
use disintegrate_postgres::{
    Error, PgDecisionMaker, PgEventId, PgEventListener, PgEventListenerConfig, PgEventStore, decision_maker,
};
use futures::FutureExt;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::peer::{Account, CONNECTIONS, Contestant, Entry, Peer, Run, TABLE, UPSERT};

pub(crate) const CONTESTANT: Contestant = Contestant {
    name: "disintegrate",
    package: "disintegrate-postgres",
    about: "DecisionMaker::make until it succeeds; EventSourcedStateStore::load; PgEventListener with its notifier, \
            at least once",
    takes_part: |_| true,
    least_projected: 0,
    open: |url| open(url).boxed_local(),
};

async fn open(url: String) -> Result<Box<dyn Peer>> {
    // One of its functions has a literal that needs Postgres 16. The functions are created unchecked, and that one is
    // replaced.
    let options = url.parse::<PgConnectOptions>()?.options([("check_function_bodies", "off")]);
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
    sqlx::query(TABLE).execute(&pool).await?;
    let store = PgEventStore::try_new(pool.clone(), Json::default()).await?;
    sqlx::query(
        "DO $$ BEGIN
            EXECUTE replace(pg_get_functiondef('event_store_begin_epoch'::regproc), '0xFFFFFFFF', '4294967295');
        END $$",
    )
    .execute(&pool)
    .await?;
    let decisions = decision_maker(store.clone(), NoSnapshot);
    Ok(Box::new(Disintegrate { store, decisions, pool }))
}

type Store = PgEventStore<LedgerEvent, Json<LedgerEvent>>;

struct Disintegrate {
    store: Store,
    decisions: PgDecisionMaker<LedgerEvent, Json<LedgerEvent>, NoSnapshot>,
    pool: PgPool,
}

#[async_trait]
impl Peer for Disintegrate {
    async fn command(&self, stream: &str, entry: Entry) -> Result<u64> {
        for failures in 0..MAX_ATTEMPTS {
            let made = self.decisions.make(Enter { stream: stream.to_owned(), entry: entry.clone() }).await;
            match made {
                Ok(_) => return Ok(failures),
                Err(DecisionError::StateStore(error)) if is_contention(error.as_ref()) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("a command failed {MAX_ATTEMPTS} times")
    }

    async fn fill(&self, stream: &str, entries: Vec<Entry>) -> Result<()> {
        let events = entries.into_iter().map(|entry| entered(stream, entry)).collect();
        self.store.append_without_validation(events).await?;
        Ok(())
    }

    async fn load(&self, stream: &str) -> Result<Account> {
        let states = EventSourcedStateStore::new(self.store.clone(), NoSnapshot);
        let loaded = states.load(Ledger::of(stream)).await.map_err(anyhow::Error::from_boxed)?;
        let ledger: &Ledger = loaded.state();
        Ok(Account { events: ledger.events, total: ledger.total })
    }

    async fn project(&self, run: Run) -> Result<()> {
        let totals = Totals { query: query!(LedgerEvent), pool: self.pool.clone() };
        let listener = PgEventListener::builder(self.store.clone())
            .register_listener(totals, PgEventListenerConfig::poller(POLL).with_notifier());
        run.listening.cancel();
        let stop = run.stop.clone();
        listener.start_with_shutdown(async move { stop.cancelled().await }).await?;
        Ok(())
    }

    fn count(&self) -> &'static str {
        "SELECT count(*) FROM event"
    }
}

const MAX_ATTEMPTS: u64 = 10_000;
const POLL: Duration = Duration::from_secs(1);

/// True for a serialization failure or a deadlock, which Postgres recommends to retry.
fn is_contention(error: &(dyn std::error::Error + 'static)) -> bool {
    match error.downcast_ref::<Error>() {
        Some(Error::Concurrency) => true,
        Some(Error::Database(sqlx::Error::Database(error))) => {
            matches!(error.code().as_deref(), Some("40001" | "40P01"))
        }
        _ => false,
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
enum LedgerEvent {
    Entered {
        #[id]
        ledger: String,
        amount: i64,
        note: String,
    },
}

fn entered(stream: &str, Entry { amount, note }: Entry) -> LedgerEvent {
    LedgerEvent::Entered { ledger: stream.to_owned(), amount, note }
}

#[derive(Debug, Clone, Default, StateQuery, Serialize, Deserialize)]
#[state_query(LedgerEvent)]
struct Ledger {
    #[id]
    ledger: String,
    events: u64,
    total: i64,
}

impl Ledger {
    fn of(stream: &str) -> Self {
        Self { ledger: stream.to_owned(), ..Self::default() }
    }
}

impl StateMutate for Ledger {
    fn mutate(&mut self, event: LedgerEvent) {
        let LedgerEvent::Entered { amount, .. } = event;
        self.events += 1;
        self.total += amount;
    }
}

struct Enter {
    stream: String,
    entry: Entry,
}

impl Decision for Enter {
    type Event = LedgerEvent;
    type StateQuery = Ledger;
    type Error = Infallible;

    fn state_query(&self) -> Ledger {
        Ledger::of(&self.stream)
    }

    fn process(&self, _: &Ledger) -> Result<Vec<LedgerEvent>, Infallible> {
        Ok(vec![entered(&self.stream, self.entry.clone())])
    }
}

struct Totals {
    query: StreamQuery<PgEventId, LedgerEvent>,
    pool: PgPool,
}

#[async_trait]
impl EventListener<PgEventId, LedgerEvent> for Totals {
    type Error = sqlx::Error;

    fn id(&self) -> &'static str {
        "totals"
    }

    fn query(&self) -> &StreamQuery<PgEventId, LedgerEvent> {
        &self.query
    }

    async fn handle(&self, event: PersistedEvent<PgEventId, LedgerEvent>) -> Result<(), sqlx::Error> {
        let LedgerEvent::Entered { ledger, amount, .. } = event.into_inner();
        sqlx::query(UPSERT).bind(ledger).bind(amount).execute(&self.pool).await?;
        Ok(())
    }
}
