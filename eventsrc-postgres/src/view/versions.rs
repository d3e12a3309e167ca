//! Versions of a view beside each other.

use eventsrc_core::commit::Payload;
use eventsrc_core::view::ViewDigest;
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey};

use super::View;
use super::inner::{ViewInner, identifiers, versioned};
use super::layout::{self, LockMode, VersionRow};
use super::transaction::{OpenTransaction, Transaction};
use crate::identifier::Identifier;

impl<K, S, E, V> ViewInner<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Makes this version, if it is not there.
    pub(super) async fn make(&self) -> Result<(), StorageError> {
        let mut versions = self.versions().await?;
        if !self.is_among(&versions)? {
            versions = self.make_new().await?;
        }
        self.note_serving(&versions)
    }

    /// Makes this version, and gives all that there are then.
    async fn make_new(&self) -> Result<Vec<VersionRow>, StorageError> {
        let failure = self.failure("open");
        let (open, statements) = self.open("open", LockMode::Exclusive).await?;
        let mark = open.begin(&statements, &self.name_of_all).await.map_err(&failure)?;
        // Another process may have been faster, so this is asked again.
        let mut versions = self.versions_in(&open, "open").await?;
        if self.is_among(&versions)? {
            return Ok(versions);
        }
        self.check_names(&open, &versions).await?;
        self.create(&open).await?;
        for table in &self.tables {
            let rows = versioned(table, self.at().version);
            if layout::kind_of(&open, &rows).await.map_err(&failure)?.as_deref() != Some("table") {
                let what = format!("{}: its code did not make the table {rows}", self.cannot("open"));
                return Err(StorageError::new(ErrorKind::Invalid, what));
            }
        }
        let tables = self.tables.iter().map(|table| table.as_str().to_owned()).collect();
        let serves = versions.is_empty();
        let row = VersionRow { id: 0, version: self.at().version, serves, tables };
        self.layout.versions().create(&open, self.at().view, &row).await.map_err(&failure)?;
        if serves {
            self.publish(&open, &[]).await?;
        }
        open.commit(&statements, &mark)
            .await
            .map_err(|uncommitted| self.not_committed("open", uncommitted))?;
        versions.push(row);
        Ok(versions)
    }

    /// Removes this version, unless it serves.
    pub(super) async fn retire(&self) -> Result<(), StorageError> {
        let failure = self.failure("retire");
        let (open, statements) = self.open("retire", LockMode::Exclusive).await?;
        let mark = self.begin_alone(&open, &statements).await.map_err(&failure)?;
        let versions = self.versions_in(&open, "retire").await?;
        let Some(own) = versions.iter().find(|row| row.version == self.at().version) else { return Ok(()) };
        if own.serves {
            let what = format!("{}: it serves", self.cannot("retire"));
            return Err(StorageError::new(ErrorKind::Invalid, what));
        }
        let tables: Vec<_> =
            identifiers(&own.tables)?.iter().map(|table| versioned(table, own.version)).collect();
        layout::drop_tables(&open, &tables).await.map_err(&failure)?;
        self.layout.versions().remove(&open, own.id).await.map_err(&failure)?;
        open.commit(&statements, &mark).await.map_err(|uncommitted| self.not_committed("retire", uncommitted))
    }

    /// What the rows of this version come to.
    pub(super) async fn digest(&self) -> Result<ViewDigest, StorageError> {
        let failure = self.failure("read");
        let open = OpenTransaction::new(Transaction::new(self.postgres.connection().await?));
        layout::begin_digest(&open).await.map_err(&failure)?;
        let tables = self.tables.iter().map(|table| (table, versioned(table, self.at().version)));
        let row = layout::digest(&open, tables).await.map_err(&failure)?;
        let rows = u64::try_from(row.rows).expect("a count is not negative");
        let sums = row.sums.map(|sum| sum.parse::<i128>().expect("a sum is a number"));
        // The lower half of a sum of hashes says as much.
        let hash = sums.map(|sum| format!("{:016x}", sum as u64)).concat();
        Ok(ViewDigest { rows, hash })
    }

    /// Has the public names show the rows of this version, in place of the rows of `before`, whose public names are taken
    /// back.
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
            let rows = versioned(table, self.at().version);
            layout::publish(open, table, &rows, &rights).await.map_err(&failure)?;
        }
        Ok(())
    }

    /// The versions that there are.
    pub(super) async fn versions(&self) -> Result<Vec<VersionRow>, StorageError> {
        Ok(self.layout.versions().of(self.postgres.connections(), self.at().view).await?)
    }

    /// The versions that there are, as a transaction sees them.
    pub(super) async fn versions_in(
        &self,
        open: &OpenTransaction,
        doing: &str,
    ) -> Result<Vec<VersionRow>, StorageError> {
        let found = self.layout.versions().in_transaction(open, self.at().view).await;
        found.map_err(self.failure(doing))
    }

    /// Whether this version is there.
    ///
    /// # Errors
    ///
    /// `Refused` if it was made with other tables.
    fn is_among(&self, versions: &[VersionRow]) -> Result<bool, StorageError> {
        let Some(known) = versions.iter().find(|row| row.version == self.at().version) else {
            return Ok(false);
        };
        if known.tables.iter().eq(self.tables.iter().map(Identifier::as_str)) {
            return Ok(true);
        }
        Err(self.refuses(&format!("it was made with the tables {:?}, not {:?}", known.tables, self.tables)))
    }

    /// Refuses names that are taken.
    async fn check_names(&self, open: &OpenTransaction, versions: &[VersionRow]) -> Result<(), StorageError> {
        let failure = self.failure("open");
        for table in &self.tables {
            let other = self.layout.versions().other_owner(open, self.at().view, table.as_str());
            if let Some(other) = other.await.map_err(&failure)? {
                return Err(self.refuses(&format!("the view {other} has a table {table}, too")));
            }
            let is_public = versions.iter().any(|row| row.tables.iter().any(|name| name == table.as_str()));
            let rows = versioned(table, self.at().version);
            for taken in [Some(table).filter(|_| !is_public), Some(&rows)].into_iter().flatten() {
                if let Some(kind) = layout::kind_of(open, taken).await.map_err(&failure)? {
                    return Err(self.refuses(&format!("there is a {kind} {taken} already")));
                }
            }
        }
        Ok(())
    }

    fn refuses(&self, why: &str) -> StorageError {
        StorageError::new(ErrorKind::Refused, format!("{}: {why}", self.cannot("open")))
    }
}
