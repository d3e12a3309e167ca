//! Status and metrics of a consumer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventsrc_core::StorageError;
use eventsrc_core::lease::Checkpoint;

use crate::anomaly::Anomaly;

/// Current state of a consumer, and counters since its start.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ConsumerStatus {
    /// Shards that this worker reads, by id.
    pub shards: BTreeMap<String, ShardStatus>,
    /// Number of records read.
    pub records: u64,
    /// Number of leases taken: of shards without an owner, or of owners without a heartbeat.
    pub leases_taken: u64,
    /// Number of leases claimed from other workers.
    pub leases_claimed: u64,
    /// Number of leases that other workers took over before this worker released them.
    pub leases_lost: u64,
    /// Number of anomalies.
    pub anomalies: u64,
    /// Shards that this worker could not read, by id, with the error. An entry disappears when this worker or another one
    /// reads the shard.
    pub unreadable: BTreeMap<String, Arc<StorageError>>,
    /// Last error of the lease store or of the search for shards; `None` after the next success.
    pub last_error: Option<Arc<StorageError>>,
}

/// Progress of one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardStatus {
    /// Point up to which all deliveries are acknowledged.
    pub checkpoint: Option<Checkpoint>,
    /// Number of deliveries after the checkpoint. Each waits for its own acknowledgement or for that of an earlier delivery.
    pub unacknowledged: usize,
    /// Time between the last read records and the latest record of the shard; `None` if the service does not report it.
    pub behind_latest: Option<Duration>,
    /// True while the shard is handed over to another worker, or the consumer drains.
    pub is_handing_over: bool,
}

/// Holds the status, and increments the metrics.
#[derive(Default)]
pub(super) struct StatusBoard(Mutex<ConsumerStatus>);

impl StatusBoard {
    pub(super) fn status(&self) -> ConsumerStatus {
        self.lock().clone()
    }

    pub(super) fn record_read(&self, shard: &str, records: usize, behind_latest: Option<Duration>) {
        let mut status = self.lock();
        status.records += records as u64;
        status.unreadable.remove(shard);
        if let Some(shard) = status.shards.get_mut(shard) {
            shard.behind_latest = behind_latest;
        }
        drop(status);
        if records > 0 {
            metrics::counter!("eventsrc_kinesis_records_total").increment(records as u64);
        }
        if let Some(behind_latest) = behind_latest {
            metrics::gauge!("eventsrc_kinesis_behind_seconds", "shard" => shard.to_owned())
                .set(behind_latest.as_secs_f64());
        }
    }

    pub(super) fn record_anomaly(&self, shard: &str, anomaly: &Anomaly) {
        self.lock().anomalies += 1;
        let kind = match anomaly {
            Anomaly::Unreadable { .. } => "unreadable",
            Anomaly::Tampered { .. } => "tampering",
            Anomaly::Foreign { .. } => "foreign",
            Anomaly::Lost { .. } => "lost",
        };
        metrics::counter!("eventsrc_kinesis_anomalies_total", "kind" => kind).increment(1);
        tracing::error!(shard, anomaly = ?anomaly, "anomaly on the stream");
    }

    pub(super) fn record_unreadable(&self, shard: &str, error: StorageError) {
        tracing::warn!(shard, error = %error, "cannot read the shard; releasing its lease to another worker");
        metrics::counter!("eventsrc_kinesis_unreadable_shards_total").increment(1);
        self.lock().unreadable.insert(shard.to_owned(), Arc::new(error));
    }

    /// Removes the shards that other workers read from the unreadable ones.
    pub(super) fn clear_unreadable<'a>(&self, shards: impl Iterator<Item = &'a str>) {
        let mut status = self.lock();
        if !status.unreadable.is_empty() {
            shards.for_each(|shard| drop(status.unreadable.remove(shard)));
        }
    }

    pub(super) fn record_taken(&self) {
        self.lock().leases_taken += 1;
    }

    pub(super) fn record_claimed(&self) {
        self.lock().leases_claimed += 1;
    }

    pub(super) fn record_lost(&self, shard: &str) {
        self.lock().leases_lost += 1;
        metrics::counter!("eventsrc_kinesis_leases_lost_total").increment(1);
        tracing::warn!(shard, "lost the lease of the shard; another worker may have taken it over");
    }

    /// Replaces the shards that this worker reads. Their lag is kept, because only their readers report it.
    pub(super) fn set_shards(&self, mut shards: BTreeMap<String, ShardStatus>) {
        let mut status = self.lock();
        for (name, shard) in &mut shards {
            shard.behind_latest = status.shards.get(name).and_then(|before| before.behind_latest);
        }
        status.shards = shards;
    }

    pub(super) fn clear_error(&self) {
        self.lock().last_error = None;
    }

    pub(super) fn record_error(&self, error: StorageError) {
        tracing::warn!(error = %error, "cannot renew leases or find shards; retrying");
        self.lock().last_error = Some(Arc::new(error));
    }

    fn lock(&self) -> MutexGuard<'_, ConsumerStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
