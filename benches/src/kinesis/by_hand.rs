//! A program without eventsrc: it polls one shard and decodes its records.

use anyhow::{Context as _, Result};
use eventsrc_core::Timestamp;
use eventsrc_kinesis::aws_sdk_kinesis::Client;
use eventsrc_kinesis::aws_sdk_kinesis::types::{Record, ShardIteratorType};
use serde::Deserialize;
use uuid::Uuid;

use super::Stream;
use crate::dynamo::Transfer;

/// The only shard of a stream, read from its oldest record on.
pub(super) struct Shard {
    client: Client,
    iterator: String,
}

impl Shard {
    pub(super) async fn of(stream: &Stream) -> Result<Self> {
        let client = stream.client.clone();
        let listed = client.list_shards().stream_name(&stream.name).send().await?;
        let shard = listed.shards.unwrap_or_default().pop().context("the stream has no shard")?;
        let begin = client.get_shard_iterator().stream_name(&stream.name).shard_id(shard.shard_id);
        let begun = begin.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await?;
        let iterator = begun.shard_iterator.context("the response has no iterator")?;
        Ok(Self { client, iterator })
    }

    /// Returns the records of one call.
    pub(super) async fn next(&mut self) -> Result<Vec<Record>> {
        let call = self.client.get_records().shard_iterator(&self.iterator).limit(10_000);
        let answer = call.send().await?;
        self.iterator = answer.next_shard_iterator.context("the shard has ended")?;
        Ok(answer.records)
    }
}

/// Content of a record: everything from which eventsrc makes a commit.
#[derive(Deserialize)]
#[expect(dead_code, reason = "decoding is the work that is compared")]
pub(super) struct Commit {
    stream: String,
    pub(super) number: u64,
    time: Timestamp,
    metadata: Metadata,
    pub(super) events: Vec<Transfer>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "decoding is the work that is compared")]
struct Metadata {
    commit_id: Uuid,
}

impl Commit {
    pub(super) fn read(data: &[u8]) -> Result<Self> {
        Ok(serde_json::from_slice(data)?)
    }
}
