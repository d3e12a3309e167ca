//! What was asked of the service, and what it charges for it.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::types::ConsumedCapacity;

/// Requests and capacity units, since a [`Dynamo`](crate::Dynamo) was made.
///
/// Units are those that the service itself reports with each answer; of a conditional put that failed, for which it reports
/// nothing, those of its published rule. What the SDK sent again by itself is in the units where an answer came, and counts as
/// one request.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Calls of the service.
    pub requests: u64,
    /// Read capacity units.
    pub read_units: f64,
    /// Write capacity units.
    pub write_units: f64,
}

impl std::ops::Sub for Usage {
    type Output = Self;

    /// What was used between two looks.
    fn sub(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            read_units: self.read_units - earlier.read_units,
            write_units: self.write_units - earlier.write_units,
        }
    }
}

/// Counts usage; units in halves, which is the least that is charged.
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

    /// The units that a read consumed. There is a `least` that the service charges, which DynamoDB Local does not know.
    pub(crate) fn read(&self, capacity: Option<&ConsumedCapacity>, least: f64) -> f64 {
        let units = capacity.and_then(ConsumedCapacity::capacity_units).unwrap_or_default().max(least);
        self.half_read_units.fetch_add(halves(units), Ordering::Relaxed);
        metrics::counter!("eventsrc_dynamo_half_read_units_total").increment(halves(units));
        units
    }

    /// The units that a write consumed, as the service says or else by its rule.
    pub(crate) fn write(&self, capacity: Option<&ConsumedCapacity>, by_rule: f64) {
        let units = capacity.and_then(ConsumedCapacity::capacity_units).unwrap_or(by_rule);
        self.half_write_units.fetch_add(halves(units), Ordering::Relaxed);
        metrics::counter!("eventsrc_dynamo_half_write_units_total").increment(halves(units));
    }
}

fn halves(units: f64) -> u64 {
    (units * 2.0).round() as u64
}
