//! The view in Postgres. A batch takes one statement for each table, or two for the members.

use eventsrc_core::view::{Batch, ViewError};
use eventsrc_core::{StorageError, StreamName, ViewDefinition};
use eventsrc_postgres::tokio_postgres::types::ToSql;
use eventsrc_postgres::tokio_postgres::{Error, Row};
use eventsrc_postgres::{Postgres, PostgresView, Transaction, View};
use futures::{future, try_join};
use uuid::Uuid;

use super::changes::Changes;
use super::followed::{FollowedEvent, FollowedKey, definition};
use super::page::{PAGE, PageStart};
use super::queries::{ViewQueries, ViewResult};
use super::rows::{GroupRow, UserRow};
use crate::identity::keys::{GroupId, UserId};
use crate::identity::text::Email;

/// A view that any number of processes can update and read.
pub type InPostgresView = PostgresView<FollowedKey, u64, FollowedEvent, PostgresTables>;

/// Opens the view in `postgres`.
///
/// # Errors
///
/// The errors of [`PostgresView::open`].
pub async fn in_postgres(postgres: &Postgres) -> Result<InPostgresView, StorageError> {
    PostgresView::open(postgres, PostgresTables).await
}

/// The tables in Postgres.
#[derive(Debug, Clone, Copy)]
pub struct PostgresTables;

/// The same tables as in SQLite. Names are compared byte by byte, so that a prefix is a range.
const TABLES: &str = r#"
    CREATE TABLE users_v1 (
        id uuid PRIMARY KEY, name text COLLATE "C", email text, display_name text, sequence bigint NOT NULL
    );
    CREATE INDEX users_v1_by_name ON users_v1 (name, id);
    CREATE INDEX users_v1_by_email ON users_v1 (email);
    CREATE TABLE groups_v1 (id uuid PRIMARY KEY, name text, sequence bigint NOT NULL);
    CREATE TABLE members_v1 (group_id uuid, user_id uuid, PRIMARY KEY (group_id, user_id));"#;

const PUT_USERS: &str = "
    INSERT INTO users_v1 AS old
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[])
    ON CONFLICT (id) DO UPDATE SET
        name = CASE WHEN old.id = ANY ($6) THEN NULL ELSE coalesce(excluded.name, old.name) END,
        email = CASE WHEN old.id = ANY ($6) THEN NULL ELSE coalesce(excluded.email, old.email) END,
        display_name =
            CASE WHEN old.id = ANY ($6) THEN NULL ELSE coalesce(excluded.display_name, old.display_name) END,
        sequence = excluded.sequence";

const PUT_GROUPS: &str = "
    INSERT INTO groups_v1 AS old SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[])
    ON CONFLICT (id) DO UPDATE SET name = coalesce(excluded.name, old.name), sequence = excluded.sequence";

const ADD_MEMBERS: &str =
    "INSERT INTO members_v1 SELECT * FROM unnest($1::uuid[], $2::uuid[]) ON CONFLICT DO NOTHING";

const REMOVE_MEMBERS: &str = "
    DELETE FROM members_v1 USING unnest($1::uuid[], $2::uuid[]) AS gone (group_id, user_id)
    WHERE members_v1.group_id = gone.group_id AND members_v1.user_id = gone.user_id";

impl View<FollowedKey, u64, FollowedEvent> for PostgresTables {
    fn definition(&self) -> ViewDefinition {
        definition()
    }

    fn tables(&self) -> &[&str] {
        &["users", "groups", "members"]
    }

    async fn create(&self, transaction: &Transaction) -> Result<(), Error> {
        transaction.batch_execute(TABLES).await
    }

    async fn apply(
        &self,
        transaction: &Transaction,
        batch: &Batch<FollowedKey, u64, FollowedEvent>,
    ) -> Result<(), ViewError> {
        let changes = Changes::of(batch.events());
        // The statements are pipelined.
        try_join!(
            put_users(transaction, &changes),
            put_groups(transaction, &changes),
            put_members(transaction, &changes, true, ADD_MEMBERS),
            put_members(transaction, &changes, false, REMOVE_MEMBERS),
        )?;
        Ok(())
    }
}

async fn put_users(transaction: &Transaction, changes: &Changes) -> Result<(), ViewError> {
    if changes.users.is_empty() {
        return Ok(());
    }
    let users = || changes.users.values();
    let ids = Vec::from_iter(changes.users.keys().map(|id| id.0));
    let names = Vec::from_iter(users().map(|user| user.name.as_deref()));
    let emails = Vec::from_iter(users().map(|user| user.email.as_deref()));
    let display_names = Vec::from_iter(users().map(|user| user.display_name.as_deref()));
    let sequences = users().map(|user| i64::try_from(user.sequence)).collect::<Result<Vec<_>, _>>()?;
    let deleted = changes.users.iter().filter(|(_, user)| user.deleted);
    let deleted = Vec::from_iter(deleted.map(|(id, _)| id.0));
    let put = transaction.prepare_cached(PUT_USERS).await?;
    transaction.execute(&put, &[&ids, &names, &emails, &display_names, &sequences, &deleted]).await?;
    Ok(())
}

