//! Migrations: tables that the first process creates, and later versions change, once for each schema.

use std::collections::HashMap;

use deadpool_postgres::{GenericClient, Object};
use eventsrc_core::{ErrorKind, StorageError};
use tokio_postgres::Error;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::identifier::Identifier;

/// Group of tables with a version of its own. In all SQL of a part, `{schema}` stands for the schema.
pub(crate) struct Part {
    /// Name of the part in the table of versions.
    pub(crate) name: &'static str,
    /// Statements that bring the tables from one version to the next; the first entry creates them.
    pub(crate) migrations: &'static [&'static str],
    /// Statements that grant the privileges of a service; `{role}` stands for its role.
    pub(crate) grants: &'static str,
}

impl Part {
    /// Version of the tables that this library uses.
    pub(crate) fn version(&self) -> i32 {
        self.migrations.len() as i32
    }
}

/// Replaces `{schema}` in `sql`.
pub(crate) fn in_schema(sql: &str, schema: &Identifier) -> String {
    sql.replace("{schema}", &schema.to_string())
}

/// Creates the schema if it does not exist, and brings the tables of `parts` to the versions of this library.
///
/// A role that may not create tables succeeds if there is nothing to do.
///
/// # Errors
///
/// [`ErrorKind::Refused`] if the tables have a newer version or belong to another program, or the permission to create
/// them is missing.
pub(crate) async fn migrate(
    connection: &mut Connection,
    schema: &Identifier,
    parts: &[&Part],
) -> Result<(), StorageError> {
    let context = format!("cannot set up the schema {schema}");
    let migrated =
        connection.answer_to(async |object| migrate_on(object, &context, schema, parts).await).await;
    migrated.map_err(|silence| Failure::silent(&context, silence))?
}

async fn migrate_on(
    connection: &mut Object,
    context: &str,
    schema: &Identifier,
    parts: &[&Part],
) -> Result<(), StorageError> {
    let failure = |error| Failure::new(context, error);
    let found = versions(connection, schema).await.map_err(failure)?;
    if outdated(&found, schema, parts)?.next().is_none() {
        return Ok(());
    }
    let transaction = connection.transaction().await.map_err(failure)?;
    lock(&transaction, schema).await.map_err(failure)?;
    // Another process may have migrated in the meantime, so the versions are read again under the lock.
    let found = versions(&transaction, schema).await.map_err(failure)?;
    for (part, version) in outdated(&found, schema, parts)? {
        upgrade(&transaction, schema, part, version).await.map_err(failure)?;
    }
    transaction.commit().await.map_err(|error| failure(error).into())
}

/// Grants the role `role` exactly the privileges of a service.
pub(crate) async fn grant(
    connection: &mut Connection,
    schema: &Identifier,
    role: &Identifier,
    parts: &[&Part],
) -> Result<(), StorageError> {
    let own = "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON {schema}.versions TO {role};";
    let all: String = [own].into_iter().chain(parts.iter().map(|part| part.grants)).collect();
    let sql = in_schema(&all, schema).replace("{role}", &role.to_string());
    let context = format!("cannot grant privileges to the role {role}");
    let granted = connection.answer_to(async |object| {
        let transaction = object.transaction().await?;
        transaction.batch_execute(&sql).await?;
        transaction.commit().await
    });
    let granted = granted.await.map_err(|silence| Failure::silent(&context, silence))?;
    granted.map_err(|error| Failure::new(&context, error).into())
}

/// Parts whose version is older than that of this library, each with its version.
///
/// # Errors
///
/// [`ErrorKind::Refused`] if a part has a newer version.
fn outdated<'a>(
    found: &HashMap<String, i32>,
    schema: &Identifier,
    parts: &[&'a Part],
) -> Result<impl Iterator<Item = (&'a Part, i32)> + use<'a>, StorageError> {
    let mut outdated = Vec::new();
    for part in parts {
        let version = found.get(part.name).copied().unwrap_or(0);
        if version > part.version() {
            let what = format!(
                "cannot use the schema {schema}: a newer program set the version of its {} to {version}, and this one \
                 supports versions up to {}; upgrade this program",
                part.name,
                part.version()
            );
            return Err(StorageError::new(ErrorKind::Refused, what));
        }
        if version < part.version() {
            outdated.push((*part, version));
        }
    }
    Ok(outdated.into_iter())
}

/// Version of each part that exists.
async fn versions(client: &impl GenericClient, schema: &Identifier) -> Result<HashMap<String, i32>, Error> {
    // Not `to_regclass`: it may not see a table that was created while this transaction waited for the lock.
    let find_table = "SELECT 1 FROM pg_catalog.pg_class AS tables JOIN pg_catalog.pg_namespace AS schemas
                 ON schemas.oid = relnamespace WHERE nspname = $1 AND relname = 'versions'";
    if client.query_opt(find_table, &[&schema.as_str()]).await?.is_none() {
        return Ok(HashMap::new());
    }
    let rows = client.query(&in_schema("SELECT part, version FROM {schema}.versions", schema), &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Takes the advisory lock of the schema, so that no other process migrates it until the transaction ends.
async fn lock(client: &impl GenericClient, schema: &Identifier) -> Result<(), Error> {
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended('eventsrc ' || $1, 0))";
    client.query_one(sql, &[&schema.as_str()]).await.map(drop)
}

/// Upgrades a part from `version` to the version of this library.
async fn upgrade(
    client: &impl GenericClient,
    schema: &Identifier,
    part: &Part,
    version: i32,
) -> Result<(), Error> {
    // `CREATE SCHEMA IF NOT EXISTS` takes a permission that the owner of an existing schema need not have.
    let find_schema = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1";
    if client.query_opt(find_schema, &[&schema.as_str()]).await?.is_none() {
        client.batch_execute(&in_schema("CREATE SCHEMA {schema}", schema)).await?;
    }
    let versions =
        "CREATE TABLE IF NOT EXISTS {schema}.versions (part text PRIMARY KEY, version integer NOT NULL)";
    client.batch_execute(&in_schema(versions, schema)).await?;
    for migration in &part.migrations[version as usize..] {
        client.batch_execute(&in_schema(migration, schema)).await?;
    }
    let set = "INSERT INTO {schema}.versions VALUES ($1, $2)
               ON CONFLICT (part) DO UPDATE SET version = excluded.version";
    client.execute(&in_schema(set, schema), &[&part.name, &part.version()]).await.map(drop)
}
