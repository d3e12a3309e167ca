//! Where the streams are kept. The service is written against this, and does not know on what it runs.

use std::sync::Arc;

use eventsrc_core::{EventStorage, MemoryStorage};
use eventsrc_sqlite::{Database, SqliteStorage};

use super::events::{DirectoryEvent, GroupEvent, UserEvent};
use super::keys::{DirectoryKey, GroupId, UserId};

/// A storage for each kind of stream.
pub trait Storages: Send + Sync + 'static {
    /// Keeps the users' streams.
    type Users: EventStorage<Key = UserId, Sequence = u64, Payload = UserEvent>;
    /// Keeps the groups' streams.
    type Groups: EventStorage<Key = GroupId, Sequence = u64, Payload = GroupEvent>;
    /// Keeps the directory.
    type Directory: EventStorage<Key = DirectoryKey, Sequence = u64, Payload = DirectoryEvent>;

    /// The users' streams.
    fn users(&self) -> Arc<Self::Users>;
    /// The groups' streams.
    fn groups(&self) -> Arc<Self::Groups>;
    /// The directory.
    fn directory(&self) -> Arc<Self::Directory>;
}

/// Three storages, side by side.
#[derive(Debug)]
pub struct Streams<U, G, D> {
    /// Keeps the users' streams.
    pub users: Arc<U>,
    /// Keeps the groups' streams.
    pub groups: Arc<G>,
    /// Keeps the directory.
    pub directory: Arc<D>,
}

/// Streams that live as long as the process.
pub type InMemory = Streams<
    MemoryStorage<UserId, u64, UserEvent>,
    MemoryStorage<GroupId, u64, GroupEvent>,
    MemoryStorage<DirectoryKey, u64, DirectoryEvent>,
>;

/// Streams in a file.
pub type InSqlite = Streams<
    SqliteStorage<UserId, u64, UserEvent>,
    SqliteStorage<GroupId, u64, GroupEvent>,
    SqliteStorage<DirectoryKey, u64, DirectoryEvent>,
>;

/// In memory, empty.
impl Default for InMemory {
    fn default() -> Self {
        Self { users: Arc::default(), groups: Arc::default(), directory: Arc::default() }
    }
}

impl InSqlite {
    /// In this database, which may hold other streams as well.
    pub fn new(database: &Database) -> Self {
        Self {
            users: Arc::new(SqliteStorage::new(database)),
            groups: Arc::new(SqliteStorage::new(database)),
            directory: Arc::new(SqliteStorage::new(database)),
        }
    }
}

impl<U, G, D> Storages for Streams<U, G, D>
where
    U: EventStorage<Key = UserId, Sequence = u64, Payload = UserEvent>,
    G: EventStorage<Key = GroupId, Sequence = u64, Payload = GroupEvent>,
    D: EventStorage<Key = DirectoryKey, Sequence = u64, Payload = DirectoryEvent>,
{
    type Users = U;
    type Groups = G;
    type Directory = D;

    fn users(&self) -> Arc<U> {
        Arc::clone(&self.users)
    }

    fn groups(&self) -> Arc<G> {
        Arc::clone(&self.groups)
    }

    fn directory(&self) -> Arc<D> {
        Arc::clone(&self.directory)
    }
}
