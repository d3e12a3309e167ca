//! Histories of the calls of racing callers, recorded and then checked exactly.
//!
//! [`Recorded`] wraps a storage and records every call with the instants of its start and its answer. When the callers
//! have ended, [`Recorded::check`] reads each stream once more and decides whether the history is *linearizable*: each
//! call can be assigned one point between its start and its answer, so that a storage that executes the calls one after
//! the other, in the order of these points, gives the same answers (Herlihy & Wing, "Linearizability: A Correctness
//! Condition for Concurrent Objects", TOPLAS 1990). [`hammer`] runs racing callers.
//!
//! # Why no search is needed
//!
//! For arbitrary objects, the decision takes exponential time. An append-only stream whose commits have unique ids shows
//! the order of its writes, as the lists do from which Elle recovers the version order (Kingsbury & Alvaro, "Elle:
//! Inferring Isolation Anomalies from Experimental Observations", VLDB 2020). Only the time at which each commit was
//! stored is unknown.
//!
//! Let `p(v)` be the point at which commit `v` was stored, where `v` is the v-th commit in the last read. Points do not
//! decrease along the stream. Each call bounds them:
//!
//! - A put of `v` with the answer `Stored`: `p(v)` is between its start and its answer, and there is no other such put.
//! - Puts of `v` with the answer `Repeated`, or without an answer: `p(v)` is not after the answer of any `Repeated` put. If
//!   no put has the answer `Stored`, `p(v)` is also not before the earliest start of these puts. (One call may attempt the
//!   write several times, so `Repeated` does not show which call stored the commit.) At every point in between, some
//!   such put was running.
//! - A conflict with `v`: `p(v)` is not after its answer, because stored commits remain stored.
//! - A read that ended after `v`: it needs a point of its own between `p(v)` and `p(v + 1)`. That point exists iff `p(v)` is
//!   not after the answer of the read and `p(v + 1)` is not before its start. The reason is that `p(v) <= p(v + 1)` and
//!   that a start is not after its answer: if intervals on a line intersect in pairs, they have a common point. `latest`
//!   is a read, and so is the head that a conflict carries.
//!
//! Each commit therefore has one earliest and one latest instant. Because points do not decrease, `p(v)` can be the
//! greatest of the earliest instants up to `v`. This choice satisfies all bounds iff no commit's earliest instant is later
//! than its own latest instant or that of a later commit. The history is linearizable iff this holds and the calls are
//! consistent with the last read: no duplicate, no hole, no partial commit, no missing acknowledged commit, no conflict
//! with a commit that is not stored. The check takes one binary search for each call and one pass over the commits,
//! O(n log n), and is exact in both directions.
//!
//! The last read decides about a put without an answer. If it shows the commit, the answer counts as infinitely late. If
//! it does not, the put counts as never made. Streams are independent, and linearizability is local, so each stream is
//! checked on its own.
//!
//! [`Recorded::check`] also checks that each commit of the last read that names a previous commit names the one before it.

mod call;
mod chain;
mod check;
mod hammer;
mod recorded;
mod violation;

pub use call::{Action, Call, Part, PutAnswer};
pub use check::{Checked, check};
pub use hammer::{Load, hammer};
pub use recorded::Recorded;
pub use violation::{Violation, ViolationKind};
