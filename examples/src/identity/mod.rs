//! `identity`: the users, groups and memberships of a service, and the first program to read.
//!
//! In the order in which to read: [`UserEvent`] and its like are the facts, [`UserById`] and its like fold them into
//! values, [`Service`] decides which to save. [`views`] keep tables of all users and groups up to date, and [`http`] serves
//! both. [`play`] tells it all as a story; [`run`] is the command line.

mod arguments;
#[cfg(feature = "aws")]
mod aws;
mod command;
mod directory;
mod draw;
mod events;
mod folds;
pub mod http;
mod keys;
mod questions;
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
pub use draw::Pen;
pub use events::{Claimed, DirectoryEvent, GroupEvent, UserEvent};
pub use folds::{Claim, ClaimsOf, ClaimsOn, Group, GroupById, User, UserById};
pub use keys::{DirectoryKey, Entry, GroupId, UserId};
pub use questions::Answer;
pub use scenario::play;
pub use service::Service;
pub use signing::{signed_anew, signed_beside};
pub use storages::{InMemory, InSqlite, Storages, Streams};
pub use text::{DisplayName, Email, InvalidText, Name};
