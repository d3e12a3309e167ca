//! Tables that are made and changed once, by whichever process comes first.

use std::collections::HashMap;

use deadpool_postgres::GenericClient;
use eventsrc_core::{ErrorKind, StorageError};
use tokio_postgres::Error;

use crate::connections::Connection;
use crate::failure::Failure;
use crate::identifier::Identifier;

/// Some tables, with a version of their own. In all SQL of a part, `{schema}` stands for the schema.
pub(crate) struct Part {
    /// What the part is called in the table of versions.
    pub(crate) name: &'static str,
    /// Each brings the tables from one version to the next; the first makes them.
    pub(crate) migrations: &'static [&'static str],
    /// What a service may do with them; `{role}` stands for its role.
    pub(crate) grants: &'static str,
}

impl Part {
    /// The version that this library writes.
    pub(crate) fn version(&self) -> i32 {
        self.migrations.len() as i32
    }
}

/// `sql` with `{schema}` filled in.
pub(crate) fn in_schema(sql: &str, schema: &Identifier) -> String {
    sql.replace("{schema}", &schema.to_string())
}

/// Brings the tables of `parts` to the versions of this library, and makes the schema if it is not there.
///
/// A role that may not make tables gets by if there is nothing to do.
///
/// # Errors
///
/// `Refused` if the tables are of a newer version or somebody else's, or the permission to make them is missing.
pub(crate) async fn migrate(
    connection: &mut Connection,
    schema: &Identifier,
    parts: &[&Part],
) -> Result<(), StorageError> {
    let failure = |error| Failure::new(&format!("cannot set up the schema {schema}"), error);
    let found = versions(connection, schema).await.map_err(failure)?;
    if outdated(&found, schema, parts)?.next().is_none() {
        return Ok(());
    }
    let transaction = connection.transaction().await.map_err(failure)?;
    lock(&transaction, schema).await.map_err(failure)?;
    // Another process may have been faster, so this is asked again under the lock.
    let found = versions(&transaction, schema).await.map_err(failure)?;
    for (part, version) in outdated(&found, schema, parts)? {
        raise(&transaction, schema, part, version).await.map_err(failure)?;
    }
    transaction.commit().await.map_err(|error| failure(error).into())
}

/// Lets the role `role` do what a service does, and no more.
pub(crate) async fn grant(
    connection: &mut Connection,
    schema: &Identifier,
    role: &Identifier,
    parts: &[&Part],
) -> Result<(), StorageError> {
    let own = "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON {schema}.versions TO {role};";
    let all: String = [own].into_iter().chain(parts.iter().map(|part| part.grants)).collect();
    let sql = in_schema(&all, schema).replace("{role}", &role.to_string());
    let run = async {
        let transaction = connection.transaction().await?;
        transaction.batch_execute(&sql).await?;
        transaction.commit().await
    };
    run.await.map_err(|error| Failure::new(&format!("cannot grant the role {role} its rights"), error).into())
}

/// The parts that have to be raised, each with the version that it is of; none that is newer.
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
                "cannot use the schema {schema}: its {} are of version {version}, and this program knows up to {}: they \
                 were made by a newer one",
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

/// The version of each part that is there.
async fn versions(client: &impl GenericClient, schema: &Identifier) -> Result<HashMap<String, i32>, Error> {
    // Not `to_regclass`, which may not know yet of a table that was made while this transaction waited for the lock.
    let there = "SELECT 1 FROM pg_catalog.pg_class AS tables JOIN pg_catalog.pg_namespace AS schemas
                 ON schemas.oid = relnamespace WHERE nspname = $1 AND relname = 'versions'";
    if client.query_opt(there, &[&schema.as_str()]).await?.is_none() {
        return Ok(HashMap::new());
    }
    let rows = client.query(&in_schema("SELECT part, version FROM {schema}.versions", schema), &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Keeps other processes from changing the schema until the transaction ends.
async fn lock(client: &impl GenericClient, schema: &Identifier) -> Result<(), Error> {
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended('eventsrc ' || $1, 0))";
    client.query_one(sql, &[&schema.as_str()]).await.map(drop)
}

/// Brings one part from `version` to the current one.
async fn raise(
    client: &impl GenericClient,
    schema: &Identifier,
    part: &Part,
    version: i32,
) -> Result<(), Error> {
    // To make a schema that is there already takes a permission that its owner need not have.
    let there = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1";
    if client.query_opt(there, &[&schema.as_str()]).await?.is_none() {
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
