//! How a consumer works.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::Timestamp;
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::lease::Checkpoint;
use eventsrc_core::retry::BackoffSettings;

use crate::anomaly::Anomaly;

/// How a [`Consumer`](super::Consumer) works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// Where to begin with a stream that the group has never read. Shards that come later are read from their first record.
    pub initial: InitialPosition,
    /// How long the owner of a lease may give no sign before others take it over. It gives three in that time.
    pub expiry: Duration,
    /// How long a worker that is asked for a shard, or told to end, may take for what it has handed over.
    pub handover: Duration,
    /// How long the source may say nothing of a shard, not even that there is nothing, before the shard is read anew; after the
    /// second time, another worker shall try. It is longer than a source itself takes to give up.
    pub silence: Duration,
    /// How often to look for new shards; it is done at once when one ends.
    pub discover_every: Duration,
    /// How many deliveries of one shard may wait to be acknowledged before it is read on.
    pub deliveries_ahead: usize,
    /// How many records a delivery brings at most.
    pub records_per_delivery: usize,
    /// How long to wait before trying again what may go well another time.
    pub retry: BackoffSettings,
}

/// From the oldest record; leases that expire after 10 seconds, handed over within 30; three minutes of silence, a look for
/// shards a minute, and 8 deliveries of 1,000 records ahead.
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

/// Where to begin with a stream that was never read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialPosition {
    /// At the oldest record that the stream still has.
    TrimHorizon,
    /// At what comes from now on.
    Latest,
    /// At the first record of this time or later; where the service does not know times, at the oldest.
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

/// What a consumer is given to tell the time and to draw lots, and whom it tells what it meets.
#[derive(Clone)]
pub struct ConsumerEnvironment {
    /// Tells the time and waits.
    pub clock: Arc<dyn Clock>,
    /// Names the worker, and spreads retries.
    pub randomness: Arc<Randomness>,
    /// Is told of what should not be; it is logged and counted whatever this does.
    pub on_anomaly: Arc<dyn Fn(&Anomaly) + Send + Sync>,
}

/// The machine's clock and randomness; anomalies are logged.
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
