//! What a handle renewed itself.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use eventsrc_core::lease::Lease;

/// The counters through which each shard went by renewals of this handle alone. A caller that was not told of some of them, as
/// the answer was lost or another lease could not be renewed, knows an earlier one, and holds the lease all the same.
#[derive(Debug, Default)]
pub(super) struct Renewed(Mutex<HashMap<String, RangeInclusive<u64>>>);

impl Renewed {
    /// The latest counter of a lease that the caller knows by an earlier one.
    pub(super) fn latest(&self, lease: &Lease) -> u64 {
        let range = self.locked().get(&lease.shard).cloned();
        range.filter(|range| range.contains(&lease.counter)).map_or(lease.counter, |range| *range.end())
    }

    /// The lease went from this counter to that one.
    pub(super) fn moved(&self, shard: &str, from: u64, to: u64) {
        let mut all = self.locked();
        let first = all.get(shard).filter(|range| *range.end() == from).map_or(from, |range| *range.start());
        all.insert(shard.to_owned(), first..=to);
    }

    /// The lease changed hands, or is no more.
    pub(super) fn forget(&self, shard: &str) {
        self.locked().remove(shard);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, RangeInclusive<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
