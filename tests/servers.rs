//! The local servers that other tests stand on, and the proxy before them.

mod postgres;

use tokio_postgres::{Client, NoTls};

/// A client of the database at `url`.
async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// How many rows are in the table `kept` of the database at `url`.
async fn rows(url: &str) -> i64 {
    let client = connect(url).await.unwrap();
    client.query_one("SELECT count(*) FROM kept", &[]).await.unwrap().get(0)
}
