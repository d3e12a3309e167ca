//! The DynamoDB requests of each role, as a recording client sees them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use eventsrc_core::query::SnapshotPolicy;
use eventsrc_core::snapshot::SnapshotMode;
use eventsrc_core::storage::{Put, ScanStorage, Segment};
use eventsrc_core::{
    Consistency, Decider, Decision, Event, EventStorage, Fold, Operation, Query, QueryApi, SaveApi,
    StreamName, Timestamp,
};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use eventsrc_dynamo::aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use eventsrc_dynamo::aws_sdk_dynamodb::error::BoxError;
use eventsrc_dynamo::{Dynamo, DynamoSnapshots};
use eventsrc_test_servers as servers;
use eventsrc_tests::dynamo::config;
use futures::TryStreamExt;
use serde_json::Value;

use super::super::Storage;

/// Actions and their tables.
type Actions = BTreeSet<(String, String)>;

/// Records the requests to the service.
#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<Actions>>);

impl Intercept for Recorder {
    fn name(&self) -> &'static str {
        "Recorder"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        let target = request.headers().get("x-amz-target").expect("a request has a target");
        let (_, action) = target.split_once('.').expect("a service and an action");
        let body: Value = serde_json::from_slice(request.body().bytes().expect("a request is at hand"))?;
        let table = body["TableName"].as_str().expect("each request is for one table").to_owned();
        self.0.lock().unwrap().insert((format!("dynamodb:{action}"), table));
        Ok(())
    }
}

/// A fold to the number of events.
struct Count;

impl Fold<StreamName, u64, String> for Count {
    type Key = StreamName;
    type Value = u64;

    fn apply(&self, _: &StreamName, count: &mut Option<u64>, _: Event<'_, StreamName, u64, String>) {
        *count = Some(count.unwrap_or_default() + 1);
    }
}

type Snapshots = DynamoSnapshots<StreamName, u64, u64>;

/// Tables with contents, for clients that record their requests.
struct Tables {
    endpoint: String,
    access_key: String,
}

impl Tables {
    async fn new() -> Self {
        let server = servers::dynamo().await;
        let tables = Self { endpoint: server.endpoint(), access_key: server.access_key("roles") };
        let (dynamo, _) = tables.recorded();
        dynamo.create_tables().await.unwrap();
        let saves = SaveApi::new(Storage::new(&dynamo));
        for number in 0..3 {
            let saved = saves.save(&ada(), Operation::insert(format!("event {number}"))).await.unwrap();
            assert!(saved.saved().is_some());
        }
        let count = QueryApi::new(Storage::new(&dynamo), Count);
        let count = count.with_snapshots(Snapshots::new(&dynamo, "count"), SnapshotPolicy::Never);
        count.refresh(&ada(), None, SnapshotMode::Cache).await.unwrap();
        tables
    }

    fn recorded(&self) -> (Dynamo, Recorder) {
        let recorder = Recorder::default();
        let config = config(&self.endpoint, &self.access_key).interceptor(recorder.clone());
        (Dynamo::new(Client::from_conf(config.build()), "events"), recorder)
    }
}

fn ada() -> StreamName {
    "user/ada".parse().unwrap()
}

impl Recorder {
    fn done(&self) -> Actions {
        self.0.lock().unwrap().clone()
    }
}

/// Saves commands of all kinds, and stores snapshots.
pub(super) async fn writer() -> Actions {
    let (dynamo, recorder) = Tables::new().await.recorded();
    dynamo.check_tables().await.unwrap();
    let saves = [0, 1].map(|_| Arc::new(SaveApi::new(Storage::new(&dynamo))));
    // Cold and warm saves, each in conflict with the other.
    for number in 0..6 {
        let operation = Operation::insert(format!("event {number}"));
        assert!(saves[number % 2].save(&ada(), operation).await.unwrap().saved().is_some());
    }
    let commits = Storage::new(&dynamo).events(&ada(), None).try_collect::<Vec<_>>().await.unwrap();
    let last = Arc::clone(commits.last().unwrap().commits().last().unwrap());
    let put = Storage::new(&dynamo).put(last).await.unwrap();
    assert!(matches!(put, Put::Repeated { .. }), "{put:?}");

    let decider = Decider::with(Arc::clone(&saves[0]), |storage| {
        QueryApi::new(storage, Count)
            .with_snapshots(Snapshots::new(&dynamo, "count"), SnapshotPolicy::Every(1))
    });
    let save = Operation::new(|_| Decision::<_, ()>::save("last".to_owned()));
    assert!(decider.save(&ada(), save).await.unwrap().saved().is_some());
    decider.query().flush().await;
    decider.query().refresh(&ada(), None, SnapshotMode::Epoch).await.unwrap();
    recorder.done()
}

/// Makes queries of all kinds, and scans everything.
pub(super) async fn reader() -> Actions {
    let (dynamo, recorder) = Tables::new().await.recorded();
    dynamo.check_tables().await.unwrap();
    let count = QueryApi::new(Storage::new(&dynamo), Count);
    let count = count.with_snapshots(Snapshots::new(&dynamo, "count"), SnapshotPolicy::Never);
    for consistency in [Consistency::LatestEvent, Consistency::LatestSnapshot] {
        assert_eq!(count.get(&ada(), consistency).await.unwrap(), Some(3));
    }
    assert_eq!(count.at_sequence(&ada(), 2).await.unwrap().value, Some(2));
    assert_eq!(count.at_time(&ada(), Timestamp::MAX).await.unwrap().value, Some(3));
    assert_eq!(count.history(ada(), None).try_collect::<Vec<_>>().await.unwrap().len(), 3);
    everything(&Storage::new(&dynamo)).await;
    recorder.done()
}

/// Reads the changes of the table's stream, and missing commits from the table, as a synchronizer does.
pub(super) async fn consumer() -> Actions {
    let (dynamo, recorder) = Tables::new().await.recorded();
    let storage = Storage::new(&dynamo);
    storage.latest(&ada()).await.unwrap();
    assert_eq!(storage.events_after(&ada(), Some(2)).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    everything(&storage).await;
    // This request gives it the ARN of the stream.
    let mut done = recorder.done();
    done.insert(("dynamodb:DescribeTable".into(), "events".into()));
    done
}

async fn everything(storage: &Storage) {
    assert_eq!(storage.scan(Segment::ALL).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    assert_eq!(storage.heads(Segment::ALL).try_concat().await.unwrap().len(), 1);
}
