//! Real servers for tests, each private to the process that starts it.
//!
//! A server runs from its installed program, on a free port of this machine and with a new folder for its data. It ends
//! with the process that started it, even if that process is killed. No test is skipped if a program is not installed: the
//! error says how to install it.
//!
//! Postgres, Java and Node are packages of Debian. `scripts/servers` of this project installs DynamoDB Local, ministack,
//! ferrokinesis and kinesis-mock, into `target/servers` or into the folder that the environment variable
//! `EVENTSRC_SERVERS` names. Tests outside of this workspace need that variable.

mod dynamo;
mod error;
mod guarded_folder;
mod http;
mod installed;
mod kinesis;
mod kinesis_mock;
mod limits;
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
pub use limits::HANG;
pub use ministack::Ministack;
pub use postgres::{Postgres, PostgresSettings};
pub use shared::{dynamo, kinesis, kinesis_agg, kinesis_client_library, kinesis_mock, ministack, postgres};
