//! The backends and the combinators to which the suites are applied.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eventsrc_core::clock::SystemClock;
use eventsrc_core::codec::{Codec, Json, Postcard, Unchecked};
use eventsrc_core::feed::NotifyingStorage;
use eventsrc_core::snapshot::{MemorySnapshots, SnapshotStorage};
use eventsrc_core::storage::{CountingStorage, MapKey, MapSequence, Merged, Migration, ScanStorage};
use eventsrc_core::stream::{Zone, ZonedSequence};
use eventsrc_core::{EventStorage, MemoryStorage, Sequence, StreamKey};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::config::Builder;
use eventsrc_dynamo::{Dynamo, DynamoSnapshots, DynamoStorage};
use eventsrc_postgres::{PostgresSnapshots, PostgresStorage};
use eventsrc_sqlite::{SqliteSnapshots, SqliteStorage};
use eventsrc_test_servers as servers;
use eventsrc_testkit::conformance::{
    Backend, Capabilities, Sample, SampleKey, SnapshotBackend, SnapshotCapabilities,
};
use eventsrc_testkit::{Faults, Faulty, FaultySnapshots};
use eventsrc_tests::faulty_http::{FaultyHttp, once};
use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::either::{Memories, OneKind};
use super::persistent::PersistentBackend;

type Memory<S> = Arc<MemoryStorage<SampleKey, S, Sample>>;

/// A storage over shared memory. Payloads are kept as they are, so none is ever unreadable.
pub(super) struct InMemory<P, St>(fn(&P) -> St);

impl<P, St> Backend for InMemory<P, St>
where
    P: Default + Send + Sync + 'static,
    St: EventStorage<Key = SampleKey, Payload = Sample>,
{
    type Storage = St;
    type Location = P;

    fn capabilities(&self) -> Capabilities {
        Capabilities { decodes: false, ..Capabilities::ALL }
    }

    async fn create(&self) -> P {
        P::default()
    }

    async fn open(&self, place: &P) -> St {
        (self.0)(place)
    }
}

pub(super) fn memory<S: Sequence>() -> InMemory<Memory<S>, Memory<S>> {
    InMemory(Arc::clone)
}

pub(super) fn counted<S: Sequence>() -> InMemory<Memory<S>, CountingStorage<Memory<S>>> {
    InMemory(|memory| CountingStorage::new(Arc::clone(memory)))
}

pub(super) fn faulty_without_faults<S: Sequence>() -> InMemory<Memory<S>, Faulty<Memory<S>>> {
    InMemory(|memory| Faulty::new(Arc::clone(memory), Faults::none(), Arc::new(SystemClock)))
}

pub(super) fn merged_with_an_empty_one<S: Sequence>() -> InMemory<Memory<S>, Merged<Memory<S>, Memory<S>>> {
    InMemory(|memory| Merged::new(Arc::clone(memory), Arc::default()))
}

pub(super) fn merged_with_itself<S: Sequence>() -> InMemory<Memory<S>, Merged<Memory<S>, Memory<S>>> {
    InMemory(|memory| Merged::new(Arc::clone(memory), Arc::clone(memory)))
}

/// Each handle is another process of the step, with a new storage of its own.
pub(super) fn migration_that_copies<S: Sequence>() -> InMemory<Memory<S>, Migration<Memory<S>, Memory<S>>> {
    InMemory(|old| Migration::copying(Arc::clone(old), Arc::default()))
}

/// Each handle is another process of the step, with an old storage of its own.
pub(super) fn migration_that_switches<S: Sequence>() -> InMemory<Memory<S>, Migration<Memory<S>, Memory<S>>> {
    InMemory(|new| Migration::switching(Arc::default(), Arc::clone(new)))
}

pub(super) fn published<S: Sequence>() -> InMemory<Memory<S>, NotifyingStorage<Memory<S>>> {
    InMemory(|memory| NotifyingStorage::new(Arc::clone(memory)))
}

