//! `eventcore` with its Postgres store: plain, and with the delivery frontier. Its exactly-once projection needs the
//! frontier, which adds a cost to each append.
//!
//! The plain store has no projection here: its older projection keeps effect and checkpoint in two transactions, and has
//! synchronous handlers.

use anyhow::{Result, bail};
use async_trait::async_trait;
use eventcore::postgres::PostgresEventStore;
use eventcore::postgres::projections::{
    DeliveryPosition, DeliverySourceId, EventTypeName, NoopAfterCommit, Postgres, PostgresProjectionConfig,
    PostgresProjectionSource, PostgresProjectionStore, PostgresProjector, ProjectionSelection,
    ProjectionSelectionId, ProjectionStreamFilter, ProjectorName, Transaction, run_transactional_projection,
};
use eventcore::{
    CommandError, CommandLogic, CommandStreams, Event, NewEvents, RetryPolicy, StreamDeclarations, StreamId,
    execute,
};
use eventcore_types::EventStore;
use futures::{FutureExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;

use crate::peer::{Account, CONNECTIONS, Contestant, Entry, Peer, Run, TABLE, UPSERT};
use crate::work::Work;

pub(crate) const PLAIN: Contestant = Contestant {
    name: "eventcore",
    package: "eventcore-postgres",
    about: "execute; read_stream",
    takes_part: |work| work != Work::Projection,
    least_projected: 0,
    open: |url| open(url, false).boxed_local(),
};

pub(crate) const EXACTLY_ONCE: Contestant = Contestant {
    name: "eventcore, exactly once",
    package: "eventcore-postgres",
    about: "execute; read_stream; run_transactional_projection, continuous",
    takes_part: |_| true,
    least_projected: 0,
    open: |url| open(url, true).boxed_local(),
};

async fn open(url: String, exactly_once: bool) -> Result<Box<dyn Peer>> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(&url).await?;
    sqlx::query(TABLE).execute(&pool).await?;
    let store = PostgresEventStore::from_pool(pool.clone());
    store.migrate().await;
    let projection = if exactly_once {
        let source = PostgresProjectionSource::from_pool(pool.clone(), DeliverySourceId::try_new("ledgers")?);
        source.migrate().await?;
        let destination = PostgresProjectionStore::from_pool(pool);
        destination.migrate().await?;
        Some((source, destination))
    } else {
        None
    };
    Ok(Box::new(Eventcore { store, projection }))
}

struct Eventcore {
    store: PostgresEventStore,
    projection: Option<(PostgresProjectionSource, PostgresProjectionStore)>,
}

#[async_trait]
impl Peer for Eventcore {
    async fn command(&self, stream: &str, entry: Entry) -> Result<u64> {
        let enter = Enter { stream: StreamId::try_new(stream)?, entries: vec![entry] };
        let response = execute(&self.store, enter, RetryPolicy::new()).await?;
        Ok(u64::from(response.attempts()) - 1)
    }

    async fn fill(&self, stream: &str, entries: Vec<Entry>) -> Result<()> {
        let enter = Enter { stream: StreamId::try_new(stream)?, entries };
        execute(&self.store, enter, RetryPolicy::new()).await?;
        Ok(())
    }

    async fn load(&self, stream: &str) -> Result<Account> {
        let mut events = self.store.read_stream::<Entered>(StreamId::try_new(stream)?).await?;
        let mut account = Account::default();
        while let Some(event) = events.try_next().await? {
            account.apply(event.entry.amount);
        }
        Ok(account)
    }

    async fn project(&self, run: Run) -> Result<()> {
        let Some((source, destination)) = &self.projection else {
            bail!("the plain store has no projection here");
        };
        let selection = ProjectionSelection::try_new(
            ProjectionSelectionId::try_new("all")?,
            ProjectionStreamFilter::All,
            vec![EventTypeName::try_new(Entered::event_type_name())?],
        )?;
        let totals = Totals { name: ProjectorName::try_new("totals")? };
        run.listening.cancel();
        let config = PostgresProjectionConfig::new(selection).continuous(run.stop);
        run_transactional_projection(totals, source, destination, config).await?;
        Ok(())
    }

    fn count(&self) -> &'static str {
        "SELECT count(*) FROM eventcore_events"
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entered {
    stream: StreamId,
    #[serde(flatten)]
    entry: Entry,
}

impl Event for Entered {
    fn stream_id(&self) -> &StreamId {
        &self.stream
    }

    fn event_type_name() -> &'static str {
        "entered"
    }
}

struct Enter {
    stream: StreamId,
    entries: Vec<Entry>,
}

impl CommandStreams for Enter {
    fn stream_declarations(&self) -> StreamDeclarations {
        StreamDeclarations::single(self.stream.clone())
    }
}

impl CommandLogic for Enter {
    type Event = Entered;
    type State = Account;

    fn apply(&self, mut account: Account, event: &Entered) -> Account {
        account.apply(event.entry.amount);
        account
    }

    fn handle(&self, _: Account) -> Result<NewEvents<Entered>, CommandError> {
        let entered = |entry: &Entry| Entered { stream: self.stream.clone(), entry: entry.clone() };
        Ok(self.entries.iter().map(entered).collect::<Vec<_>>().into())
    }
}

struct Totals {
    name: ProjectorName,
}

impl PostgresProjector for Totals {
    type Event = Entered;
    type Error = sqlx::Error;
    type AfterCommit = NoopAfterCommit;

    fn name(&self) -> &ProjectorName {
        &self.name
    }

    async fn apply<'a, 'c>(
        &'a mut self,
        event: &'a Entered,
        _: DeliveryPosition,
        transaction: &'a mut Transaction<'c, Postgres>,
    ) -> Result<NoopAfterCommit, sqlx::Error>
    where
        'c: 'a,
    {
        let upsert = sqlx::query(UPSERT).bind(event.stream.as_ref()).bind(event.entry.amount);
        upsert.execute(&mut **transaction).await?;
        Ok(NoopAfterCommit)
    }
}
