//! The view in an SQLite file: the file of the events, or another one.

use eventsrc_core::view::{Batch, ViewError};
use eventsrc_core::{StorageError, StreamName, ViewDefinition};
use eventsrc_sqlite::rusqlite::{self, Connection, OptionalExtension, Row, ToSql, params};
use eventsrc_sqlite::{Database, SqliteView, View};

use super::changes::Changes;
use super::followed::{FollowedEvent, FollowedKey, definition};
use super::page::{PAGE, PageStart};
use super::queries::{ViewQueries, ViewResult};
use super::rows::{GroupRow, UserRow};
use crate::identity::keys::{GroupId, UserId};
use crate::identity::text::Email;

/// A view in a file.
pub type InSqliteView = SqliteView<FollowedKey, u64, FollowedEvent, SqliteTables>;

/// Opens the view in `database`.
///
/// # Errors
///
/// The errors of [`SqliteView::open`].
pub async fn in_sqlite(database: &Database) -> Result<InSqliteView, StorageError> {
    SqliteView::open(database, SqliteTables).await
}

/// The tables in SQLite.
#[derive(Debug, Clone, Copy)]
pub struct SqliteTables;

/// Only ids are unique: streams are applied independently, so a name can belong to its old and its new owner for a
/// moment. A deleted user keeps its id and sequence, and has no name.
const TABLES: &str = "
    CREATE TABLE users_v1 (
        id TEXT PRIMARY KEY, name TEXT, email TEXT, display_name TEXT, sequence INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX users_v1_by_name ON users_v1 (name, id);
    CREATE INDEX users_v1_by_email ON users_v1 (email);
    CREATE TABLE groups_v1 (id TEXT PRIMARY KEY, name TEXT, sequence INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE members_v1 (
        group_id TEXT NOT NULL, user_id TEXT NOT NULL, PRIMARY KEY (group_id, user_id)
    ) STRICT, WITHOUT ROWID;";

const PUT_USER: &str = "
    INSERT INTO users_v1 VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (id) DO UPDATE SET
        name = iif(?6, NULL, coalesce(?2, name)),
        email = iif(?6, NULL, coalesce(?3, email)),
        display_name = iif(?6, NULL, coalesce(?4, display_name)),
        sequence = ?5";

const PUT_GROUP: &str = "
    INSERT INTO groups_v1 VALUES (?1, ?2, ?3)
    ON CONFLICT (id) DO UPDATE SET name = coalesce(?2, name), sequence = ?3";

impl View<FollowedKey, u64, FollowedEvent> for SqliteTables {
    fn definition(&self) -> ViewDefinition {
        definition()
    }

    fn tables(&self) -> &[&str] {
        &["users", "groups", "members"]
    }

    fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute_batch(TABLES)
    }

    fn apply(
        &self,
        transaction: &Connection,
        batch: &Batch<FollowedKey, u64, FollowedEvent>,
    ) -> Result<(), ViewError> {
        let changes = Changes::of(batch.events());
        let mut put = transaction.prepare_cached(PUT_USER)?;
        for (id, user) in &changes.users {
            let (id, sequence) = (id.0.to_string(), i64::try_from(user.sequence)?);
            put.execute(params![id, user.name, user.email, user.display_name, sequence, user.deleted])?;
        }
        let mut put = transaction.prepare_cached(PUT_GROUP)?;
        for (id, group) in &changes.groups {
            put.execute(params![id.0.to_string(), group.name, i64::try_from(group.sequence)?])?;
        }
        let mut add = transaction.prepare_cached("INSERT OR IGNORE INTO members_v1 VALUES (?1, ?2)")?;
        let mut remove =
            transaction.prepare_cached("DELETE FROM members_v1 WHERE group_id = ?1 AND user_id = ?2")?;
        for ((group, user), is_member) in &changes.members {
            let put = if *is_member { &mut add } else { &mut remove };
            put.execute([group.0.to_string(), user.0.to_string()])?;
        }
        Ok(())
    }
}

impl ViewQueries for InSqliteView {
    async fn user(&self, streams: &[StreamName], id: UserId) -> ViewResult<Option<UserRow>> {
        let sql =
            "SELECT id, name, email, display_name, sequence FROM users WHERE id = ?1 AND name IS NOT NULL";
        let id = id.0.to_string();
        self.read(streams, move |connection| connection.prepare_cached(sql)?.query_row([id], user).optional())
            .await
    }

    async fn users_by_email(&self, streams: &[StreamName], email: &Email) -> ViewResult<Vec<UserRow>> {
        let sql =
            "SELECT id, name, email, display_name, sequence FROM users WHERE email = ?1 ORDER BY name, id";
        let email = email.to_string();
        self.read(streams, move |connection| users(connection, sql, &[&email])).await
    }

    async fn users_by_name(
        &self,
        streams: &[StreamName],
        prefix: &str,
        start: &PageStart,
    ) -> ViewResult<Vec<UserRow>> {
        let sql = "
            SELECT id, name, email, display_name, sequence FROM users
            WHERE name >= ?1 AND name < ?2 AND (name, id) > (?3, ?4) ORDER BY name, id LIMIT ?5";
        // This character is greater than all characters of a name.
        let (from, to) = (prefix.to_owned(), format!("{prefix}\u{7f}"));
        let PageStart { name, id } = start.clone();
        self.read(streams, move |connection| {
            users(connection, sql, &[&from, &to, &name, &id.0.to_string(), &LIMIT])
        })
        .await
    }

    async fn group(
        &self,
        streams: &[StreamName],
        id: GroupId,
        start: &PageStart,
    ) -> ViewResult<Option<GroupRow>> {
        let group = "
            SELECT name, sequence, (
                SELECT coalesce(sum(users.sequence), 0) FROM members JOIN users ON users.id = user_id
                WHERE group_id = ?1
            ) FROM groups WHERE id = ?1";
        let members = "
            SELECT id, name, email, display_name, sequence FROM members JOIN users ON id = user_id
            WHERE group_id = ?1 AND (name, id) > (?2, ?3) ORDER BY name, id LIMIT ?4";
        let PageStart { name, id: user } = start.clone();
        self.read(streams, move |connection| {
            let text = id.0.to_string();
            let found = connection
                .prepare_cached(group)?
                .query_row([&text], |row| Ok((row.get(0)?, number(row, 1)?, number(row, 2)?)))
                .optional()?;
            let Some((group, sequence, members_sequence)) = found else { return Ok(None) };
            let members = users(connection, members, &[&text, &name, &user.0.to_string(), &LIMIT])?;
            Ok(Some(GroupRow { id, name: group, members, sequence, members_sequence }))
        })
        .await
    }
}

/// One more than a page has, which shows whether there is another page.
const LIMIT: i64 = PAGE as i64 + 1;

fn users(connection: &Connection, sql: &str, parameters: &[&dyn ToSql]) -> rusqlite::Result<Vec<UserRow>> {
    connection.prepare_cached(sql)?.query_map(parameters, user)?.collect()
}

fn user(row: &Row<'_>) -> rusqlite::Result<UserRow> {
    let id = row.get_ref(0)?.as_str()?.parse();
    let id = id.map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })?;
    Ok(UserRow {
        id: UserId(id),
        name: row.get(1)?,
        email: row.get(2)?,
        display_name: row.get(3)?,
        sequence: number(row, 4)?,
    })
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}
