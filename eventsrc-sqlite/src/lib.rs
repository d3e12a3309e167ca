#![doc = include_str!("../README.md")]

mod append;
mod backup;
mod chunk;
mod closing;
mod database;
mod failure;
mod foreign_log;
mod guard;
mod job;
mod layout;
mod limit;
mod log;
mod open;
mod presence;
mod read_job;
mod readers;
mod reply;
mod rows;
mod settings;
mod snapshots;
mod storage;
mod streams;
#[cfg(test)]
mod tests;
mod thread;
mod threads;
mod view;
mod work;
mod writer;

pub use rusqlite;

pub use database::Database;
pub use settings::Settings;
pub use snapshots::SqliteSnapshots;
pub use storage::SqliteStorage;
pub use view::{SqliteView, View};
