//! Settings and environment of a consumer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::Timestamp;
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::lease::Checkpoint;
use eventsrc_core::retry::BackoffSettings;

use crate::anomaly::Anomaly;

/// Settings of a [`Consumer`](super::Consumer).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// Position at which a group begins to read a stream for the first time. Shards that appear later are read from their
    /// first record. Default: [`InitialPosition::TrimHorizon`].
    pub initial: InitialPosition,
    /// Time without a heartbeat after which other workers take a lease over. The owner renews its leases three times in this
    /// time. Default: 10 s.
    pub expiry: Duration,
    /// Time for the handover of a shard: the owner waits this long for acknowledgements before it releases a claimed lease,
    /// and the claiming worker takes a lease that is not released in time. It also limits a drain. Default: 30 s.
    pub handover: Duration,
    /// Time without any answer of the source, even an empty one, after which reading the shard restarts. After the second
    /// time in a row, the shard is left to another worker. Set it longer than the retries of the source take. Default: 3 min.
    pub silence: Duration,
    /// Interval between two searches for new shards. A search also runs when a shard ends. Default: 60 s.
    pub discover_every: Duration,
    /// Maximum number of unacknowledged deliveries of one shard. Reading the shard pauses at the maximum. Default: 8.
    pub deliveries_ahead: usize,
    /// Maximum number of records in one delivery. Default: 1,000.
    pub records_per_delivery: usize,
    /// Backoff between retries of failed calls to the lease store and the source. Default: [`BackoffSettings::default`].
    pub retry: BackoffSettings,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            initial: InitialPosition::TrimHorizon,
            expiry: Duration::from_secs(10),
            handover: Duration::from_secs(30),
            silence: Duration::from_secs(180),
            discover_every: Duration::from_secs(60),
            deliveries_ahead: 8,
            records_per_delivery: 1000,
            retry: BackoffSettings::default(),
        }
    }
}

/// Position at which a group begins to read a stream for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialPosition {
    /// The oldest record that the stream still has.
    TrimHorizon,
    /// The first record that arrives from now on.
    Latest,
    /// The first record at or after this time; the oldest record if the service cannot seek by time.
    Time(Timestamp),
}

impl InitialPosition {
    pub(super) fn checkpoint(self) -> Checkpoint {
        match self {
            Self::TrimHorizon => Checkpoint::TrimHorizon,
            Self::Latest => Checkpoint::Latest,
            Self::Time(time) => Checkpoint::At(time),
        }
    }
}

/// Clock, randomness and anomaly callback of a consumer.
#[derive(Clone)]
pub struct ConsumerEnvironment {
    /// Clock of all waits and timeouts. Default: the system clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness of the worker's name and of the backoff. Default: seeded by the system.
    pub randomness: Arc<Randomness>,
    /// Callback for each anomaly, in addition to the log line and the metric. Default: does nothing.
    pub on_anomaly: Arc<dyn Fn(&Anomaly) + Send + Sync>,
}

impl Default for ConsumerEnvironment {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            randomness: Arc::new(Randomness::from_system()),
            on_anomaly: Arc::new(|_| {}),
        }
    }
}

impl fmt::Debug for ConsumerEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerEnvironment").finish_non_exhaustive()
    }
}
