//! Handle of a database, shared by storages, snapshots, views and leases.

use std::fmt;
use std::sync::Arc;

use eventsrc_core::StorageError;

use crate::address::Address;
use crate::committer::Committer;
use crate::connection::Connection;
use crate::connections::Connections;
use crate::failure::Failure;
use crate::identifier::Identifier;
use crate::layout::{EventLayout, SnapshotLayout};
use crate::migration;
use crate::schema::PARTS;
use crate::settings::Settings;
use crate::tls;

/// A Postgres database with events, snapshots, views and leases. Cheap to clone; all clones share their connection pools.
///
/// Connections are opened on demand, and broken ones are replaced, so no action is needed after a restart of the server.
/// The library keeps state in its sessions: a connection pooler in front of the server must pool sessions, not
/// transactions. Requires Postgres 12 or later.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    /// Pool for views and for grants.
    connections: Connections,
    /// Pool for events, snapshots and leases.
    read_connections: Connections,
    committer: Committer,
    event_layout: Arc<EventLayout>,
    snapshot_layout: SnapshotLayout,
    schema: Identifier,
    settings: Settings,
    server: String,
}

impl Postgres {
    /// Connects to the database at `url`, such as `postgres://user:password@host/database`, with the default
    /// [`Settings`]. Creates the tables of eventsrc if they do not exist.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Invalid`](eventsrc_core::ErrorKind::Invalid) if the address is malformed.
    /// - [`ErrorKind::Unavailable`](eventsrc_core::ErrorKind::Unavailable) if the server cannot be reached or does not
    ///   accept connections at the moment.
    /// - [`ErrorKind::Refused`](eventsrc_core::ErrorKind::Refused) if the user or the password is not accepted, the
    ///   server's certificate is not trusted, the database does not exist, the permission to create tables is missing, or
    ///   the tables have a newer version.
    pub async fn connect(url: &str) -> Result<Self, StorageError> {
        Self::connect_with(url, Settings::default()).await
    }

    /// Connects to the database at `url` with `settings`.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Postgres::connect), and [`ErrorKind::Invalid`](eventsrc_core::ErrorKind::Invalid) if the name
    /// of the schema is malformed.
    pub async fn connect_with(url: &str, settings: Settings) -> Result<Self, StorageError> {
        let schema = Identifier::new("schema", &settings.schema)?;
        let address = Address::new(url, &settings)?;
        let tls = address.is_encrypted().then(|| tls::connector(&settings.tls)).transpose()?;
        let connections = Connections::new(&address, tls.as_ref(), &settings);
        let pool = |size| Connections::with_one_plan(&address, tls.as_ref(), &settings, size);
        let (read_connections, put_connections) =
            (pool(settings.connections), pool(settings.groups_in_flight));
        migration::migrate(&mut read_connections.get().await?, &schema, PARTS).await?;
        let event_layout = Arc::new(EventLayout::new(&schema, &settings));
        Ok(Self(Arc::new(Inner {
            connections,
            read_connections,
            committer: Committer::new(put_connections, Arc::clone(&event_layout), &settings),
            event_layout,
            snapshot_layout: SnapshotLayout::new(&schema),
            schema,
            settings,
            server: address.name,
        })))
    }

    /// Grants the existing role `role` the privileges of a service: to read and append events, and to write snapshots,
    /// views and leases. The role cannot change or delete events, and cannot change tables. Only the owner of the tables
    /// can grant this.
    ///
    /// A service then connects as this role or as a member of it, and owns nothing. The owner can change events, for
    /// example to blank a payload that must be erased, but not by mistake: a trigger rejects changes until it is disabled.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Invalid`](eventsrc_core::ErrorKind::Invalid) if the name of the role is malformed.
    /// - [`ErrorKind::Refused`](eventsrc_core::ErrorKind::Refused) if the role does not exist, or the permission to grant
    ///   is missing.
    pub async fn grant_service(&self, role: &str) -> Result<(), StorageError> {
        let role = Identifier::new("role", role)?;
        migration::grant(&mut self.connection().await?, self.schema(), &role, PARTS).await
    }

    /// Number of transactions with commits that this handle and its clones have stored so far. Commits that are put at the
    /// same time share a transaction, and so a disk sync of the server.
    pub fn disk_commits(&self) -> u64 {
        self.0.committer.transactions()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Schema of the tables of eventsrc.
    pub(crate) fn schema(&self) -> &Identifier {
        &self.0.schema
    }

    /// Returns a connection of the pool for views.
    pub(crate) async fn connection(&self) -> Result<Connection, Failure> {
        self.0.connections.get().await
    }

    /// Pool for events, snapshots and leases.
    pub(crate) fn read_connections(&self) -> &Connections {
        &self.0.read_connections
    }

    /// Pool for views.
    pub(crate) fn connections(&self) -> &Connections {
        &self.0.connections
    }

    pub(crate) fn committer(&self) -> &Committer {
        &self.0.committer
    }

    pub(crate) fn event_layout(&self) -> &EventLayout {
        &self.0.event_layout
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
