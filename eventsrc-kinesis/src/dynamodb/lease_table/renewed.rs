//! Counters of the leases that one handle renewed.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use eventsrc_core::lease::Lease;

/// For each shard, the range of counters that its lease had during consecutive renewals by this handle.
///
/// A caller may know only an earlier counter of a lease, because a reply was lost or the renewal of another lease in the same
/// call failed. It still holds the lease.
#[derive(Debug, Default)]
pub(super) struct RenewedCounters(Mutex<HashMap<String, RangeInclusive<u64>>>);

impl RenewedCounters {
    /// Latest counter of a lease of which the caller knows this or an earlier counter.
    pub(super) fn latest(&self, lease: &Lease) -> u64 {
        let range = self.locked().get(&lease.shard).cloned();
        range.filter(|range| range.contains(&lease.counter)).map_or(lease.counter, |range| *range.end())
    }

    /// Records a renewal that changed the counter.
    pub(super) fn record(&self, shard: &str, from: u64, to: u64) {
        let mut all = self.locked();
        let first = all.get(shard).filter(|range| *range.end() == from).map_or(from, |range| *range.start());
        all.insert(shard.to_owned(), first..=to);
    }

    /// Forgets a lease that changed its owner or was removed.
    pub(super) fn forget(&self, shard: &str) {
        self.locked().remove(shard);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, RangeInclusive<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