pub(super) fn three_side_by_side<S: Sequence>() -> InMemory<Memories<S>, OneKind<S>> {
    InMemory(OneKind::of)
}

/// Sample keys outside, the same keys spelled backwards inside.
pub(super) fn mapped_key<S: Sequence>() -> InMemory<
    Arc<MemoryStorage<Backwards, S, Sample>>,
    impl ScanStorage<Key = SampleKey, Sequence = S, Payload = Sample>,
> {
    InMemory(|memory: &Arc<_>| {
        MapKey::new(Arc::clone(memory), Backwards::of, |key: &Backwards| {
            SampleKey::from_parts(&backwards(&key.category), &backwards(&key.id))
        })
    })
}

/// Numbers outside, sequences of one zone inside.
pub(super) fn mapped_sequence()
-> InMemory<Memory<ZonedSequence>, impl ScanStorage<Key = SampleKey, Sequence = u64, Payload = Sample>> {
    const HERE: Zone = Zone(7);
    InMemory(|memory: &Memory<_>| {
        MapSequence::new(
            Arc::clone(memory),
            |number| ZonedSequence::from_parts(number, HERE),
            |zoned: ZonedSequence| (zoned.zone() == HERE).then(|| zoned.number()),
        )
    })
}

/// A key that is malformed if its source key is malformed, and has other parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Backwards {
    category: String,
    id: String,
}

impl Backwards {
    fn of(key: &SampleKey) -> Self {
        Self { category: backwards(&key.category), id: backwards(&key.id) }
    }
}

impl StreamKey for Backwards {
    fn category(&self) -> &str {
        &self.category
    }

    fn id(&self) -> Cow<'_, str> {
        (&self.id).into()
    }

    fn from_parts(category: &str, id: &str) -> Option<Self> {
        Some(Self { category: category.into(), id: id.into() })
    }
}

fn backwards(text: &str) -> String {
    text.chars().rev().collect()
}

/// A SQLite file in a directory of its own. Each handle opens the file again, as another process would.
pub(super) struct Sqlite<S, C> {
    codec: C,
    sequence: std::marker::PhantomData<fn() -> S>,
}

pub(super) fn sqlite<S: Sequence>() -> Sqlite<S, Unchecked<Json>> {
    sqlite_with(Unchecked(Json))
}

pub(super) fn sqlite_with_postcard<S: Sequence>() -> Sqlite<S, Unchecked<Postcard>> {
    sqlite_with(Unchecked(Postcard))
}

pub(super) fn sqlite_with<S: Sequence, C>(codec: C) -> Sqlite<S, C> {
    Sqlite { codec, sequence: std::marker::PhantomData }
}

async fn database(directory: &TempDir) -> eventsrc_sqlite::Database {
    eventsrc_sqlite::Database::open(directory.path().join("sample.db")).await.expect("the file opens")
}

impl<S: Sequence, C: Codec<Sample> + Copy> Backend for Sqlite<S, C> {
    type Storage = SqliteStorage<SampleKey, S, Sample, C>;
    type Location = TempDir;

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL
    }

    async fn create(&self) -> TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    async fn open(&self, directory: &TempDir) -> Self::Storage {
        SqliteStorage::with_codec(&database(directory).await, self.codec)
    }
}

impl<S: Sequence, C: Codec<Sample> + Copy> SnapshotBackend for Sqlite<S, C> {
    type Storage = SqliteSnapshots<SampleKey, S, Sample, C>;
    type Location = TempDir;

    fn capabilities(&self) -> SnapshotCapabilities {
        SnapshotCapabilities::ALL
    }

    async fn create(&self) -> TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    async fn open(&self, directory: &TempDir, name: &str) -> Self::Storage {
        SqliteSnapshots::with_codec(&database(directory).await, name, self.codec)
    }
}

/// Schemas of one database. Each handle has a new connection, as another process would.
pub(super) struct Postgres<S, C> {
    codec: C,
    database: OnceCell<String>,
    schemas: AtomicU64,
    sequence: std::marker::PhantomData<fn() -> S>,
}

