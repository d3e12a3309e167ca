//! The server is silent for random times: a proxy in front of it accepts connections and bytes, and forwards nothing. Every
//! call ends in time, and a save without an answer is settled by saving it again.

mod commands;
mod freezer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use eventsrc_core::StreamName;
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::{Dynamo, DynamoStorage};
use eventsrc_postgres::{Postgres, PostgresStorage};
use eventsrc_test_servers as servers;
use eventsrc_test_servers::proxy::Proxy;
use eventsrc_tests::dynamo::config;
use futures::future::try_join;

use crate::runs::{Findings, Trial};
use commands::save_under_freezes;

/// Maximum wait of a handle for an answer and for a connection.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Number of saves of which one is in DynamoDB, whose requests take far longer on this machine.
const DYNAMO_ONE_IN: u64 = 4;

pub(crate) async fn saves(trial: Trial) -> Result<Findings> {
    let in_dynamo = trial.attempts / DYNAMO_ONE_IN;
    let (postgres, dynamo) =
        try_join(postgres(trial.attempts - in_dynamo, trial.seed), dynamo(in_dynamo, !trial.seed)).await?;
    let note = format!("Postgres: {postgres}; DynamoDB: {dynamo}");
    let violations = postgres.violations.into_iter().chain(dynamo.violations).collect();
    Ok(Findings { attempted: postgres.saves + dynamo.saves, violations, note })
}

async fn postgres(saves: u64, seed: u64) -> Result<Counts> {
    let server = servers::postgres().await;
    let url = server.database("hung").await;
    let beneath = PostgresStorage::<StreamName, u64, u64>::new(&Postgres::connect(&url).await?);
    let proxy = Arc::new(Proxy::before(server.address()).await?);
    let settings = eventsrc_postgres::Settings {
        connect_timeout: ANSWER_TIMEOUT,
        answer_timeout: ANSWER_TIMEOUT,
        ..eventsrc_postgres::Settings::default()
    };
    let storage = PostgresStorage::new(&Postgres::connect_with(&proxy.url(&url), settings).await?);
    save_under_freezes(storage, &beneath, &proxy, saves, seed).await
}

async fn dynamo(saves: u64, seed: u64) -> Result<Counts> {
    let server = servers::dynamo().await;
    let (endpoint, access_key) = (server.endpoint(), server.access_key("hung"));
    let direct = Dynamo::new(Client::from_conf(config(&endpoint, &access_key).build()), "events");
    direct.create_tables().await?;
    let beneath = DynamoStorage::<StreamName, u64, u64>::new(&direct);
    let proxy = Arc::new(Proxy::before(server.address()).await?);
    let client = Client::from_conf(config(&proxy.url(&endpoint), &access_key).build());
    let settings =
        eventsrc_dynamo::Settings { answer_timeout: ANSWER_TIMEOUT, ..eventsrc_dynamo::Settings::default() };
    let storage = DynamoStorage::new(&Dynamo::with(client, "events", settings));
    save_under_freezes(storage, &beneath, &proxy, saves, seed).await
}

/// Counts of one server.
#[derive(Debug, Default)]
struct Counts {
    saves: u64,
    freezes: u64,
    /// Number of calls whose result is unknown.
    unknown: u64,
    /// Number of calls that failed and stored nothing.
    failed: u64,
    /// Number of repeated saves that found their commit stored.
    found_stored: u64,
    slowest: Duration,
    violations: Vec<String>,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { freezes, unknown, failed, found_stored, slowest, .. } = self;
        write!(
            f,
            "{freezes} freezes, {unknown} calls with an unknown result, {failed} failed, {found_stored} repeats found the \
             commit stored, the slowest call took {:.1} s",
            slowest.as_secs_f64()
        )
    }
}
