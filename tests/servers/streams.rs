//! Features of a Kinesis server on which other tests depend.

use std::collections::BTreeMap;

use eventsrc_kinesis::aws_sdk_kinesis::Client;
use eventsrc_kinesis::aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use eventsrc_kinesis::aws_sdk_kinesis::primitives::Blob;
use eventsrc_kinesis::aws_sdk_kinesis::types::{PutRecordsRequestEntry, Record, Shard, ShardIteratorType};
use eventsrc_tests::kinesis::{active, create};

/// A stream of one server.
pub(super) struct Stream {
    pub(super) client: Client,
    pub(super) name: String,
}

impl Stream {
    /// Creates a stream with this number of shards.
    pub(super) async fn create(client: Client, name: String, shards: i32) -> Self {
        create(&client, &name, shards).await;
        Self { client, name }
    }

    pub(super) async fn shards(&self) -> Vec<Shard> {
        self.client.list_shards().stream_name(&self.name).send().await.unwrap().shards.unwrap()
    }

    /// Puts records, each into the shard of its hash key.
    pub(super) async fn put(&self, records: impl IntoIterator<Item = (u128, String)>) {
        let records = records.into_iter().map(|(hash_key, text)| {
            let record = PutRecordsRequestEntry::builder().partition_key("key").data(Blob::new(text));
            record.explicit_hash_key(hash_key.to_string()).build().unwrap()
        });
        let records: Vec<_> = records.collect();
        let put = self.client.put_records().stream_name(&self.name).set_records(Some(records));
        assert_eq!(put.send().await.unwrap().failed_record_count, Some(0));
    }

    /// An iterator at the oldest record of a shard.
    pub(super) async fn oldest(&self, shard: &str) -> String {
        let iterator = self.client.get_shard_iterator().stream_name(&self.name).shard_id(shard);
        let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
        iterator.shard_iterator.unwrap()
    }

    /// At most `limit` records from an iterator.
    pub(super) async fn read(&self, iterator: &str, limit: i32) -> GetRecordsOutput {
        self.client.get_records().shard_iterator(iterator).limit(limit).send().await.unwrap()
    }

    /// Reads a closed shard to its end. Returns its records.
    async fn closed(&self, shard: &str) -> Vec<String> {
        let (mut next, mut texts) = (Some(self.oldest(shard).await), Vec::new());
        while let Some(iterator) = next {
            let answer = self.read(&iterator, 100).await;
            texts.extend(answer.records().iter().map(text));
            next = answer.next_shard_iterator;
        }
        texts
    }

    /// Splits a shard in the middle.
    pub(super) async fn split(&self, shard: &Shard) {
        let split = self.client.split_shard().stream_name(&self.name).shard_to_split(shard.shard_id());
        split.new_starting_hash_key(middle(shard).to_string()).send().await.unwrap();
        active(&self.client, &self.name).await;
    }

    async fn merge(&self, shard: &str, adjacent: &str) {
        let merge = self.client.merge_shards().stream_name(&self.name).shard_to_merge(shard);
        merge.adjacent_shard_to_merge(adjacent).send().await.unwrap();
        active(&self.client, &self.name).await;
    }

    /// The parents of each shard.
    async fn parents(&self) -> BTreeMap<String, Vec<String>> {
        let parents = |shard: Shard| {
            let parents = [shard.parent_shard_id, shard.adjacent_parent_shard_id].into_iter().flatten();
            (shard.shard_id, parents.collect())
        };
        self.shards().await.into_iter().map(parents).collect()
    }

    /// Shards receive the records of their hash keys, are split and merged, and keep their records.
    pub(super) async fn can_be_split_and_merged(&self) {
        let shards = self.shards().await;
        assert_eq!(shards.len(), 4);
        let put = |generation: u32| {
            self.put(
                shards.iter().enumerate().map(move |(n, shard)| (middle(shard), format!("{n}/{generation}"))),
            )
        };
        put(0).await;
        for (n, shard) in shards.iter().enumerate() {
            let iterator = self.oldest(shard.shard_id()).await;
            let records: Vec<_> = self.read(&iterator, 10).await.records().iter().map(text).collect();
            assert_eq!(records, [format!("{n}/0")]);
        }

        let [first, second, third, fourth] = [0, 1, 2, 3].map(|n| shards[n].shard_id());
        self.split(&shards[0]).await;
        self.merge(second, third).await;
        put(1).await;
        let closed = [self.closed(first).await, self.closed(second).await, self.closed(third).await];
        assert_eq!(closed.concat(), ["0/0", "1/0", "2/0"], "a closed shard accepts no records, and ends");

        let parents = self.parents().await;
        let children = |of: &[&str]| parents.values().filter(|parents| *parents == of).count();
        assert_eq!((parents.len(), children(&[first]), children(&[fourth])), (7, 2, 0));
        assert_eq!(children(&[second, third]) + children(&[third, second]), 1);
    }
}

/// The hash key in the middle of a shard.
pub(super) fn middle(shard: &Shard) -> u128 {
    let range = shard.hash_key_range().unwrap();
    let bound = |bound: &str| bound.parse::<u128>().unwrap();
    let (start, end) = (bound(range.starting_hash_key()), bound(range.ending_hash_key()));
    start + (end - start) / 2
}

fn text(record: &Record) -> String {
    String::from_utf8(record.data().as_ref().to_vec()).unwrap()
}
