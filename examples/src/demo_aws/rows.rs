//! The rows of the view, and the fold that they must equal.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use eventsrc_core::Fold;
use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_postgres::tokio_postgres::{Client, NoTls};
use futures::TryStreamExt;
use uuid::Uuid;

use super::servers::LocalServers;
use crate::identity::{Storages, UserById, UserId};

/// The rows of users by id: name, address and sequence.
pub(super) type Rows = BTreeMap<Uuid, (Option<String>, Option<String>, u64)>;

/// A connection to the database of the view that bypasses the service.
pub(super) struct Database(Client);

impl Database {
    pub(super) async fn connect(servers: &LocalServers) -> Result<Self> {
        let (client, connection) = eventsrc_postgres::tokio_postgres::connect(&servers.views, NoTls).await?;
        tokio::spawn(connection);
        Ok(Self(client))
    }

    /// Returns the name, address and sequence of each user called `name`, formatted as by psql.
    pub(super) async fn called(&self, name: &str) -> Result<Vec<String>> {
        let rows = self.0.query("SELECT name, email, sequence FROM users WHERE name = $1", &[&name]).await?;
        let line = |row: &eventsrc_postgres::tokio_postgres::Row| {
            let (name, email) = (row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
            anyhow::Ok(format!(" {name} | {email} | {}", row.try_get::<_, i64>(2)?))
        };
        rows.iter().map(line).collect()
    }

    /// Returns the number of users that have a row.
    pub(super) async fn count(&self) -> Result<i64> {
        Ok(self.0.query_one("SELECT count(*) FROM users WHERE name IS NOT NULL", &[]).await?.try_get(0)?)
    }

    /// Returns all rows.
    pub(super) async fn rows(&self) -> Result<Rows> {
        let rows = self.0.query("SELECT id, name, email, sequence FROM users", &[]).await?;
        let row = |row: &eventsrc_postgres::tokio_postgres::Row| {
            let sequence = u64::try_from(row.try_get::<_, i64>(3)?)?;
            anyhow::Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?, sequence)))
        };
        rows.iter().map(row).collect()
    }
}

/// Returns the expected rows: the fold of all stored events.
pub(super) async fn folded(servers: &LocalServers) -> Result<Rows> {
    let users = servers.streams().users();
    let mut pages = users.scan(Segment::ALL);
    let mut folded: BTreeMap<Uuid, (_, u64)> = BTreeMap::new();
    while let Some(page) = pages.try_next().await? {
        for commit in page.commits() {
            let (user, sequence) = folded.entry(commit.key.0).or_default();
            for event in commit.events() {
                UserById.apply(&UserId(commit.key.0), user, event);
            }
            *sequence = commit.last();
        }
    }
    let rows = folded.into_iter().map(|(id, (user, sequence))| {
        let user = user.context("no user is deleted in the demonstration")?;
        let (name, email) =
            (user.name.map(|name| name.to_string()), user.email.map(|email| email.to_string()));
        Ok((id, (name, email, sequence)))
    });
    rows.collect()
}
