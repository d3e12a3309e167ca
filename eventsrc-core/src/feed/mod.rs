//! Change feeds, which deliver stored commits to the synchronizers of views.
//!
//! [`ChangeFeed`] is the contract. This module has the feeds that need no bus: [`Subscription`] for commits of this
//! process, [`PollFeed`] for a few streams, and [`ScanFeed`] for everything that a storage holds.

mod contract;
mod notifying;
mod pending;
mod poll;
mod reading;
mod scan;

pub use contract::{Acknowledgement, Change, ChangeFeed, Delivery};
pub use notifying::{NotifyingStorage, Subscription};
pub use poll::{PollFeed, PollSettings};
pub use scan::ScanFeed;
