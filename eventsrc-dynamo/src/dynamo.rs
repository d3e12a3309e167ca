//! The tables that storages share.

use std::fmt;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use eventsrc_core::clock::{Clock, SystemClock};

use crate::pace::Pace;
use crate::settings::Settings;
use crate::usage::{Meter, Usage};

/// A table of events and one of snapshots, reached by one client of the service. Cheap to clone.
///
/// The client brings region, credentials, endpoint, timeouts and its own retries, from wherever its configuration has them.
#[derive(Clone)]
pub struct Dynamo(Arc<Inner>);

struct Inner {
    client: Client,
    events: String,
    snapshots: String,
    settings: Settings,
    clock: Arc<dyn Clock>,
    meter: Meter,
    scans: Pace,
}

impl Dynamo {
    /// The tables `table` and `{table}-snapshots`, with [`Settings::default`]. Nothing is asked of the service.
    pub fn new(client: Client, table: &str) -> Self {
        Self::with(client, table, Settings::default())
    }

    /// The same, with these settings.
    pub fn with(client: Client, table: &str, settings: Settings) -> Self {
        Self::with_clock(client, table, settings, Arc::new(SystemClock))
    }

    /// The same, with the clock by which scans keep to their rate.
    pub fn with_clock(client: Client, table: &str, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let scans = Pace::new(settings.scan_units_per_second);
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

    /// What was asked of the service since this was made, by all who share it, and what the service charges for it.
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

    /// Waits until a scan that consumed so many units may go on.
    pub(crate) async fn pace(&self, units: f64) {
        self.0.scans.consumed(units, self.clock()).await;
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
