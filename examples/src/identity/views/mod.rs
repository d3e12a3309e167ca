//! The view: users by id, address and name, and groups with their members, in tables.
//!
//! A fold answers queries about one stream. The view answers queries about all streams, but can be a little behind them;
//! a token limits how far.

mod changes;
mod feed;
mod followed;
mod memory;
mod page;
mod postgres;
mod queries;
mod rows;
mod sqlite;
mod synced;

pub use followed::{FollowedEvent, FollowedKey, definition};
pub use memory::{InMemoryView, in_memory};
pub use page::{InvalidPageStart, PAGE, PageStart};
pub use postgres::{InPostgresView, in_postgres};
pub use queries::{ViewQueries, ViewResult};
pub use rows::{GroupRow, UserRow};
pub use sqlite::{InSqliteView, in_sqlite};
pub use synced::{NotifyingStreams, SyncedView};
