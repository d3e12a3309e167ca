//! Counters of requests and capacity units.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::types::ConsumedCapacity;

/// Requests and capacity units since a [`Dynamo`](crate::Dynamo) was created.
///
/// The service reports the units with each answer, except for a conditional put that failed; its units are computed by the
/// published rules. A request that the SDK retries counts as one request. Its units include the attempts that were answered.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Number of requests.
    pub requests: u64,
    /// Read capacity units.
    pub read_units: f64,
    /// Write capacity units.
    pub write_units: f64,
}

impl std::ops::Sub for Usage {
    type Output = Self;

    /// Returns the use between two calls of [`Dynamo::usage`](crate::Dynamo::usage).
    fn sub(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            read_units: self.read_units - earlier.read_units,
            write_units: self.write_units - earlier.write_units,
        }
    }
}

/// Counts the use. Units are counted in halves, the smallest charge.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    requests: AtomicU64,
    half_read_units: AtomicU64,
    half_write_units: AtomicU64,
}

impl Meter {
    pub(crate) fn usage(&self) -> Usage {
        let units = |halves: &AtomicU64| halves.load(Ordering::Relaxed) as f64 / 2.0;
        Usage {
            requests: self.requests.load(Ordering::Relaxed),
            read_units: units(&self.half_read_units),
            write_units: units(&self.half_write_units),
        }
    }

    pub(crate) fn request(&self, operation: &'static str) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("eventsrc_dynamo_requests_total", "operation" => operation).increment(1);
    }

    /// Counts a read, and returns its units. `min` is the minimum charge of the service, which DynamoDB Local does not apply.
    pub(crate) fn read(&self, capacity: Option<&ConsumedCapacity>, min: f64) -> f64 {
        let units = capacity.and_then(ConsumedCapacity::capacity_units).unwrap_or_default().max(min);
        self.half_read_units.fetch_add(halves(units), Ordering::Relaxed);
        metrics::counter!("eventsrc_dynamo_half_read_units_total").increment(halves(units));
        units
    }

    /// Counts a write: the units that the service reports, otherwise `by_rule`.
    pub(crate) fn write(&self, capacity: Option<&ConsumedCapacity>, by_rule: f64) {
        let units = capacity.and_then(ConsumedCapacity::capacity_units).unwrap_or(by_rule);
        self.half_write_units.fetch_add(halves(units), Ordering::Relaxed);
        metrics::counter!("eventsrc_dynamo_half_write_units_total").increment(halves(units));
    }
}

fn halves(units: f64) -> u64 {
    (units * 2.0).round() as u64
}
