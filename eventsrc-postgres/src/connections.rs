//! Connection pools: connections are opened on demand, shared, and replaced when they break.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::address::Address;
use crate::connection::{Connection, Limits};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::silence::within;

/// A connection pool. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connections {
    pool: Pool,
    server: Arc<str>,
    limits: Arc<Limits>,
}

impl Connections {
    /// Pool of connections to `address` for arbitrary statements. It opens no connection yet.
    pub(crate) fn new(address: &Address, tls: Option<&MakeRustlsConnect>, settings: &Settings) -> Self {
        Self::with_session(address, tls, settings, settings.connections, "")
    }

    /// Pool of at most `size` connections to `address` for statements that have one good plan, along the primary key,
    /// for tables of any size. It opens no connection yet.
    ///
    /// The sessions force generic plans and disable other plan types. Otherwise Postgres could keep a plan that it made
    /// while the table was small, and planning each call again takes longer than executing the plan.
    pub(crate) fn with_one_plan(
        address: &Address,
        tls: Option<&MakeRustlsConnect>,
        settings: &Settings,
        size: usize,
    ) -> Self {
        let planning = "SET plan_cache_mode = force_generic_plan; SET jit = off;
                        SET enable_seqscan = off; SET enable_bitmapscan = off;";
        Self::with_session(address, tls, settings, size, planning)
    }

    fn with_session(
        address: &Address,
        tls: Option<&MakeRustlsConnect>,
        settings: &Settings,
        size: usize,
        planning: &str,
    ) -> Self {
        // The pool hands out no connection that is known to be closed. Any other broken one is detected when it is used.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let config = address.config.clone();
        let manager = match tls {
            Some(tls) => Manager::from_config(config, tls.clone(), recycling),
            None => Manager::from_config(config, NoTls, recycling),
        };
        let limit = settings.connect_timeout;
        let timeout = Some(limit);
        let set_up: Arc<str> = (planning.to_owned() + &session(settings)).into();
        let pool = Pool::builder(manager)
            .max_size(size.max(1))
            .timeouts(Timeouts { wait: timeout, create: timeout, recycle: timeout })
            .runtime(Runtime::Tokio1)
            .post_create(Hook::async_fn(move |client, _| {
                let set_up = Arc::clone(&set_up);
                Box::pin(async move {
                    let done = within(limit, client.batch_execute(&set_up)).await;
                    done.ok_or(HookError::message(SILENT))?.map_err(HookError::Backend)
                })
            }))
            .build()
            .expect("the pool has a runtime");
        let limits = Arc::new(Limits::new(tls, settings));
        Self { pool, server: address.name.as_str().into(), limits }
    }

    /// Returns an idle or a new connection.
    pub(crate) async fn get(&self) -> Result<Connection, Failure> {
        let object = self.pool.get().await.map_err(|error| Failure::to_connect(&self.server, error))?;
        Ok(Connection::new(object, Arc::clone(&self.limits)))
    }

    /// Executes one prepared statement in one round trip and a transaction of its own. The statement is prepared once
    /// for each connection. `context` is a clause such as "cannot read".
    ///
    /// If a connection turns out to have broken while it was idle, it is replaced, and the statement is executed again.
    /// So the statement must be idempotent. Any other failure is returned, also that of a server that does not answer in
    /// time.
    pub(crate) async fn query(
        &self,
        context: &str,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        let connection = self.get().await?;
        let was_idle = connection.was_idle();
        let result = query(&connection, context, statement, parameters).await;
        if !was_idle || !result.as_ref().is_err_and(Failure::is_connection_lost) {
            return result;
        }
        // The same cause most likely broke the other idle connections.
        drop(connection);
        drop(self.pool.retain(|_, _| false));
        query(&self.get().await?, context, statement, parameters).await
    }
}

/// Message of the error of a session that cannot be set up in time.
const SILENT: &str = "the server did not answer in time";

async fn query(
    connection: &Connection,
    context: &str,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Failure> {
    let run = async {
        let statement = connection.prepare_cached(statement).await?;
        connection.query(&statement, parameters).await
    };
    let answer = connection.answer(run).await.map_err(|silence| Failure::silent(context, silence))?;
    answer.map_err(|error| Failure::new(context, error))
}

/// Statements that set up a session independently of the defaults of its user and database.
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
