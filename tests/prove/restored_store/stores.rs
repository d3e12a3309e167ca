//! Storages that can go back to an earlier state.

mod dynamo;
mod memory;
mod postgres;
mod sqlite;

use anyhow::Result;
use eventsrc_core::{EventStorage, StreamName};

pub(super) use dynamo::DynamoTables;
pub(super) use memory::MemoryStore;
pub(super) use postgres::PostgresSchema;
pub(super) use sqlite::{OpenSqliteFile, SqliteFile};

/// A storage that can go back to an earlier state.
pub(super) trait Restorable: Send + Sync + Sized {
    type Storage: EventStorage<Key = StreamName, Sequence = u64, Payload = u64> + Clone;

    /// Creates an empty storage.
    fn new() -> impl Future<Output = Result<Self>> + Send;

    /// Returns handles of writers that know the storage before and after a restore.
    fn handles(&self) -> Vec<Self::Storage>;

    /// Returns a handle of a process that starts now.
    fn new_handle(&self) -> impl Future<Output = Result<Self::Storage>> + Send;

    /// Saves the present state.
    fn back_up(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Goes back to the saved state.
    fn restore(&mut self) -> impl Future<Output = Result<()>> + Send;
}
