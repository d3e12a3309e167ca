//! What the view has, and what it should have.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use eventsrc_core::Fold;
use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_postgres::tokio_postgres::{Client, NoTls};
use futures::TryStreamExt;
use uuid::Uuid;

use super::local::Local;
use crate::identity::{Storages, UserById, UserId};

/// The rows of users, by id: name, address, and the sequence that they are as new as.
pub(super) type Rows = BTreeMap<Uuid, (Option<String>, Option<String>, u64)>;

/// Somebody who asks the database, past everything else.
pub(super) struct Database(Client);

impl Database {
    pub(super) async fn connect(local: &Local) -> Result<Self> {
        let (client, connection) = eventsrc_postgres::tokio_postgres::connect(&local.views, NoTls).await?;
        tokio::spawn(connection);
        Ok(Self(client))
    }

    /// The names, addresses and sequences of those called `name`.
    pub(super) async fn called(&self, name: &str) -> Result<Vec<String>> {
        let rows = self.0.query("SELECT name, email, sequence FROM users WHERE name = $1", &[&name]).await?;
        let line = |row: &eventsrc_postgres::tokio_postgres::Row| {
            let (name, email) = (row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
            anyhow::Ok(format!(" {name} | {email} | {}", row.try_get::<_, i64>(2)?))
        };
        rows.iter().map(line).collect()
    }

    /// How many users have a row.
    pub(super) async fn count(&self) -> Result<i64> {
        Ok(self.0.query_one("SELECT count(*) FROM users WHERE name IS NOT NULL", &[]).await?.try_get(0)?)
    }

    /// All rows.
    pub(super) async fn rows(&self) -> Result<Rows> {
        let rows = self.0.query("SELECT id, name, email, sequence FROM users", &[]).await?;
        let row = |row: &eventsrc_postgres::tokio_postgres::Row| {
            let sequence = u64::try_from(row.try_get::<_, i64>(3)?)?;
            anyhow::Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?, sequence)))
        };
        rows.iter().map(row).collect()
    }
}

/// What the rows have to be: the fold of every event that is stored.
pub(super) async fn folded(local: &Local) -> Result<Rows> {
    let users = local.streams().users();
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
        let user = user.context("nobody is deleted in this story")?;
        let (name, email) =
            (user.name.map(|name| name.to_string()), user.email.map(|email| email.to_string()));
        Ok((id, (name, email, sequence)))
    });
    rows.collect()
}
