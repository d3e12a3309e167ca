//! The handle to the tables, which storages share.

use std::fmt;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use eventsrc_core::clock::{Clock, SystemClock};

use crate::rate_limiter::RateLimiter;
use crate::settings::Settings;
use crate::usage::{Meter, Usage};

/// A table of events and a table of snapshots, with one client of the service. Cheap to clone.
///
/// Region, credentials, endpoint, timeouts and the retries of the SDK come from the configuration of the client.
#[derive(Clone)]
pub struct Dynamo(Arc<Inner>);

struct Inner {
    client: Client,
    events: String,
    snapshots: String,
    settings: Settings,
    clock: Arc<dyn Clock>,
    meter: Meter,
    scans: RateLimiter,
}

impl Dynamo {
    /// Uses the tables `table` and `{table}-snapshots` with [`Settings::default`]. No request is sent.
    pub fn new(client: Client, table: &str) -> Self {
        Self::with(client, table, Settings::default())
    }

    /// Uses the tables `table` and `{table}-snapshots` with `settings`. No request is sent.
    pub fn with(client: Client, table: &str, settings: Settings) -> Self {
        Self::with_clock(client, table, settings, Arc::new(SystemClock))
    }

    /// Uses the tables like [`with`](Self::with), and `clock` for the rate limit of scans and the waits of `create_tables`.
    pub fn with_clock(client: Client, table: &str, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let scans = RateLimiter::new(settings.scan_units_per_second);
        Self(Arc::new(Inner {
            client,
            events: table.to_owned(),
            snapshots: format!("{table}-snapshots"),
            settings,
            clock,
            meter: Meter::default(),
            scans,
        }))
    }

    /// Requests and capacity units of this handle and its clones, since it was created.
    pub fn usage(&self) -> Usage {
        self.0.meter.usage()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    pub(crate) fn events_table(&self) -> &str {
        &self.0.events
    }

    pub(crate) fn snapshots_table(&self) -> &str {
        &self.0.snapshots
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.0.meter
    }

    /// Waits until a scan that has consumed these read units may continue.
    pub(crate) async fn limit_scans(&self, units: f64) {
        self.0.scans.wait_for(units, self.clock()).await;
    }
}

impl fmt::Debug for Dynamo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { events, snapshots, settings, .. } = &*self.0;
        f.debug_struct("Dynamo")
            .field("events", events)
            .field("snapshots", snapshots)
            .field("settings", settings)
            .finish_non_exhaustive()
    }
}
