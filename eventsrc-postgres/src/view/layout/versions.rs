//! Versions of views, and the names under which readers find them.

use tokio_postgres::{Error, Row};

use super::super::transaction::Transaction;
use super::{PositionRow, READ, unreadable};
use crate::connections::Connections;
use crate::failure::Failure;
use crate::identifier::Identifier;

const VERSIONS: &str = "SELECT id, version, serves, tables FROM {schema}.view_versions WHERE view = $1";

const OTHER_OWNER: &str =
    "SELECT view FROM {schema}.view_versions WHERE view <> $1 AND tables @> ARRAY[$2::text]";

const CREATE: &str =
    "INSERT INTO {schema}.view_versions (view, version, serves, tables) VALUES ($1, $2, $3, $4)";

const REST: &str = "UPDATE {schema}.view_versions SET serves = false WHERE view = $1 AND serves";

const SERVE: &str = "UPDATE {schema}.view_versions SET serves = true WHERE id = $1";

const BEHIND: &str = "
    SELECT own.number, own.zone, other.number, other.zone, own.stopped IS NOT NULL, other.stream
    FROM {schema}.view_positions AS other
    LEFT JOIN {schema}.view_positions AS own ON own.version = $1 AND own.stream = other.stream
    WHERE other.version = $2 AND other.number IS NOT NULL
        AND (own.number IS NULL OR (own.number, own.zone) < (other.number, other.zone))
    ORDER BY other.stream";

/// What the owner of a name has granted to others, as statements that grant it again.
const RIGHTS: &str = "
    SELECT format('GRANT %s ON %I TO %s%s', privilege_type, $1::text,
        CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
        CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM pg_class, aclexplode(relacl) WHERE pg_class.oid = to_regclass(quote_ident($1)) AND grantee <> relowner";

const KIND: &str = "
    SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view' ELSE 'relation' END
    FROM pg_class WHERE oid = to_regclass(quote_ident($1))";

/// Waits this long for others to be done with a view. Nobody else is held up meanwhile.
const PATIENCE: &str = "SET LOCAL lock_timeout = '5s'";

/// Waits this long for readers of a name to be done. Whoever would read it next waits as well.
const READERS_PATIENCE: &str = "SET LOCAL lock_timeout = '1s'";

/// How values are shown as text depends on the session; a digest must not.
const BEGIN_DIGEST: &str = "
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL statement_timeout = 0; SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO';
    SET LOCAL intervalstyle = 'postgres'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'";

/// Sums, so that the order of the rows is no matter; of two hashes, so that they say more than one.
const DIGEST: &str = "
    SELECT count(*), coalesce(sum(hashtextextended(text, 0)), 0)::text,
        coalesce(sum(hashtextextended(text, 1)), 0)::text
    FROM ({rows}) AS rows (text)";

const DIGEST_OF_TABLE: &str = "SELECT '{name} ' || (\"the row\".*)::text FROM {table} AS \"the row\"";

/// The statements.
pub(crate) struct Versions {
    versions: String,
    other_owner: String,
    create: String,
    rest: String,
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
            rest: fill(REST),
            serve: fill(SERVE),
            behind: fill(BEHIND),
            remove: [positions, quarantine, skips, version],
        }
    }

    /// The versions of a view.
    pub(in crate::view) async fn of(
        &self,
        connections: &Connections,
        view: &str,
    ) -> Result<Vec<VersionRow>, Failure> {
        let rows = connections.query(READ, &self.versions, &[&view]).await?;
        rows.iter().map(VersionRow::read).collect::<Result<_, _>>().map_err(unreadable)
    }

    /// The versions of a view, as a transaction sees them.
    pub(in crate::view) async fn in_transaction(
        &self,
        transaction: &Transaction,
        view: &str,
    ) -> Result<Vec<VersionRow>, Error> {
        let rows = transaction.query(&self.versions, &[&view]).await?;
        rows.iter().map(VersionRow::read).collect()
    }

    /// Another view that has a table of this public name, in any of its versions.
    pub(in crate::view) async fn other_owner(
        &self,
        transaction: &Transaction,
        view: &str,
        table: &str,
    ) -> Result<Option<String>, Error> {
        let row = transaction.query(&self.other_owner, &[&view, &table]).await?;
        row.first().map(|row| row.try_get(0)).transpose()
    }

    /// Keeps a new version of a view.
    pub(in crate::view) async fn create(
        &self,
        transaction: &Transaction,
        view: &str,
        row: &VersionRow,
    ) -> Result<(), Error> {
        let VersionRow { version, serves, tables, .. } = row;
        transaction.execute(&self.create, &[&view, version, serves, tables]).await.map(drop)
    }

    /// Makes the version that goes by `id` the one that readers see.
    pub(in crate::view) async fn serve(
        &self,
        transaction: &Transaction,
        view: &str,
        id: i32,
    ) -> Result<(), Error> {
        transaction.execute(&self.rest, &[&view]).await?;
        transaction.execute(&self.serve, &[&id]).await.map(drop)
    }

    /// The streams of which the version that goes by `id` lies behind the one that goes by `other`, by name.
    pub(in crate::view) async fn behind(
        &self,
        transaction: &Transaction,
        id: i32,
        other: i32,
    ) -> Result<Vec<BehindRow>, Error> {
        transaction.query(&self.behind, &[&id, &other]).await?.iter().map(BehindRow::read).collect()
    }

    /// Removes what is kept of the version that goes by `id`, but its rows.
    pub(in crate::view) async fn remove(&self, transaction: &Transaction, id: i32) -> Result<(), Error> {
        for statement in &self.remove {
            transaction.execute(statement, &[&id]).await?;
        }
        Ok(())
    }
}

