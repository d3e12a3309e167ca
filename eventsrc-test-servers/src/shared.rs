//! Servers that all tests of a process share.

use std::ffi::OsString;
use std::path::PathBuf;

use tokio::sync::OnceCell;

use crate::dynamo::DynamoLocal;
use crate::error::ServerError;
use crate::installed;
use crate::kinesis::Ferrokinesis;
use crate::kinesis_mock::KinesisMock;
use crate::ministack::Ministack;
use crate::postgres::Postgres;

/// The Postgres that all tests of this process share; the first caller starts it.
///
/// It holds nothing dear: it has [`PostgresSettings::default`](crate::PostgresSettings), and whoever stops it stops it for all, so tests that
/// crash a server start [their own](Postgres::start).
///
/// # Panics
///
/// If it cannot be started, with the reason.
pub async fn postgres() -> &'static Postgres {
    static SHARED: OnceCell<Postgres> = OnceCell::const_new();
    SHARED.get_or_init(async || started(Postgres::start().await)).await
}

/// The DynamoDB Local that all tests of this process share, each with an [access key](DynamoLocal::access_key) of its
/// own; the first caller starts it.
///
/// It keeps everything in memory. Tests that stop or kill a server start [their own](DynamoLocal::start_with).
///
/// # Panics
///
/// If it cannot be started, with the reason.
pub async fn dynamo() -> &'static DynamoLocal {
    static SHARED: OnceCell<DynamoLocal> = OnceCell::const_new();
    SHARED.get_or_init(async || started(DynamoLocal::start().await)).await
}

/// The ministack that all tests of this process share, each with an [access key](Ministack::access_key) of its own; the
/// first caller starts it.
///
/// Tests that stop or kill a server start [their own](Ministack::start).
///
/// # Panics
///
/// If it cannot be started, with the reason.
pub async fn ministack() -> &'static Ministack {
    static SHARED: OnceCell<Ministack> = OnceCell::const_new();
    SHARED.get_or_init(async || started(Ministack::start().await)).await
}

/// The ferrokinesis that all tests of this process share, each with [streams](Ferrokinesis::stream_name) of its own; the
/// first caller starts it.
///
/// It keeps everything in memory. Tests that stop or kill a server, or that need iterators with a short life or shards
/// with limits, start [their own](Ferrokinesis::start_with).
///
/// # Panics
///
/// If it cannot be started, with the reason.
pub async fn kinesis() -> &'static Ferrokinesis {
    static SHARED: OnceCell<Ferrokinesis> = OnceCell::const_new();
    SHARED.get_or_init(async || started(Ferrokinesis::start().await)).await
}

/// The kinesis-mock that all tests of this process share, each with [streams](KinesisMock::stream_name) of its own; the
/// first caller starts it.
///
/// Tests that stop or kill a server start [their own](KinesisMock::start).
///
/// # Panics
///
/// If it cannot be started, with the reason.
pub async fn kinesis_mock() -> &'static KinesisMock {
    static SHARED: OnceCell<KinesisMock> = OnceCell::const_new();
    SHARED.get_or_init(async || started(KinesisMock::start().await)).await
}

/// The Python that can import `aws_kinesis_agg`, an implementation of aggregated Kinesis records that is not ours.
///
/// # Panics
///
/// If it is not installed, with the reason.
pub fn kinesis_agg() -> PathBuf {
    let python = "bin/python";
    started(installed::installed("aws-kinesis-agg", "kinesis-agg", python)).join(python)
}

/// The Java that runs programs of one source file, and the class path that has the Kinesis Client Library, which is AWS's own and
/// keeps leases in DynamoDB.
///
/// # Panics
///
/// If they are not installed, with the reason.
pub fn kinesis_client_library() -> (PathBuf, OsString) {
    let java = started(installed::in_path("java", "default-jre-headless"));
    let library = "amazon-kinesis-client-3.1.3.jar";
    let folder =
        started(installed::installed("the Kinesis Client Library", "kinesis-client-library", library));
    (java, folder.join("*").into_os_string())
}

fn started<S>(server: Result<S, ServerError>) -> S {
    server.unwrap_or_else(|error| panic!("a test needs a server: {error} ({error:?})"))
}