pub(super) fn postgres<S: Sequence>() -> Postgres<S, Unchecked<Json>> {
    postgres_with(Unchecked(Json))
}

pub(super) fn postgres_with_postcard<S: Sequence>() -> Postgres<S, Unchecked<Postcard>> {
    postgres_with(Unchecked(Postcard))
}

pub(super) fn postgres_with<S: Sequence, C>(codec: C) -> Postgres<S, C> {
    let (database, schemas) = (OnceCell::default(), AtomicU64::default());
    Postgres { codec, database, schemas, sequence: std::marker::PhantomData }
}

/// A schema.
pub(super) struct Schema {
    url: String,
    name: String,
}

impl<S, C> Postgres<S, C> {
    async fn schema(&self) -> Schema {
        let url = self.database.get_or_init(|| async { servers::postgres().await.database("suite").await });
        let name = format!("place_{}", self.schemas.fetch_add(1, Ordering::Relaxed));
        Schema { url: url.await.clone(), name }
    }
}

impl Schema {
    async fn connect(&self) -> eventsrc_postgres::Postgres {
        let settings = eventsrc_postgres::Settings { schema: self.name.clone(), ..Default::default() };
        eventsrc_postgres::Postgres::connect_with(&self.url, settings).await.expect("the server is there")
    }
}

impl<S: Sequence, C: Codec<Sample> + Copy> Backend for Postgres<S, C> {
    type Storage = PostgresStorage<SampleKey, S, Sample, C>;
    type Location = Schema;

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL
    }

    async fn create(&self) -> Schema {
        self.schema().await
    }

    async fn open(&self, schema: &Schema) -> Self::Storage {
        PostgresStorage::with_codec(&schema.connect().await, self.codec)
    }
}

impl<S: Sequence, C: Codec<Sample> + Copy> SnapshotBackend for Postgres<S, C> {
    type Storage = PostgresSnapshots<SampleKey, S, Sample, C>;
    type Location = Schema;

    fn capabilities(&self) -> SnapshotCapabilities {
        SnapshotCapabilities::ALL
    }

    async fn create(&self) -> Schema {
        self.schema().await
    }

    async fn open(&self, schema: &Schema, name: &str) -> Self::Storage {
        PostgresSnapshots::with_codec(&schema.connect().await, name, self.codec)
    }
}

/// Tables of one DynamoDB. Each handle has its own client, as another process would.
pub(super) struct Tables<S, C> {
    codec: C,
    server: fn() -> BoxFuture<'static, (String, String)>,
    faulty: Option<FaultyHttp>,
    sequence: std::marker::PhantomData<fn() -> S>,
}

/// DynamoDB Local, with a database for each location: tables of one database slow each other down there.
pub(super) fn dynamo<S: Sequence>() -> Tables<S, Unchecked<Json>> {
    dynamo_with(Unchecked(Json))
}

/// DynamoDB Local through a network and a service that fail. Callers retry.
pub(super) fn dynamo_through<S: Sequence>(
    faulty: &FaultyHttp,
) -> PersistentBackend<Tables<S, Unchecked<Json>>> {
    PersistentBackend(Tables { faulty: Some(faulty.clone()), ..dynamo() })
}

pub(super) fn dynamo_with_postcard<S: Sequence>() -> Tables<S, Unchecked<Postcard>> {
    dynamo_with(Unchecked(Postcard))
}

pub(super) fn dynamo_with<S: Sequence, C>(codec: C) -> Tables<S, C> {
    Tables { codec, server: local, faulty: None, sequence: std::marker::PhantomData }
}

/// Another implementation of DynamoDB, independent of the first.
pub(super) fn ministack<S: Sequence>() -> Tables<S, Unchecked<Json>> {
    let server: fn() -> BoxFuture<'static, _> = || {
        Box::pin(async {
            let server = servers::ministack().await;
            (server.endpoint(), server.access_key())
        })
    };
    Tables { codec: Unchecked(Json), server, faulty: None, sequence: std::marker::PhantomData }
}