/// Has the transaction wait for others only so long.
pub(in crate::view) async fn be_patient(transaction: &Transaction) -> Result<(), Error> {
    transaction.batch_execute(PATIENCE).await
}

/// Has the transaction wait for readers only so long.
pub(in crate::view) async fn be_patient_with_readers(transaction: &Transaction) -> Result<(), Error> {
    transaction.batch_execute(READERS_PATIENCE).await
}

/// What lies under a name, such as `table`.
pub(in crate::view) async fn kind_of(
    transaction: &Transaction,
    name: &Identifier,
) -> Result<Option<String>, Error> {
    let row = transaction.query_opt(KIND, &[&name.as_str()]).await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// Statements that grant what others may do with the public name `table`.
pub(in crate::view) async fn rights(
    transaction: &Transaction,
    table: &Identifier,
) -> Result<Vec<String>, Error> {
    let rows = transaction.query(RIGHTS, &[&table.as_str()]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Has the public name `table` show the rows of the table `rows`.
pub(in crate::view) async fn publish(
    transaction: &Transaction,
    table: &Identifier,
    rows: &Identifier,
    rights: &[String],
) -> Result<(), Error> {
    let create = format!("CREATE VIEW {table} AS SELECT * FROM {rows}; {}", rights.join("; "));
    transaction.batch_execute(&create).await
}

/// Takes public names back, once nobody reads them.
pub(in crate::view) async fn unpublish(
    transaction: &Transaction,
    tables: &[Identifier],
) -> Result<(), Error> {
    drop_all(transaction, "VIEW", tables).await
}

/// Removes tables.
pub(in crate::view) async fn drop_tables(
    transaction: &Transaction,
    tables: &[Identifier],
) -> Result<(), Error> {
    drop_all(transaction, "TABLE", tables).await
}

async fn drop_all(transaction: &Transaction, kind: &str, names: &[Identifier]) -> Result<(), Error> {
    if names.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = names.iter().map(Identifier::to_string).collect();
    transaction.batch_execute(&format!("DROP {kind} IF EXISTS {}", names.join(", "))).await
}

/// What the rows in some tables come to, each of which has a name of its own.
pub(in crate::view) async fn digest(
    transaction: &Transaction,
    tables: impl Iterator<Item = (&Identifier, Identifier)>,
) -> Result<DigestRow, Error> {
    let row = |(name, table): (&Identifier, Identifier)| {
        DIGEST_OF_TABLE.replace("{name}", name.as_str()).replace("{table}", &table.to_string())
    };
    let mut rows: Vec<_> = tables.map(row).collect();
    if rows.is_empty() {
        rows.push("SELECT '' WHERE false".into());
    }
    let statement = DIGEST.replace("{rows}", &rows.join(" UNION ALL "));
    let row = transaction.query_one(&statement, &[]).await?;
    Ok(DigestRow { rows: row.try_get(0)?, sums: [row.try_get(1)?, row.try_get(2)?] })
}

/// Begins the transaction in which a digest is read.
pub(in crate::view) async fn begin_digest(transaction: &Transaction) -> Result<(), Error> {
    transaction.batch_execute(BEGIN_DIGEST).await
}

/// A version of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::view) struct VersionRow {
    /// The number that it goes by in the other tables.
    pub(in crate::view) id: i32,
    pub(in crate::view) version: i64,
    pub(in crate::view) serves: bool,
    /// The public names of its tables.
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

/// A stream of which one version of a view lies behind another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::view) struct BehindRow {
    pub(in crate::view) stream: String,
    pub(in crate::view) from: Option<PositionRow>,
    pub(in crate::view) to: PositionRow,
    pub(in crate::view) stopped: bool,
}

impl BehindRow {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            from: PositionRow::read_if_any(row, 0)?,
            to: PositionRow::read(row, 2)?,
            stopped: row.try_get(4)?,
            stream: row.try_get(5)?,
        })
    }
}

/// What some rows come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::view) struct DigestRow {
    pub(in crate::view) rows: i64,
    /// Of two hashes of each row.
    pub(in crate::view) sums: [String; 2],
}
