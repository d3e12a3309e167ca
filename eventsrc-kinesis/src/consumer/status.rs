//! What a consumer shows of itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventsrc_core::StorageError;
use eventsrc_core::lease::Checkpoint;

use crate::anomaly::Anomaly;

/// What a consumer does just now, and has done so far.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ConsumerStatus {
    /// The shards that it reads, by name.
    pub shards: BTreeMap<String, ShardStatus>,
    /// How many records it has read.
    pub records: u64,
    /// How many leases it took, of shards that nobody read or whose owner gave no sign.
    pub taken: u64,
    /// How many leases it asked others for.
    pub claimed: u64,
    /// How many leases it lost to others before it gave them up.
    pub lost: u64,
    /// How many anomalies there were.
    pub anomalies: u64,
    /// Shards that cannot be read here, and why, until they are read after all, by this worker or another one.
    pub unreadable: BTreeMap<String, Arc<StorageError>>,
    /// The last error of the lease store; `None` once a call succeeded again.
    pub last_error: Option<Arc<StorageError>>,
}

/// How far a shard was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardStatus {
    /// Up to where it was dealt with.
    pub checkpoint: Option<Checkpoint>,
    /// How many deliveries wait to be acknowledged.
    pub open: usize,
    /// How far it was behind the latest record when it was last read, where the service says so.
    pub behind: Option<Duration>,
    /// Whether it is being handed over.
    pub is_leaving: bool,
}

/// Where status is kept, and metrics are counted.
#[derive(Default)]
pub(super) struct Board(Mutex<ConsumerStatus>);

impl Board {
    pub(super) fn status(&self) -> ConsumerStatus {
        self.lock().clone()
    }

    pub(super) fn read(&self, shard: &str, records: usize, behind: Option<Duration>) {
        let mut status = self.lock();
        status.records += records as u64;
        status.unreadable.remove(shard);
        if let Some(shard) = status.shards.get_mut(shard) {
            shard.behind = behind;
        }
        drop(status);
        if records > 0 {
            metrics::counter!("eventsrc_kinesis_records_total").increment(records as u64);
        }
        if let Some(behind) = behind {
            metrics::gauge!("eventsrc_kinesis_behind_seconds", "shard" => shard.to_owned())
                .set(behind.as_secs_f64());
        }
    }

    pub(super) fn found(&self, shard: &str, anomaly: &Anomaly) {
        self.lock().anomalies += 1;
        let kind = match anomaly {
            Anomaly::Unreadable { .. } => "unreadable",
            Anomaly::Tampered { .. } => "tampering",
            Anomaly::Foreign { .. } => "foreign",
            Anomaly::Lost { .. } => "lost",
        };
        metrics::counter!("eventsrc_kinesis_anomalies_total", "kind" => kind).increment(1);
        tracing::error!(shard, anomaly = ?anomaly, "the stream has something that should not be");
    }

    pub(super) fn cannot_read(&self, shard: &str, error: StorageError) {
        tracing::warn!(shard, error = %error, "the shard cannot be read here; others shall try");
        metrics::counter!("eventsrc_kinesis_unreadable_shards_total").increment(1);
        self.lock().unreadable.insert(shard.to_owned(), Arc::new(error));
    }

    /// Somebody else reads these.
    pub(super) fn are_read<'a>(&self, shards: impl Iterator<Item = &'a str>) {
        let mut status = self.lock();
        if !status.unreadable.is_empty() {
            shards.for_each(|shard| drop(status.unreadable.remove(shard)));
        }
    }

    pub(super) fn took(&self) {
        self.lock().taken += 1;
    }

    pub(super) fn claimed(&self) {
        self.lock().claimed += 1;
    }

    pub(super) fn lost(&self, shard: &str) {
        self.lock().lost += 1;
        metrics::counter!("eventsrc_kinesis_leases_lost_total").increment(1);
        tracing::warn!(shard, "another worker has taken the lease over");
    }

    /// These are the shards that are read; how far behind they are is known from their readers.
    pub(super) fn reads(&self, mut shards: BTreeMap<String, ShardStatus>) {
        let mut status = self.lock();
        for (name, shard) in &mut shards {
            shard.behind = status.shards.get(name).and_then(|before| before.behind);
        }
        status.shards = shards;
    }

    pub(super) fn is_well(&self) {
        self.lock().last_error = None;
    }

    pub(super) fn failed(&self, error: StorageError) {
        tracing::warn!(error = %error, "cannot keep the leases; trying again");
        self.lock().last_error = Some(Arc::new(error));
    }

    fn lock(&self) -> MutexGuard<'_, ConsumerStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
