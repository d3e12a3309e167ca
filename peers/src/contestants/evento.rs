//! `evento` on Postgres without snapshots, so that a load reads the stream as with the other libraries.
//!
//! Its subscription is at-least-once: an effect and the checkpoint are in two transactions. It reads no event that is
//! younger than its margin of one second, which is the default.

use anyhow::Result;
use async_trait::async_trait;
use evento::metadata::Event;
use evento::migrator::{Migrate, Plan};
use evento::projection::{Projection, ProjectionAggregate};
use evento::subscription::{Context, SubscriptionBuilder};
use evento::{Executor, Postgres};
use futures::FutureExt;
use sqlx_of_evento::PgPool;
use sqlx_of_evento::postgres::PgPoolOptions;

use crate::peer::{Account, CONNECTIONS, Contestant, Entry, Peer, Run, TABLE, UPSERT};

pub(crate) const CONTESTANT: Contestant = Contestant {
    name: "evento",
    package: "evento",
    about: "Projection::load and its write(); SubscriptionBuilder::start, at least once, with its margin of 1 s",
    takes_part: |_| true,
    least_projected: 0,
    open: |url| open(url).boxed_local(),
};

async fn open(url: String) -> Result<Box<dyn Peer>> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(&url).await?;
    sqlx_of_evento::query(TABLE).execute(&pool).await?;
    let mut connection = pool.acquire().await?;
    let migrations = evento::sql_migrator::new::<sqlx_of_evento::Postgres>()?;
    migrations.run(&mut *connection, &Plan::apply_all()).await?;
    drop(connection);
    Ok(Box::new(Evento { executor: pool.clone().into(), pool }))
}

struct Evento {
    executor: Postgres,
    pool: PgPool,
}

impl Evento {
    async fn ledger(&self, stream: &str) -> Result<Option<Ledger>> {
        Projection::<_, Ledger>::new::<Bookings>()
            .handler(entered())
            .load(stream)
            .execute(&self.executor)
            .await
    }

    async fn append(&self, stream: &str, entries: Vec<Entry>) -> Result<()> {
        let mut write = match self.ledger(stream).await? {
            Some(ledger) => ledger.write()?,
            None => evento::append(stream),
        };
        for Entry { amount, note } in entries {
            write.event(&Entered { amount, note });
        }
        write.commit(&self.executor).await?;
        Ok(())
    }
}

#[async_trait]
impl Peer for Evento {
    async fn command(&self, stream: &str, entry: Entry) -> Result<u64> {
        self.append(stream, vec![entry]).await?;
        Ok(0)
    }

    async fn fill(&self, stream: &str, entries: Vec<Entry>) -> Result<()> {
        self.append(stream, entries).await
    }

    async fn load(&self, stream: &str) -> Result<Account> {
        let ledger = self.ledger(stream).await?;
        Ok(ledger.map(|ledger| Account { events: ledger.events, total: ledger.total }).unwrap_or_default())
    }

    async fn project(&self, run: Run) -> Result<()> {
        let subscription = SubscriptionBuilder::new("totals")
            .handler(project())
            .data(self.pool.clone())
            .start(&self.executor)
            .await?;
        run.listening.cancel();
        tokio::select! {
            () = run.stop.cancelled() => Ok(subscription.shutdown().await?),
            reason = subscription.stopped() => anyhow::bail!("the subscription stopped: {reason}"),
        }
    }

    fn count(&self) -> &'static str {
        "SELECT count(*) FROM event"
    }
}

#[evento::aggregate(name = "Ledger")]
pub(crate) enum Bookings {
    Entered { amount: i64, note: String },
}

#[evento::projection(id = id)]
#[evento::snapshot(none)]
struct Ledger {
    id: String,
    events: u64,
    total: i64,
}

#[evento::handler]
async fn entered(event: Event<Entered>, ledger: &mut Ledger) -> Result<()> {
    ledger.id.clone_from(&event.aggregate_id);
    ledger.events += 1;
    ledger.total += event.data.amount;
    Ok(())
}

#[evento::subscription]
async fn project<E: Executor>(context: &Context<'_, E>, event: Event<Entered>) -> Result<()> {
    let pool: PgPool = context.extract();
    sqlx_of_evento::query(UPSERT).bind(&event.aggregate_id).bind(event.data.amount).execute(&pool).await?;
    Ok(())
}
