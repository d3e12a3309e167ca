//! Public names of tables: SQL views through which readers see the rows of the serving version.

use tokio_postgres::Error;

use super::errors::{READ, unreadable};
use crate::connections::Connections;
use crate::failure::Failure;
use crate::identifier::Identifier;
use crate::view::transaction::Transaction;

/// Privileges that the owner of a name has granted to other roles, as `GRANT` statements.
const RIGHTS: &str = "
    SELECT format('GRANT %s ON %I TO %s%s', privilege_type, $1::text,
        CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
        CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM pg_class, aclexplode(relacl) WHERE pg_class.oid = to_regclass(quote_ident($1)) AND grantee <> relowner";

/// Kind of the relation of a name.
const KIND: &str = "
    SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view' ELSE 'relation' END
    FROM pg_class WHERE oid = to_regclass(quote_ident($1))";

/// Those of the names `$1` and `$2` that are not the names of a table and of a view.
const MISSING: &str = "
    SELECT name FROM (
        SELECT name, ARRAY['r', 'p'] AS kinds FROM unnest($1::text[]) AS names (name)
        UNION ALL SELECT name, ARRAY['v'] FROM unnest($2::text[]) AS names (name)
    ) AS wanted
    WHERE NOT EXISTS (
        SELECT FROM pg_class WHERE oid = to_regclass(quote_ident(name)) AND relkind::text = ANY (kinds)
    )";

/// Returns the first of `tables` that is no table, or of `public_names` that is no SQL view.
pub(in crate::view) async fn missing_name(
    connections: &Connections,
    tables: &[Identifier],
    public_names: &[Identifier],
) -> Result<Option<String>, Failure> {
    let names = |names: &[Identifier]| names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    let (tables, public_names) = (names(tables), names(public_names));
    let rows = connections.query(READ, MISSING, &[&tables, &public_names]).await?;
    rows.first().map(|row| row.try_get(0)).transpose().map_err(unreadable)
}

/// Returns the kind of the relation called `name`, such as `table`; `None` if it does not exist.
pub(in crate::view) async fn kind_of(
    transaction: &Transaction,
    name: &Identifier,
) -> Result<Option<String>, Error> {
    let row = transaction.query_opt(KIND, &[&name.as_str()]).await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// Returns `GRANT` statements for the privileges of other roles on the public name `table`.
pub(in crate::view) async fn rights(
    transaction: &Transaction,
    table: &Identifier,
) -> Result<Vec<String>, Error> {
    let rows = transaction.query(RIGHTS, &[&table.as_str()]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Creates the public name `table`, which shows the rows of the table `rows`, and grants `rights`.
pub(in crate::view) async fn publish(
    transaction: &Transaction,
    table: &Identifier,
    rows: &Identifier,
    rights: &[String],
) -> Result<(), Error> {
    let create = format!("{}; {}", publication(table, rows), rights.join("; "));
    transaction.batch_execute(&create).await
}

/// Statement that creates the public name `table`, which shows the rows of the table `rows`.
pub(in crate::view) fn publication(table: &Identifier, rows: &Identifier) -> String {
    format!("CREATE VIEW {table} AS SELECT * FROM {rows}")
}

/// Drops public names, after their readers have finished.
pub(in crate::view) async fn unpublish(
    transaction: &Transaction,
    tables: &[Identifier],
) -> Result<(), Error> {
    drop_all(transaction, "VIEW", tables).await
}

/// Drops tables.
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
