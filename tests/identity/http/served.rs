//! The service, served on a free port of this machine.

use std::any::Any;
use std::sync::Arc;

use eventsrc_core::Synchronizer;
use eventsrc_core::clock::{Randomness, SystemClock};
use eventsrc_core::storage::{EitherStorage, ScanStorage};
use eventsrc_core::synchronizer::{Environment, SynchronizerSettings};
use eventsrc_core::token::{TokenCodec, TokenKey};
use eventsrc_examples::identity::http::{Api, Server};
use eventsrc_examples::identity::views::{SyncedView, ViewQueries, in_memory, in_postgres, in_sqlite};
use eventsrc_examples::identity::{InDynamo, InMemory, InSqlite, Service, Storages};
use eventsrc_postgres::Postgres;
use eventsrc_sqlite::Database;
use eventsrc_test_servers as servers;
use eventsrc_tests::dynamo;

use super::Client;

/// A server, and a client of it.
pub(super) struct Served {
    pub(super) client: Client,
    pub(super) server: Server,
    /// Resources that live as long as the server.
    _ground: Box<dyn Any + Send>,
}

impl Served {
    pub(super) async fn in_memory() -> Self {
        Self::new(&InMemory::default(), in_memory(), ()).await
    }

    pub(super) async fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("identity.db")).await.unwrap();
        let view = in_sqlite(&database).await.unwrap();
        Self::new(&InSqlite::new(&database), view, folder).await
    }

    /// Events in SQLite and the view in Postgres.
    pub(super) async fn on_postgres() -> Self {
        Self::on_postgres_at(&servers::postgres().await.database("identity").await).await
    }

    /// Events in SQLite and the view in the Postgres database at `url`.
    pub(super) async fn on_postgres_at(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("identity.db")).await.unwrap();
        let view = in_postgres(&Postgres::connect(url).await.unwrap()).await.unwrap();
        Self::new(&InSqlite::new(&database), view, folder).await
    }

    /// Events in DynamoDB and the view in SQLite.
    pub(super) async fn on_dynamo() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("view.db")).await.unwrap();
        let view = in_sqlite(&database).await.unwrap();
        Self::new(&InDynamo::new(&dynamo::tables("identity").await), view, folder).await
    }

    /// A server whose view follows a feed.
    async fn new<S, V>(storages: &S, view: V, ground: impl Send + 'static) -> Self
    where
        S: Storages<Users: ScanStorage, Groups: ScanStorage>,
        V: ViewQueries,
    {
        let view = SyncedView::start(storages, view, settings(), Environment::default());
        let synchronizer = view.synchronizer.clone();
        let service = service(&view.streams);
        Self::of(service, synchronizer, (view, ground)).await
    }

    /// Views without a feed: only reads with tokens bring them up to date.
    pub(super) async fn in_memory_without_feed() -> (Self, Synchronizer<impl ViewQueries>) {
        Self::untold(&InMemory::default(), in_memory(), ()).await
    }

    pub(super) async fn on_sqlite_without_feed() -> (Self, Synchronizer<impl ViewQueries>) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("identity.db")).await.unwrap();
        let view = in_sqlite(&database).await.unwrap();
        Self::untold(&InSqlite::new(&database), view, folder).await
    }

    pub(super) async fn on_postgres_without_feed() -> (Self, Synchronizer<impl ViewQueries>) {
        let url = servers::postgres().await.database("identity").await;
        let view = in_postgres(&Postgres::connect(&url).await.unwrap()).await.unwrap();
        Self::untold(&InMemory::default(), view, ()).await
    }

    async fn untold<S, V>(storages: &S, view: V, ground: impl Send + 'static) -> (Self, Synchronizer<V>)
    where
        S: Storages<Users: ScanStorage, Groups: ScanStorage>,
        V: ViewQueries,
    {
        let both = EitherStorage::new(storages.users(), storages.groups());
        let synchronizer = Synchronizer::start(both, view, settings());
        (Self::of(service(storages), synchronizer.clone(), ground).await, synchronizer)
    }

    async fn of<S: Storages, V: ViewQueries>(
        service: Service<S>,
        synchronizer: Synchronizer<V>,
        ground: impl Send + 'static,
    ) -> Self {
        let server = Server::start("127.0.0.1:0", Api { service, synchronizer, tokens: tokens("known") })
            .await
            .unwrap();
        Self { client: Client::new(server.address()), server, _ground: Box::new(ground) }
    }
}

/// Settings without sweeps: what the feed does not deliver, only a token brings.
fn settings() -> SynchronizerSettings {
    SynchronizerSettings { sweep_every: None, ..SynchronizerSettings::default() }
}

fn service<S: Storages>(storages: &S) -> Service<S> {
    Service::new(storages, Arc::new(SystemClock), Arc::new(Randomness::from_system()))
}

/// The token codec of the server, if the secret is `known`.
pub(super) fn tokens(secret: &str) -> TokenCodec {
    TokenCodec::signed(TokenKey::new("identity", secret.repeat(4)).unwrap(), [])
}
