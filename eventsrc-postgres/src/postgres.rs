//! The handle that everything shares.

use std::fmt;
use std::sync::Arc;

use eventsrc_core::StorageError;

use crate::address::Address;
use crate::committer::Committer;
use crate::connections::{Connection, Connections};
use crate::failure::Failure;
use crate::identifier::Identifier;
use crate::layout::{self, Layout, SnapshotLayout};
use crate::leases;
use crate::migration::{self, Part};
use crate::settings::Settings;
use crate::tls;
use crate::view;

/// A database of events, snapshots and views on a Postgres server. Cheap to clone; all clones share their connections.
///
/// Connections are made as they are needed. One that breaks is replaced, so that a server that was restarted is found
/// again by itself. They are sessions of their own: a pooler between has to pool sessions, not transactions. Postgres 12
/// or later.
#[derive(Clone)]
pub struct Postgres(Arc<Handle>);

struct Handle {
    /// For views, and whatever comes along.
    connections: Connections,
    /// For events and snapshots.
    reading: Connections,
    committer: Committer,
    layout: Arc<Layout>,
    snapshot_layout: SnapshotLayout,
    schema: Identifier,
    settings: Settings,
    server: String,
}

/// All that lives in the schema.
const PARTS: &[&Part] = &[&layout::PART, &view::layout::PART, &leases::layout::PART];

impl Postgres {
    /// Connects to the database at `url`, such as `postgres://user:password@host/database`, and makes our tables if they
    /// are not there.
    ///
    /// # Errors
    ///
    /// `Invalid` if the address is malformed. `Unavailable` if the server is not there or does not take connections just
    /// now. `Refused` if it does not accept the user or the password, its certificate is not one to trust, the database
    /// does not exist, the permission to make tables is missing, or the tables were made by a newer version.
    pub async fn connect(url: &str) -> Result<Self, StorageError> {
        Self::connect_with(url, Settings::default()).await
    }

    /// Connects to the database at `url` with these settings.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Postgres::connect), and `Invalid` for a schema that cannot be one.
    pub async fn connect_with(url: &str, settings: Settings) -> Result<Self, StorageError> {
        let schema = Identifier::new("schema", &settings.schema)?;
        let address = Address::new(url, &settings)?;
        let tls = address.is_encrypted().then(|| tls::connector(&settings.tls)).transpose()?;
        let connections = Connections::new(&address, tls.as_ref(), &settings);
        let pool = |size| Connections::with_one_plan(&address, tls.as_ref(), &settings, size);
        let (reading, writing) = (pool(settings.connections), pool(settings.groups_in_flight));
        migration::migrate(&mut reading.get().await?, &schema, PARTS).await?;
        let layout = Arc::new(Layout::new(&schema, &settings));
        Ok(Self(Arc::new(Handle {
            connections,
            reading,
            committer: Committer::new(writing, Arc::clone(&layout), &settings),
            layout,
            snapshot_layout: SnapshotLayout::new(&schema),
            schema,
            settings,
            server: address.name,
        })))
    }

    /// Lets the role `role`, which exists, do what a service does: read, append events, and keep snapshots and views. It
    /// may not change or remove an event, nor change the tables. Only their owner can grant that.
    ///
    /// A service then connects as a user who is that role, or a member of it, and owns nothing. The owner may change
    /// events, to blank a payload that has to be erased, but not by mistake: a trigger refuses it until it is disabled.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that cannot be one of a role; `Refused` if there is no such role, or the permission to grant is
    /// missing.
    pub async fn grant_service(&self, role: &str) -> Result<(), StorageError> {
        let role = Identifier::new("role", role)?;
        migration::grant(&mut self.connection().await?, self.schema(), &role, PARTS).await
    }

    /// How many transactions with commits this handle and its clones have synced to the disk of the server so far. Commits
    /// that were put at the same time share one.
    pub fn disk_commits(&self) -> u64 {
        self.0.committer.stored()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The schema that holds our tables.
    pub(crate) fn schema(&self) -> &Identifier {
        &self.0.schema
    }

    /// A connection for a transaction.
    pub(crate) async fn connection(&self) -> Result<Connection, Failure> {
        self.0.connections.get().await
    }

    /// The connections for reading events, and for snapshots.
    pub(crate) fn reading(&self) -> &Connections {
        &self.0.reading
    }

    /// The connections for views.
    pub(crate) fn connections(&self) -> &Connections {
        &self.0.connections
    }

    pub(crate) fn committer(&self) -> &Committer {
        &self.0.committer
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.0.layout
    }

    pub(crate) fn snapshot_layout(&self) -> &SnapshotLayout {
        &self.0.snapshot_layout
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("server", &self.0.server)
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}
