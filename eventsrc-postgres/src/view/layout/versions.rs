//! Statements on the versions of views.

use tokio_postgres::{Error, Row};

use super::errors::{READ, unreadable};
use super::rows::PositionRow;
use crate::connections::Connections;
use crate::failure::Failure;
use crate::view::transaction::Transaction;

const VERSIONS: &str = "SELECT id, version, serves, tables FROM {schema}.view_versions WHERE view = $1";

const OTHER_OWNER: &str =
    "SELECT view FROM {schema}.view_versions WHERE view <> $1 AND tables @> ARRAY[$2::text]";

const CREATE: &str =
    "INSERT INTO {schema}.view_versions (view, version, serves, tables) VALUES ($1, $2, $3, $4)";

const STOP_SERVING: &str = "UPDATE {schema}.view_versions SET serves = false WHERE view = $1 AND serves";

const SERVE: &str = "UPDATE {schema}.view_versions SET serves = true WHERE id = $1";

const BEHIND: &str = "
    SELECT own.number, own.zone, other.number, other.zone, own.stopped IS NOT NULL, other.stream
    FROM {schema}.view_positions AS other
    LEFT JOIN {schema}.view_positions AS own ON own.version = $1 AND own.stream = other.stream
    WHERE other.version = $2 AND other.number IS NOT NULL
        AND (own.number IS NULL OR (own.number, own.zone) < (other.number, other.zone))
    ORDER BY other.stream";

/// Statements on the versions of views.
pub(in crate::view) struct Versions {
    versions: String,
    other_owner: String,
    create: String,
    stop_serving: String,
    serve: String,
    behind: String,
    remove: [String; 4],
}

impl Versions {
    pub(super) fn new(fill: impl Fn(&str) -> String) -> Self {
        let remove = ["positions", "quarantine", "skips"]
            .map(|table| fill(&format!("DELETE FROM {{schema}}.view_{table} WHERE version = $1")));
        let [positions, quarantine, skips] = remove;
        let version = fill("DELETE FROM {schema}.view_versions WHERE id = $1");
        Self {
            versions: fill(VERSIONS),
            other_owner: fill(OTHER_OWNER),
            create: fill(CREATE),
            stop_serving: fill(STOP_SERVING),
            serve: fill(SERVE),
            behind: fill(BEHIND),
            remove: [positions, quarantine, skips, version],
        }
    }

    /// Returns the versions of a view.
    pub(in crate::view) async fn of(
        &self,
        connections: &Connections,
        view: &str,
    ) -> Result<Vec<VersionRow>, Failure> {
        let rows = connections.query(READ, &self.versions, &[&view]).await?;
        rows.iter().map(VersionRow::read).collect::<Result<_, _>>().map_err(unreadable)
    }

    /// Returns the versions of a view, as `transaction` sees them.
    pub(in crate::view) async fn in_transaction(
        &self,
        transaction: &Transaction,
        view: &str,
    ) -> Result<Vec<VersionRow>, Error> {
        let rows = transaction.query(&self.versions, &[&view]).await?;
        rows.iter().map(VersionRow::read).collect()
    }

    /// Returns another view that has a table with this public name in any of its versions.
    pub(in crate::view) async fn other_owner(
        &self,
        transaction: &Transaction,
        view: &str,
        table: &str,
    ) -> Result<Option<String>, Error> {
        let row = transaction.query(&self.other_owner, &[&view, &table]).await?;
        row.first().map(|row| row.try_get(0)).transpose()
    }

    /// Inserts a new version of a view.
    pub(in crate::view) async fn create(
        &self,
        transaction: &Transaction,
        view: &str,
        row: &VersionRow,
    ) -> Result<(), Error> {
        let VersionRow { version, serves, tables, .. } = row;
        transaction.execute(&self.create, &[&view, version, serves, tables]).await.map(drop)
    }

    /// Makes the version with this `id` the serving one.
    pub(in crate::view) async fn serve(
        &self,
        transaction: &Transaction,
        view: &str,
        id: i32,
    ) -> Result<(), Error> {
        transaction.execute(&self.stop_serving, &[&view]).await?;
        transaction.execute(&self.serve, &[&id]).await.map(drop)
    }

    /// Returns the streams in which the version with this `id` is behind the version with the id `other`, by name.
    pub(in crate::view) async fn behind(
        &self,
        transaction: &Transaction,
        id: i32,
        other: i32,
    ) -> Result<Vec<BehindRow>, Error> {
        transaction.query(&self.behind, &[&id, &other]).await?.iter().map(BehindRow::read).collect()
    }

    /// Deletes the version with this `id`, its positions, quarantines and skips, but not its rows.
    pub(in crate::view) async fn remove(&self, transaction: &Transaction, id: i32) -> Result<(), Error> {
        for statement in &self.remove {
            transaction.execute(statement, &[&id]).await?;
        }
        Ok(())
    }
}

/// Row of a version of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::view) struct VersionRow {
    /// Id of the version in the other tables.
    pub(in crate::view) id: i32,
    pub(in crate::view) version: i64,
    pub(in crate::view) serves: bool,
    /// Public names of the tables.
    pub(in crate::view) tables: Vec<String>,
}

impl VersionRow {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.try_get(0)?,
            version: row.try_get(1)?,
            serves: row.try_get(2)?,
            tables: row.try_get(3)?,
        })
    }
}

/// Row of a stream in which one version of a view is behind another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::view) struct BehindRow {
    pub(in crate::view) stream: String,
    pub(in crate::view) from: Option<PositionRow>,
    pub(in crate::view) to: PositionRow,
    /// True if the stream is in quarantine.
    pub(in crate::view) quarantined: bool,
}

impl BehindRow {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            from: PositionRow::read_optional(row, 0)?,
            to: PositionRow::read(row, 2)?,
            quarantined: row.try_get(4)?,
            stream: row.try_get(5)?,
        })
    }
}