async fn put_groups(transaction: &Transaction, changes: &Changes) -> Result<(), ViewError> {
    if changes.groups.is_empty() {
        return Ok(());
    }
    let groups = || changes.groups.values();
    let ids = Vec::from_iter(changes.groups.keys().map(|id| id.0));
    let names = Vec::from_iter(groups().map(|group| group.name.as_deref()));
    let sequences = groups().map(|group| i64::try_from(group.sequence)).collect::<Result<Vec<_>, _>>()?;
    let put = transaction.prepare_cached(PUT_GROUPS).await?;
    transaction.execute(&put, &[&ids, &names, &sequences]).await?;
    Ok(())
}

/// Runs `statement` with the members that were added, or with those that were removed.
async fn put_members(
    transaction: &Transaction,
    changes: &Changes,
    added: bool,
    statement: &str,
) -> Result<(), ViewError> {
    let members = changes.members.iter().filter(|(_, is_member)| **is_member == added);
    let (groups, users): (Vec<_>, Vec<_>) = members.map(|((group, user), _)| (group.0, user.0)).unzip();
    if groups.is_empty() {
        return Ok(());
    }
    let statement = transaction.prepare_cached(statement).await?;
    transaction.execute(&statement, &[&groups, &users]).await?;
    Ok(())
}

impl ViewQueries for InPostgresView {
    async fn user(&self, streams: &[StreamName], id: UserId) -> ViewResult<Option<UserRow>> {
        let sql =
            "SELECT id, name, email, display_name, sequence FROM users WHERE id = $1 AND name IS NOT NULL";
        self.read(streams, |transaction| async move {
            let find = transaction.prepare_cached(sql).await?;
            transaction.query_opt(&find, &[&id.0]).await?.as_ref().map(user).transpose()
        })
        .await
    }

    async fn users_by_email(&self, streams: &[StreamName], email: &Email) -> ViewResult<Vec<UserRow>> {
        let sql =
            "SELECT id, name, email, display_name, sequence FROM users WHERE email = $1 ORDER BY name, id";
        let email = &email.to_string();
        self.read(streams, |transaction| async move {
            let find = transaction.prepare_cached(sql).await?;
            users(&transaction.query(&find, &[email]).await?)
        })
        .await
    }

    async fn users_by_name(
        &self,
        streams: &[StreamName],
        prefix: &str,
        start: &PageStart,
    ) -> ViewResult<Vec<UserRow>> {
        let sql = "
            SELECT id, name, email, display_name, sequence FROM users
            WHERE name >= $1 AND name < $2 AND (name, id) > ($3, $4) ORDER BY name, id LIMIT $5";
        // This character is greater than all characters of a name.
        let to = &format!("{prefix}\u{7f}");
        self.read(streams, |transaction| async move {
            let find = transaction.prepare_cached(sql).await?;
            users(&transaction.query(&find, &[&prefix, to, &start.name, &start.id.0, &LIMIT]).await?)
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
                SELECT coalesce(sum(users.sequence), 0)::bigint FROM members JOIN users ON users.id = user_id
                WHERE group_id = $1
            ) FROM groups WHERE id = $1";
        let members = "
            SELECT id, name, email, display_name, sequence FROM members JOIN users ON id = user_id
            WHERE group_id = $1 AND (name, id) > ($2, $3) ORDER BY name, id LIMIT $4";
        self.read(streams, |transaction| async move {
            let (group, members) =
                future::try_join(transaction.prepare_cached(group), transaction.prepare_cached(members))
                    .await?;
            let page: &[&(dyn ToSql + Sync)] = &[&id.0, &start.name, &start.id.0, &LIMIT];
            let (group, members) =
                future::try_join(transaction.query_opt(&group, &[&id.0]), transaction.query(&members, page))
                    .await?;
            let Some(group) = group else { return Ok(None) };
            Ok(Some(GroupRow {
                id,
                name: group.try_get(0)?,
                members: users(&members)?,
                sequence: number(&group, 1)?,
                members_sequence: number(&group, 2)?,
            }))
        })
        .await
    }
}

/// One more than a page has, which shows whether there is another page.
const LIMIT: i64 = PAGE as i64 + 1;

fn users(rows: &[Row]) -> Result<Vec<UserRow>, Error> {
    rows.iter().map(user).collect()
}

fn user(row: &Row) -> Result<UserRow, Error> {
    Ok(UserRow {
        id: UserId(row.try_get::<_, Uuid>(0)?),
        name: row.try_get(1)?,
        email: row.try_get(2)?,
        display_name: row.try_get(3)?,
        sequence: number(row, 4)?,
    })
}

fn number(row: &Row, column: usize) -> Result<u64, Error> {
    row.try_get::<_, i64>(column).map(i64::cast_unsigned)
}
