//! The local servers of other tests, and the proxy in front of them.

mod bytes;
mod dynamo;
mod kinesis;
mod kinesis_mock;
mod ministack;
mod postgres;
mod statements;
mod streams;
mod tables;

use std::time::Duration;

use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_tests::HANG;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

/// A client of the database at `url`.
async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The number of rows in the table `kept` of the database at `url`.
async fn rows(url: &str) -> i64 {
    let client = connect(url).await.unwrap();
    client.query_one("SELECT count(*) FROM kept", &[]).await.unwrap().get(0)
}

/// Waits until `condition` holds.
async fn until(condition: impl AsyncFn() -> bool) {
    let holds = async {
        while !condition().await {
            SystemClock.sleep(Duration::from_millis(10)).await;
        }
    };
    within(holds).await;
}

/// The output of a future that is ready within the time limit.
async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(HANG, future).await.expect("it comes")
}
