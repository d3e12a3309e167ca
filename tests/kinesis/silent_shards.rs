//! A shard whose reads neither return nor fail.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::feed::{Change, ChangeFeed};
use eventsrc_core::lease::MemoryLeases;
use eventsrc_core::{StorageError, StreamName};
use eventsrc_kinesis::record::Record;
use eventsrc_kinesis::source::{ReadError, RecordBatch, SequencedRecord, Shard, ShardSource, StartPosition};
use eventsrc_kinesis::{Consumer, ConsumerSettings, Envelope};
use eventsrc_tests::HANG;
use eventsrc_tests::bus::quick;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::time::timeout;

/// A source that returns one record at the first read and then hangs.
#[derive(Clone, Default)]
struct Hanging {
    asked: Arc<Mutex<Vec<StartPosition>>>,
}

impl ShardSource for Hanging {
    type Record = Record;

    async fn retention(&self) -> Result<Duration, StorageError> {
        Ok(Duration::from_secs(24 * 3600))
    }

    async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        Ok(vec![Shard { id: "shard-0".into(), parents: vec![], is_open: true }])
    }

    fn records(
        &self,
        _: &str,
        start: StartPosition,
    ) -> BoxStream<'static, Result<RecordBatch<Record>, ReadError>> {
        let mut asked = self.asked.lock().unwrap();
        asked.push(start);
        if asked.len() > 2 {
            return stream::pending().boxed();
        }
        let stream: StreamName = format!("user/{}", asked.len()).parse().unwrap();
        let data = Envelope::<StreamName, u64, i64>::new().encode(&Change::Stream(stream)).unwrap();
        let record = Record { partition_key: "user".into(), data };
        let sequence_number = asked.len().to_string();
        let records = vec![SequencedRecord { sequence_number, arrived: None, record }];
        stream::iter([Ok(RecordBatch { records, behind_latest: None })]).chain(stream::pending()).boxed()
    }
}

#[tokio::test]
async fn a_silent_shard_is_read_again_and_then_given_up() {
    let source = Hanging::default();
    let settings = ConsumerSettings { silence: Duration::from_millis(100), ..quick() };
    let envelope = Envelope::<StreamName, u64, i64>::new();
    let feed = Consumer::start(source.clone(), MemoryLeases::default(), envelope, settings).await;
    let mut feed = feed.unwrap();
    for expected in ["user/1", "user/2"] {
        let delivery = timeout(HANG, feed.next()).await.expect("it comes").unwrap().unwrap();
        let [Change::Stream(stream)] = &delivery.changes[..] else { panic!("{delivery:?}") };
        assert_eq!(stream.as_str(), expected);
        delivery.acknowledgement.acknowledge();
    }
    let handle = feed.handle();
    let given_up = async {
        while handle.status().unreadable.is_empty() {
            SystemClock.sleep(Duration::from_millis(5)).await;
        }
        handle.status().unreadable
    };
    let errors = timeout(HANG, given_up).await.expect("it is given up");
    assert_eq!(
        errors["shard-0"].to_string(),
        "cannot read the shard shard-0: the source gave no answer for 100ms"
    );
    let asked = source.asked.lock().unwrap().clone();
    assert_eq!(
        asked[..3],
        [StartPosition::TrimHorizon, StartPosition::After("1".into()), StartPosition::After("2".into())]
    );
}
