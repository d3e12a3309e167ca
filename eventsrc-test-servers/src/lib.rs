//! Real servers for tests, private to the process that starts them.
//!
//! A server runs from its installed program, on a free port of this machine, with a new folder for its data, and ends with
//! the process that started it, however that process ends. Nothing is mocked and nothing is skipped: a program that is
//! not installed is an error that says how to install it.
//!
//! Postgres, Java and Node are packages of Debian. DynamoDB Local, ministack, ferrokinesis and kinesis-mock are installed by
//! `scripts/servers` of this project, into its `target/servers`, or into the folder that the environment variable
//! `EVENTSRC_SERVERS` names; tests outside this workspace look there if it is set.

mod dynamo;
mod error;
mod guarded_folder;
mod http;
mod installed;
mod kinesis;
mod kinesis_mock;
mod ministack;
mod port;
mod postgres;
mod process;
mod programs;
pub mod proxy;
mod shared;
mod stream_names;

pub use dynamo::{DynamoLocal, DynamoLocalSettings};
pub use error::ServerError;
pub use kinesis::{Ferrokinesis, FerrokinesisSettings};
pub use kinesis_mock::KinesisMock;
pub use ministack::Ministack;
pub use postgres::{Postgres, PostgresSettings};
pub use shared::{dynamo, kinesis, kinesis_agg, kinesis_client_library, kinesis_mock, ministack, postgres};

/// Limit that ends a hanging test; it measures nothing, because a busy machine may be slow.
pub const HANG: std::time::Duration = std::time::Duration::from_mins(10);
