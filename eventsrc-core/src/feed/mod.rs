//! Change feeds, which carry stored commits to those that keep views.

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
