//! Storage of events: the contract of every backend ([`EventStorage`]), the reference implementation
//! ([`MemoryStorage`]), and adapters that make a storage from other storages.

pub(crate) mod continuation;
mod contract;
mod counting;
mod either;
pub(crate) mod encoded_commit;
pub(crate) mod error;
mod mapped;
mod memory;
mod merged;
mod migration;
mod page;

pub use ::either::Either;
pub use contract::{CommitOf, Conflict, EventStorage, HeadsOf, PageOf, Put, PutOf, ScanStorage, Segment};
pub use counting::{CallCounts, CountingStorage};
pub use either::EitherStorage;
pub use error::{Diverged, End, ErrorKind, StorageError};
pub use mapped::{MapKey, MapSequence};
pub use memory::MemoryStorage;
pub use merged::Merged;
pub use migration::{Copied, Migration};
pub use page::Page;
