//! Connections that are made when they are needed, shared, and replaced once they break.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::address::Address;
use crate::failure::Failure;
use crate::settings::Settings;

/// A connection that goes back to its pool when it is dropped.
pub(crate) type Connection = Object;

/// A pool of connections. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connections {
    pool: Pool,
    server: Arc<str>,
}

impl Connections {
    /// Connections to `address` for whatever their user sends. None is made yet.
    pub(crate) fn new(address: &Address, tls: Option<&MakeRustlsConnect>, settings: &Settings) -> Self {
        Self::with(address, tls, settings, settings.connections, "")
    }

    /// At most `size` connections to `address` for the statements of [`Layout`](crate::layout::Layout), each of which has one
    /// good plan, along the primary key, however large the table is. None is made yet.
    ///
    /// So the planner is told not to look for others: a plan that was made while the table was small would be kept for a
    /// while, and to plan for each call anew takes longer than to run the plan.
    pub(crate) fn with_one_plan(
        address: &Address,
        tls: Option<&MakeRustlsConnect>,
        settings: &Settings,
        size: usize,
    ) -> Self {
        let planning = "SET plan_cache_mode = force_generic_plan; SET jit = off;
                        SET enable_seqscan = off; SET enable_bitmapscan = off;";
        Self::with(address, tls, settings, size, planning)
    }

    fn with(
        address: &Address,
        tls: Option<&MakeRustlsConnect>,
        settings: &Settings,
        size: usize,
        more: &str,
    ) -> Self {
        // A connection that is known to be closed is not handed out; one that is not known to be is seen when it is used.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let config = address.config.clone();
        let manager = match tls {
            Some(tls) => Manager::from_config(config, tls.clone(), recycling),
            None => Manager::from_config(config, NoTls, recycling),
        };
        let limit = Some(settings.connect_timeout);
        let set_up: Arc<str> = (more.to_owned() + &session(settings)).into();
        let pool = Pool::builder(manager)
            .max_size(size.max(1))
            .timeouts(Timeouts { wait: limit, create: limit, recycle: limit })
            .runtime(Runtime::Tokio1)
            .post_create(Hook::async_fn(move |client, _| {
                let set_up = Arc::clone(&set_up);
                Box::pin(async move { client.batch_execute(&set_up).await.map_err(HookError::Backend) })
            }))
            .build()
            .expect("the pool has a runtime");
        Self { pool, server: address.name.as_str().into() }
    }

    /// A connection, which is free or new.
    pub(crate) async fn get(&self) -> Result<Connection, Failure> {
        self.pool.get().await.map_err(|error| Failure::to_connect(&self.server, error))
    }

    /// Runs one statement, which is prepared once a connection, in one round trip and a transaction of its own; `doing` is
    /// a clause such as "cannot read".
    ///
    /// A connection that broke while nobody used it is replaced, and the statement runs again: so it has to be one
    /// that does no harm when it ran before. Any other failure is the caller's.
    pub(crate) async fn query(
        &self,
        doing: &str,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        let connection = self.get().await?;
        let was_idle = Object::metrics(&connection).recycle_count > 0;
        let result = query(&connection, doing, statement, parameters).await;
        if !was_idle || !result.as_ref().is_err_and(Failure::is_lost) {
            return result;
        }
        // What broke one connection broke the others.
        drop(connection);
        drop(self.pool.retain(|_, _| false));
        query(&self.get().await?, doing, statement, parameters).await
    }
}

async fn query(
    connection: &Connection,
    doing: &str,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Failure> {
    let run = async {
        let statement = connection.prepare_cached(statement).await?;
        connection.query(&statement, parameters).await
    };
    run.await.map_err(|error| Failure::new(doing, error))
}

/// What a session needs, whatever the defaults of its user and database are.
fn session(settings: &Settings) -> String {
    let limit =
        |limit: Option<Duration>| limit.map_or(0, |limit| limit.as_millis().clamp(1, i32::MAX as u128));
    let (statement, idle) = (limit(settings.statement_timeout), limit(settings.idle_in_transaction_timeout));
    format!(
        "SET default_transaction_isolation = 'read committed';
         SET statement_timeout = {statement};
         SET idle_in_transaction_session_timeout = {idle};
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
}
