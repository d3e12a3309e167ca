//! The handle to the tables, which storages share.

use std::fmt;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use eventsrc_core::backend::EncodedHead;
use eventsrc_core::clock::{Clock, SystemClock};

use crate::item::Item;
use crate::layout;
use crate::rate_limiter::RateLimiter;
use crate::seen::{SeenCommit, SeenCommits};
use crate::settings::Settings;
use crate::usage::{Meter, Usage};

/// A table of events and a table of snapshots, with one client of the service. Cheap to clone.
///
/// Region, credentials, endpoint and the retries of the SDK come from the configuration of the client. The client may have
/// timeouts of its own in addition to [`Settings::answer_timeout`].
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
    seen: SeenCommits,
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

    /// Uses the tables like [`with`](Self::with), and `clock` for all waits, deadlines and ages.
    pub fn with_clock(client: Client, table: &str, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let scans = RateLimiter::new(settings.scan_units_per_second);
        let seen = SeenCommits::new(settings.trust_seen_for);
        Self(Arc::new(Inner {
            client,
            events: table.to_owned(),
            snapshots: format!("{table}-snapshots"),
            settings,
            clock,
            meter: Meter::default(),
            scans,
            seen,
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

    /// Notes that the table has a commit of `stream` with this first number, which ends at `head`.
    pub(crate) fn note_commit(&self, stream: &str, first: u64, head: EncodedHead) {
        self.0.seen.note(stream, first, head, self.clock().elapsed());
    }

    /// Notes that the table has the commit of `item`. An unreadable item has no effect.
    pub(crate) fn note_item(&self, stream: &str, item: &Item) {
        if let (Ok(first), Ok(head)) = (layout::number(item), layout::head(item)) {
            self.note_commit(stream, first, head);
        }
    }

    /// Returns the last commit of `stream` that was noted, if that was lately.
    pub(crate) fn seen_lately(&self, stream: &str) -> Option<SeenCommit> {
        self.0.seen.lately(stream, self.clock().elapsed())
    }

    /// Forgets all noted commits: the table may be another one.
    pub(crate) fn forget_seen(&self) {
        self.0.seen.forget_all();
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
