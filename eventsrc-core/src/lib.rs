#![doc = include_str!("../README.md")]

pub mod backend;
pub mod clock;
pub mod codec;
pub mod commit;
mod commit_id;
pub mod feed;
pub mod lease;
pub mod query;
pub mod rebuild;
pub mod retry;
pub mod save;
pub mod snapshot;
pub mod storage;
pub mod stream;
pub mod synchronizer;
pub mod token;
pub mod verify;
pub mod view;

pub use clock::Timestamp;
pub use commit::{Commit, CommitId, Event, Head, Metadata};
pub use query::{Consistency, Fold, Query, QueryApi, fold_fn};
pub use save::{Context, Decider, Decision, Operation, Outcome, SaveApi, Saved};
pub use snapshot::Snapshot;
pub use storage::{ErrorKind, EventStorage, MemoryStorage, StorageError};
pub use stream::{Sequence, StreamKey, StreamName};
pub use synchronizer::Synchronizer;
pub use token::Token;
pub use view::ViewDefinition;
