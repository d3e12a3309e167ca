//! The server is killed with SIGKILL while callers race, and is started again with the files that it left.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use eventsrc_core::StreamName;
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::{Dynamo, DynamoStorage};
use eventsrc_test_servers::{DynamoLocal, DynamoLocalSettings};
use eventsrc_testkit::history::{Load, Recorded, hammer};
use eventsrc_tests::HANG;
use eventsrc_tests::dynamo::config;
use tokio::time::timeout;

use crate::runs::{Findings, Trial};

/// Number of operations around each kill.
const OPERATIONS: u64 = 200;

/// Maximum number of units that are written before a kill.
const LATEST: u64 = 40;

pub(crate) async fn dynamo(trial: Trial) -> Result<Findings> {
    let mut server = DynamoLocal::start_with(DynamoLocalSettings { kept: true }).await?;
    let client = Client::from_conf(config(&server.endpoint(), &server.access_key("killed")).build());
    let dynamo = Dynamo::new(client, "events");
    dynamo.create_tables().await?;
    let recorded = Arc::new(Recorded::new(DynamoStorage::<StreamName, u64, u64>::new(&dynamo)));
    let randomness = Randomness::seeded(trial.seed);
    for kill in 0..trial.attempts {
        let (raced, before) = (Arc::clone(&recorded), dynamo.usage().write_units);
        // Distant seeds, so that no commit id is generated twice: a load derives several seeds from its
        // own.
        let seed = trial.seed.wrapping_mul(1_000_003).wrapping_add(1_000 * kill);
        let load = Load { seed, tasks: 16, streams: 4, operations: OPERATIONS };
        let callers = tokio::spawn(async move { hammer(&raced, load).await });
        let moment = before + randomness.up_to(Duration::from_millis(LATEST)).as_millis() as f64;
        let written = async {
            while dynamo.usage().write_units < moment {
                SystemClock.sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(HANG, written).await.context("the callers write too little")?;
        server.kill().await?;
        server.restart().await?;
        callers.await?;
    }
    let mut found = Findings { attempted: trial.attempts, ..Findings::default() };
    match recorded.check(recorded.storage()).await {
        Ok(checked) => {
            found.note = format!(
                "{} calls, {} commits, {} conflicts, {} puts without an answer",
                checked.puts + checked.reads,
                checked.commits,
                checked.conflicts,
                checked.unknown
            );
        }
        Err(violation) => found.violations.push(format!("{:?}: {violation}", violation.kind)),
    }
    Ok(found)
}
