//! The storages of the streams. The service depends on the trait [`Storages`] only, not on a database.

use std::sync::Arc;

use eventsrc_core::codec::Kinds;
use eventsrc_core::{EventStorage, MemoryStorage};
use eventsrc_sqlite::{Database, SqliteStorage};

use super::events::{DirectoryEvent, GroupEvent, UserEvent};
use super::keys::{DirectoryKey, GroupId, UserId};

/// One storage for each kind of stream.
pub trait Storages: Send + Sync + 'static {
    /// Storage of the users' streams.
    type Users: EventStorage<Key = UserId, Sequence = u64, Payload = UserEvent>;
    /// Storage of the groups' streams.
    type Groups: EventStorage<Key = GroupId, Sequence = u64, Payload = GroupEvent>;
    /// Storage of the directory.
    type Directory: EventStorage<Key = DirectoryKey, Sequence = u64, Payload = DirectoryEvent>;

    /// Returns the storage of the users' streams.
    fn users(&self) -> Arc<Self::Users>;
    /// Returns the storage of the groups' streams.
    fn groups(&self) -> Arc<Self::Groups>;
    /// Returns the storage of the directory.
    fn directory(&self) -> Arc<Self::Directory>;
}

/// Three storages.
#[derive(Debug)]
pub struct Streams<U, G, D> {
    /// Storage of the users' streams.
    pub users: Arc<U>,
    /// Storage of the groups' streams.
    pub groups: Arc<G>,
    /// Storage of the directory.
    pub directory: Arc<D>,
}

/// Streams in memory, which last as long as the process.
pub type InMemory = Streams<
    MemoryStorage<UserId, u64, UserEvent>,
    MemoryStorage<GroupId, u64, GroupEvent>,
    MemoryStorage<DirectoryKey, u64, DirectoryEvent>,
>;

/// Streams in an SQLite file.
pub type InSqlite = Streams<
    SqliteStorage<UserId, u64, UserEvent, Kinds<UserEvent>>,
    SqliteStorage<GroupId, u64, GroupEvent>,
    SqliteStorage<DirectoryKey, u64, DirectoryEvent>,
>;

/// Creates empty storages.
impl Default for InMemory {
    fn default() -> Self {
        Self { users: Arc::default(), groups: Arc::default(), directory: Arc::default() }
    }
}

impl InSqlite {
    /// Creates the storages in this database, which can hold other streams as well.
    pub fn new(database: &Database) -> Self {
        Self {
            users: Arc::new(SqliteStorage::with_codec(database, UserEvent::codec())),
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
