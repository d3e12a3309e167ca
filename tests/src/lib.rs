//! See `main.rs` beside this folder.

pub mod bus;
pub mod dynamo;
pub mod faulty_http;
pub mod git_kills;
pub mod git_repository;
pub mod kills;
pub mod kinesis;
pub mod ledgers;
pub mod seeded_bugs;
pub mod view_kills;

use std::time::Duration;

pub use eventsrc_test_servers::HANG;
