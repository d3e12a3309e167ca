//! `identity`: a service for users, groups and memberships, and the first program to read.
//!
//! Read it in this order: [`UserEvent`] and the other events are the facts, [`UserById`] and the other folds turn them
//! into values, and [`Service`] decides which events to save. [`views`] has the tables of all users and groups, and
//! [`http`] serves commands and queries. [`run_scenario`] shows everything in one run; [`run`] is the command line.

mod arguments;
#[cfg(feature = "aws")]
mod aws;
mod command;
mod directory;
mod events;
mod folds;
pub mod http;
mod keys;
mod part;
mod print;
mod queries;
mod scenario;
mod serve;
mod service;
mod show;
mod signing;
mod storages;
mod text;
pub mod views;

pub use arguments::run;
#[cfg(feature = "aws")]
pub use aws::InDynamo;
pub use command::{Command, Failure, Reason};
pub use events::{Claimed, DirectoryEvent, GroupEvent, UserEvent};
pub use folds::{AllClaims, Claim, Claims, Group, GroupById, User, UserById};
pub use keys::{DirectoryKey, Entry, GroupId, UserId};
pub use print::Printer;
pub use queries::SnapshotWithToken;
pub use scenario::run_scenario;
pub use service::Service;
pub use signing::{signed_with_key_file, signed_with_new_key};
pub use storages::{InMemory, InSqlite, Storages, Streams};
pub use text::{DisplayName, Email, InvalidText, Name};
