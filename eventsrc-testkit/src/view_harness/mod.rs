//! A harness for views: under every disturbance, the rows of a view must equal those of a view to which each event was
//! applied once and in order.
//!
//! [`ViewHarness::check`] first applies the events to a new view, once and in order. This is the *plain fold*. It then
//! keeps new views up to date with [`Synchronizer`](eventsrc_core::Synchronizer)s, under one [`Schedule`] after the other.
//! A schedule is derived from a seed: it repeats, reorders and loses changes, crashes processes at each step, lets several
//! processes race, or makes the database fail. The harness compares the rows with those of the plain fold.
//!
//! The harness finds code that is not a function of its events: code that reads a clock, uses randomness or counts in a
//! variable, code that keeps state outside of the transaction, and code whose rows depend on the order of the streams.
//! Streams have no order.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use eventsrc_core::{Event, StreamName, ViewDefinition};
//! use eventsrc_core::view::MemoryView;
//! use eventsrc_testkit::view_harness::ViewHarness;
//!
//! type Totals = BTreeMap<String, u64>;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let harness = ViewHarness::new(
//!     // A new view without rows: with a database, in a new file or schema.
//!     async || {
//!         let definition = ViewDefinition::new("totals", ["account"]).expect("the name is well-formed");
//!         MemoryView::new(definition, |totals: &mut Totals, event: Event<'_, StreamName, u64, u64>| {
//!             *totals.entry(event.key().to_string()).or_default() += event.payload;
//!             Ok(())
//!         })
//!     },
//!     // Its rows, in a defined order.
//!     async |view| view.read(&[], Totals::clone).1,
//! );
//!
//! let account = |id| StreamName::new("account", id).expect("the name is well-formed");
//! let commits = [(account("ada"), vec![40]), (account("bob"), vec![1, 2]), (account("ada"), vec![2])];
//! let checked = harness.check(commits).await.unwrap();
//! assert!(checked.crashes > 0 && checked.repeated > 0 && checked.lost > 0);
//! # }
//! ```
//!
//! A failure names the seed, the schedule and the difference between the rows. `seeds([17])` runs the schedule of seed 17
//! again. On a runtime with one thread, the run is the same.
//!
//! The harness cannot roll back a transaction after the view's code has run, because only the database can.

mod checked;
mod commits;
mod crashing;
mod finding;
mod harness;
mod run;
mod schedule;
mod script;

pub use checked::Checked;
pub use finding::Finding;
pub use harness::ViewHarness;
pub use schedule::{Disturbance, Schedule};
