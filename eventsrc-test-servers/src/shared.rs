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

/// Returns the Postgres that all tests of this process share. The first caller starts it.
///
/// It has [`PostgresSettings::default`](crate::PostgresSettings). A test that stops or kills a server affects all
/// others, so such a test starts [its own](Postgres::start).
///
/// # Panics
///
/// If the server cannot be started. The message has the reason.
pub async fn postgres() -> &'static Postgres {
    static SHARED: OnceCell<Postgres> = OnceCell::const_new();
    SHARED.get_or_init(async || started(Postgres::start().await)).await
}

/// Returns the DynamoDB Local that all tests of this process share, each with an [access
/// key](DynamoLocal::access_key) of its own. The first caller starts it.
///
/// It keeps all data in memory. Tests that stop or kill a server start [their own](DynamoLocal::start_with).
///
/// # Panics
///
/// If the server cannot be started. The message has the reason.
pub async fn dynamo() -> &'static DynamoLocal {
    static SHARED: OnceCell<DynamoLocal> = OnceCell::const_new();
    SHARED.get_or_init(async || started(DynamoLocal::start().await)).await
}

/// Returns the ministack that all tests of this process share, each with an [access key](Ministack::access_key) of
/// its own. The first caller starts it.
///
/// Tests that stop or kill a server start [their own](Ministack::start).
///
/// # Panics
///
/// If the server cannot be started. The message has the reason.
pub async fn ministack() -> &'static Ministack {
    static SHARED: OnceCell<Ministack> = OnceCell::const_new();
    SHARED.get_or_init(async || started(Ministack::start().await)).await
}

/// Returns the ferrokinesis that all tests of this process share, each with [streams](Ferrokinesis::stream_name) of
/// its own. The first caller starts it.
///
/// It keeps all data in memory. Tests that stop or kill a server, or that need iterators with a short life or shards
/// with limits, start [their own](Ferrokinesis::start_with).
///
/// # Panics
///
/// If the server cannot be started. The message has the reason.
pub async fn kinesis() -> &'static Ferrokinesis {
    static SHARED: OnceCell<Ferrokinesis> = OnceCell::const_new();
    SHARED.get_or_init(async || started(Ferrokinesis::start().await)).await
}

/// Returns the kinesis-mock that all tests of this process share, each with [streams](KinesisMock::stream_name) of
/// its own. The first caller starts it.
///
/// Tests that stop or kill a server start [their own](KinesisMock::start).
///
/// # Panics
///
/// If the server cannot be started. The message has the reason.
pub async fn kinesis_mock() -> &'static KinesisMock {
    static SHARED: OnceCell<KinesisMock> = OnceCell::const_new();
    SHARED.get_or_init(async || started(KinesisMock::start().await)).await
}

/// Returns the Python interpreter that can import `aws_kinesis_agg`, an independent implementation of aggregated
/// Kinesis records.
///
/// # Panics
///
/// If it is not installed. The message has the reason.
pub fn kinesis_agg() -> PathBuf {
    let python = "bin/python";
    started(installed::installed("aws-kinesis-agg", "kinesis-agg", python)).join(python)
}

/// Returns the Java program that runs single-file programs, and the class path with the Kinesis Client Library of
/// AWS, which keeps leases in DynamoDB.
///
/// # Panics
///
/// If they are not installed. The message has the reason.
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