fn local() -> BoxFuture<'static, (String, String)> {
    Box::pin(async {
        let server = servers::dynamo().await;
        (server.endpoint(), server.access_key("suite"))
    })
}

/// The tables of one location.
pub(super) struct Database {
    endpoint: String,
    access_key: String,
    faulty: Option<FaultyHttp>,
}

impl Database {
    fn config(&self) -> Builder {
        eventsrc_tests::dynamo::config(&self.endpoint, &self.access_key)
    }

    fn dynamo(&self) -> Dynamo {
        let config = match &self.faulty {
            None => self.config(),
            Some(faulty) => self.config().http_client(faulty.clone()).retry_config(once()),
        };
        Dynamo::new(Client::from_conf(config.build()), "events")
    }
}

impl<S, C> Tables<S, C> {
    async fn database(&self) -> Database {
        let (endpoint, access_key) = (self.server)().await;
        let database = Database { endpoint, access_key, faulty: self.faulty.clone() };
        let without_faults = Client::from_conf(database.config().build());
        Dynamo::new(without_faults, "events").create_tables().await.expect("tables can be created");
        database
    }
}

impl<S: Sequence, C: Codec<Sample> + Copy> Backend for Tables<S, C> {
    type Storage = DynamoStorage<SampleKey, S, Sample, C>;
    type Location = Database;

    fn capabilities(&self) -> Capabilities {
        // A commit is an item of at most 400 KB before compression. The limit counts payload text, and leaves room for
        // the rest.
        let largest_commit = 350 << 10;
        Capabilities { conflict_has_head: false, largest_commit, ..Capabilities::ALL }
    }

    async fn create(&self) -> Database {
        self.database().await
    }

    async fn open(&self, database: &Database) -> Self::Storage {
        DynamoStorage::with_codec(&database.dynamo(), self.codec)
    }
}

impl<S: Sequence, C: Codec<Sample> + Copy> SnapshotBackend for Tables<S, C> {
    type Storage = DynamoSnapshots<SampleKey, S, Sample, C>;
    type Location = Database;

    fn capabilities(&self) -> SnapshotCapabilities {
        SnapshotCapabilities { largest_value: 350 << 10, ..SnapshotCapabilities::ALL }
    }

    async fn create(&self) -> Database {
        self.database().await
    }

    async fn open(&self, database: &Database, name: &str) -> Self::Storage {
        DynamoSnapshots::with_codec(&database.dynamo(), name, self.codec)
    }
}

type Kept<S> = Arc<MemorySnapshots<SampleKey, S, Sample>>;

/// Snapshots over shared memory. Each is a storage by itself, so there are no names.
pub(super) struct SnapshotsInMemory<S, Sn>(fn(&Kept<S>) -> Sn);

impl<S, Sn> SnapshotBackend for SnapshotsInMemory<S, Sn>
where
    S: Sequence,
    Sn: SnapshotStorage<Key = SampleKey, Sequence = S, Value = Sample>,
{
    type Storage = Sn;
    type Location = Kept<S>;

    fn capabilities(&self) -> SnapshotCapabilities {
        SnapshotCapabilities { has_names: false, decodes: false, ..SnapshotCapabilities::ALL }
    }

    async fn create(&self) -> Kept<S> {
        Arc::default()
    }

    async fn open(&self, place: &Kept<S>, _: &str) -> Sn {
        (self.0)(place)
    }
}

pub(super) fn memory_snapshots<S: Sequence>() -> SnapshotsInMemory<S, Kept<S>> {
    SnapshotsInMemory(Arc::clone)
}

pub(super) fn faulty_snapshots_without_faults<S: Sequence>() -> SnapshotsInMemory<S, FaultySnapshots<Kept<S>>>
{
    SnapshotsInMemory(|kept| FaultySnapshots::new(Arc::clone(kept), Faults::none(), Arc::new(SystemClock)))
}
