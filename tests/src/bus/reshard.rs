//! Splitting and merging the shards of a stream.

use anyhow::{Context as _, Result};
use eventsrc_kinesis::aws_sdk_kinesis::Client;
use rand::RngExt;
use rand::rngs::StdRng;

use super::Bus;
use crate::kinesis::active;

/// The open shards of a stream in the order of their hash keys, each with its lowest and highest hash key.
pub(super) async fn open_shards(client: &Client, stream: &str) -> Result<Vec<(u128, u128, String)>> {
    let listed = client.list_shards().stream_name(stream).send().await?;
    let mut open = Vec::new();
    for shard in listed.shards.unwrap_or_default() {
        if shard.sequence_number_range.is_none_or(|range| range.ending_sequence_number.is_none()) {
            let range = shard.hash_key_range.context("a shard has a range")?;
            open.push((range.starting_hash_key.parse()?, range.ending_hash_key.parse()?, shard.shard_id));
        }
    }
    open.sort();
    Ok(open)
}

/// Splits the open shard at index `place` in the middle.
///
/// # Errors
///
/// If the service fails.
pub async fn split(client: &Client, stream: &str, place: usize) -> Result<()> {
    let (from, to, shard) = open_shards(client, stream).await?.swap_remove(place);
    let middle = (from + (to - from) / 2 + 1).to_string();
    client
        .split_shard()
        .stream_name(stream)
        .shard_to_split(shard)
        .new_starting_hash_key(middle)
        .send()
        .await?;
    active(client, stream).await;
    Ok(())
}

/// Merges the open shard at index `place` with the next one.
///
/// # Errors
///
/// If the service fails.
pub async fn merge(client: &Client, stream: &str, place: usize) -> Result<()> {
    let open = open_shards(client, stream).await?;
    let merge = client.merge_shards().stream_name(stream);
    merge.shard_to_merge(&open[place].2).adjacent_shard_to_merge(&open[place + 1].2).send().await?;
    active(client, stream).await;
    Ok(())
}

/// Splits one shard or merges two, so that there are about four.
pub(super) async fn reshard(bus: &Bus, random: &mut StdRng) -> Result<()> {
    let (client, stream) = (bus.kinesis_client(), &bus.stream);
    let count = open_shards(&client, stream).await?.len();
    if count <= 4 {
        split(&client, stream, random.random_range(0..count)).await
    } else {
        merge(&client, stream, random.random_range(0..count - 1)).await
    }
}
