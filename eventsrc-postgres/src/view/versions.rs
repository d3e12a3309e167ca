//! Versions of a view: creation, public names, digest and retirement.

use eventsrc_core::commit::Payload;
use eventsrc_core::view::ViewDigest;
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey};

use super::contract::View;
use super::inner::ViewInner;
use super::layout::{self, LockMode, VersionRow};
use super::open_transaction::OpenTransaction;
use super::table_names::{self, of_version};
use super::transaction::Transaction;
use crate::identifier::Identifier;

impl<K, S, E, V> ViewInner<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Creates this version, if it does not exist.
    pub(super) async fn ensure_version(&self) -> Result<(), StorageError> {
        let versions = self.versions().await?;
        if !self.is_among(&versions)? {
            let versions = self.in_transaction("open", |open| self.create_version(open)).await?;
            return self.set_serving(&versions);
        }
        self.set_serving(&versions)?;
        if let Some(table) = self.missing_table().await? {
            return Err(self.missing("open", &table));
        }
        if self.serving().version == Some(self.version_key().version)
            && let Some(name) = self.missing_public_name().await?
        {
            return Err(self.missing_public("open", &name));
        }
        Ok(())
    }

    /// Creates this version, and returns all versions.
    async fn create_version(&self, open: OpenTransaction) -> Result<Vec<VersionRow>, StorageError> {
        let failure = self.failure("open");
        let statements = self.prepare(&open, "open", LockMode::Exclusive).await?;
        let mark = open.begin(&statements, &self.schema_lock_name).await.map_err(&failure)?;
        // Another process may have created the version in the meantime, so the versions are read again under the lock.
        let mut versions = self.versions_in(&open, "open").await?;
        if self.is_among(&versions)? {
            return Ok(versions);
        }
        self.check_names(&open, &versions).await?;
        self.create_tables(&open).await?;
        for table in &self.tables {
            let rows = of_version(table, self.version_key().version);
            if layout::kind_of(&open, &rows).await.map_err(&failure)?.as_deref() != Some("table") {
                let what = format!("{}: its code did not create the table {rows}", self.cannot("open"));
                return Err(StorageError::new(ErrorKind::Invalid, what));
            }
        }
        let tables = self.tables.iter().map(|table| table.as_str().to_owned()).collect();
        let serves = versions.is_empty();
        let row = VersionRow { id: 0, version: self.version_key().version, serves, tables };
        self.layout.versions.create(&open, self.version_key().view, &row).await.map_err(&failure)?;
        if serves {
            self.publish(&open, &[]).await?;
        }
        open.commit(&statements, &mark).await.map_err(|error| self.commit_failure("open", error))?;
        versions.push(row);
        Ok(versions)
    }

    /// Deletes this version, unless it serves. Tables that are missing are no error.
    pub(super) async fn retire(&self) -> Result<(), StorageError> {
        self.in_transaction("retire", |open| self.retire_in(open)).await
    }

    async fn retire_in(&self, open: OpenTransaction) -> Result<(), StorageError> {
        let failure = self.failure("retire");
        let statements = self.prepare(&open, "retire", LockMode::Exclusive).await?;
        let mark = self.begin_exclusive(&open, &statements).await.map_err(&failure)?;
        let versions = self.versions_in(&open, "retire").await?;
        let Some(own) = versions.iter().find(|row| row.version == self.version_key().version) else {
            return Ok(());
        };
        if own.serves {
            let what = format!("{}: it is the serving version", self.cannot("retire"));
            return Err(StorageError::new(ErrorKind::Invalid, what));
        }
        let tables: Vec<_> =
            table_names::from_row(&own.tables)?.iter().map(|table| of_version(table, own.version)).collect();
        layout::drop_tables(&open, &tables).await.map_err(&failure)?;
        self.layout.versions.remove(&open, own.id).await.map_err(&failure)?;
        open.commit(&statements, &mark).await.map_err(|error| self.commit_failure("retire", error))
    }

    /// Computes the digest of the rows of this version, which may take any time.
    pub(super) async fn digest(&self) -> Result<ViewDigest, StorageError> {
        let transaction = Transaction::new(self.postgres.connection().await?);
        let open = OpenTransaction::new(transaction.share());
        let tables = self.tables.iter().map(|table| (table, of_version(table, self.version_key().version)));
        let digest = async {
            layout::begin_digest(&open).await?;
            layout::digest(&open, tables).await
        };
        let row = transaction.answer_at_any_time(digest).await.map_err(self.failure("read"))?;
        let rows = u64::try_from(row.rows).expect("a count is not negative");
        let sums = row.sums.map(|sum| sum.parse::<i128>().expect("a sum is a number"));
        // The lower half of a sum of 64-bit hashes is a hash as well.
        let hash = sums.map(|sum| format!("{:016x}", sum as u64)).concat();
        Ok(ViewDigest { rows, hash })
    }

    /// Creates the public names of this version, in place of the public names `before`.
    pub(super) async fn publish(
        &self,
        open: &OpenTransaction,
        before: &[Identifier],
    ) -> Result<(), StorageError> {
        let failure = self.failure("publish");
        let mut rights = Vec::new();
        for table in &self.tables {
            rights.push(layout::rights(open, table).await.map_err(&failure)?);
        }
        layout::unpublish(open, before).await.map_err(&failure)?;
        for (table, rights) in self.tables.iter().zip(rights) {
            let rows = of_version(table, self.version_key().version);
            layout::publish(open, table, &rows, &rights).await.map_err(&failure)?;
        }
        Ok(())
    }

    /// Returns all versions of the view.
    pub(super) async fn versions(&self) -> Result<Vec<VersionRow>, StorageError> {
        Ok(self.layout.versions.of(self.postgres.connections(), self.version_key().view).await?)
    }

    /// Returns all versions of the view, as the transaction sees them.
    pub(super) async fn versions_in(
        &self,
        open: &OpenTransaction,
        verb: &str,
    ) -> Result<Vec<VersionRow>, StorageError> {
        let found = self.layout.versions.in_transaction(open, self.version_key().view).await;
        found.map_err(self.failure(verb))
    }

    /// True if this version is one of `versions`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] if it was created with other tables.
    fn is_among(&self, versions: &[VersionRow]) -> Result<bool, StorageError> {
        let Some(known) = versions.iter().find(|row| row.version == self.version_key().version) else {
            return Ok(false);
        };
        if known.tables.iter().eq(self.tables.iter().map(Identifier::as_str)) {
            return Ok(true);
        }
        Err(self
            .refused(&format!("it was created with the tables {:?}, not {:?}", known.tables, self.tables)))
    }

    /// Checks that the names of the tables are free.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] if a name is in use.
    async fn check_names(&self, open: &OpenTransaction, versions: &[VersionRow]) -> Result<(), StorageError> {
        let failure = self.failure("open");
        for table in &self.tables {
            let other = self.layout.versions.other_owner(open, self.version_key().view, table.as_str());
            if let Some(other) = other.await.map_err(&failure)? {
                return Err(self.refused(&format!("the view {other} has a table {table} as well")));
            }
            let is_public = versions.iter().any(|row| row.tables.iter().any(|name| name == table.as_str()));
            let rows = of_version(table, self.version_key().version);
            for taken in [Some(table).filter(|_| !is_public), Some(&rows)].into_iter().flatten() {
                if let Some(kind) = layout::kind_of(open, taken).await.map_err(&failure)? {
                    return Err(self.refused(&format!("a {kind} {taken} already exists")));
                }
            }
        }
        Ok(())
    }

    fn refused(&self, reason: &str) -> StorageError {
        StorageError::new(ErrorKind::Refused, format!("{}: {reason}", self.cannot("open")))
    }
}
