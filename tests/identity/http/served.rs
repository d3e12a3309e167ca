//! The service, served on a free port of this machine.

use std::any::Any;
use std::sync::Arc;

use eventsrc_core::Synchronizer;
use eventsrc_core::clock::{Randomness, SystemClock};
use eventsrc_core::storage::{EitherStorage, ScanStorage};
use eventsrc_core::synchronizer::{Environment, SynchronizerSettings};
use eventsrc_core::token::{TokenCodec, TokenKey};
use eventsrc_examples::identity::http::{Api, Server};
use eventsrc_examples::identity::views::{Kept, Questions, in_memory, in_postgres, in_sqlite};
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
    /// What it stands on, until it is dropped.
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

    /// Events in SQLite, and the view in Postgres.
    pub(super) async fn on_postgres() -> Self {
        Self::on_postgres_at(&servers::postgres().await.database("identity").await).await
    }

    /// The same, in this database.
    pub(super) async fn on_postgres_at(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("identity.db")).await.unwrap();
        let view = in_postgres(&Postgres::connect(url).await.unwrap()).await.unwrap();
        Self::new(&InSqlite::new(&database), view, folder).await
    }

    /// Events in DynamoDB, and the view in SQLite.
    pub(super) async fn on_dynamo() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("view.db")).await.unwrap();
        let view = in_sqlite(&database).await.unwrap();
        Self::new(&InDynamo::new(&dynamo::tables("identity").await), view, folder).await
    }

    /// A view that is told of what is stored.
    async fn new<S, V>(storages: &S, view: V, ground: impl Send + 'static) -> Self
    where
        S: Storages<Users: ScanStorage, Groups: ScanStorage>,
        V: Questions,
    {
        let kept = Kept::start(storages, view, settings(), Environment::default());
        let synchronizer = kept.synchronizer.clone();
        let service = service(&kept.streams);
        Self::of(service, synchronizer, (kept, ground)).await
    }

    /// Views that nobody tells anything: they are as new as they are asked to be, and no newer.
    pub(super) async fn untold_in_memory() -> (Self, Synchronizer<impl Questions>) {
        Self::untold(&InMemory::default(), in_memory(), ()).await
    }

    pub(super) async fn untold_on_sqlite() -> (Self, Synchronizer<impl Questions>) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("identity.db")).await.unwrap();
        let view = in_sqlite(&database).await.unwrap();
        Self::untold(&InSqlite::new(&database), view, folder).await
    }

    pub(super) async fn untold_on_postgres() -> (Self, Synchronizer<impl Questions>) {
        let url = servers::postgres().await.database("identity").await;
        let view = in_postgres(&Postgres::connect(&url).await.unwrap()).await.unwrap();
        Self::untold(&InMemory::default(), view, ()).await
    }

    async fn untold<S, V>(storages: &S, view: V, ground: impl Send + 'static) -> (Self, Synchronizer<V>)
    where
        S: Storages<Users: ScanStorage, Groups: ScanStorage>,
        V: Questions,
    {
        let both = EitherStorage::new(storages.users(), storages.groups());
        let synchronizer = Synchronizer::start(both, view, settings());
        (Self::of(service(storages), synchronizer.clone(), ground).await, synchronizer)
    }

    async fn of<S: Storages, V: Questions>(
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

/// No sweep: what the feed does not bring, only a token does.
fn settings() -> SynchronizerSettings {
    SynchronizerSettings { sweep_every: None, ..SynchronizerSettings::default() }
}

fn service<S: Storages>(storages: &S) -> Service<S> {
    Service::new(storages, Arc::new(SystemClock), Arc::new(Randomness::from_system()))
}

/// Signs as the server does, if the secret is `known`.
pub(super) fn tokens(secret: &str) -> TokenCodec {
    TokenCodec::signed(TokenKey::new("identity", secret.repeat(4)).unwrap(), [])
}
