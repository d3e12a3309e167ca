//! Tests specific to DynamoDB: request costs, the check before a put, restored tables, large streams, lost requests
//! and replies, frozen servers, service failures and wrong set-ups.

mod costs;
mod cut_connections;
mod faults;
mod faulty;
mod frozen;
mod production;
mod restored;
mod set_up;
mod streams;
mod strict_puts;
mod tables;
mod truncated_replies;

use std::sync::Arc;

use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::commit::Vec1;
use eventsrc_core::storage::Put;
use eventsrc_core::{Commit, EventStorage, Metadata, StreamName};
use eventsrc_dynamo::DynamoStorage;

type Storage = DynamoStorage<StreamName, u64, String>;

/// Stores a commit with these payloads at `first`.
async fn put(
    storage: &Storage,
    stream: &str,
    first: u64,
    texts: &[&str],
) -> Arc<Commit<StreamName, u64, String>> {
    let commit = commit(stream, first, texts);
    let put = storage.put(Arc::clone(&commit)).await.unwrap();
    assert!(matches!(put, Put::Stored), "{put:?}");
    commit
}

fn commit(stream: &str, first: u64, texts: &[&str]) -> Arc<Commit<StreamName, u64, String>> {
    let payloads = Vec1::try_from_vec(texts.iter().map(|text| (*text).to_owned()).collect()).unwrap().into();
    let time = SystemClock.now();
    let metadata = Metadata::new(Randomness::from_system().commit_id(time));
    Arc::new(Commit { key: stream.parse().unwrap(), first, previous: None, time, metadata, payloads })
}

/// A text that deflate hardly shortens.
fn noise(seed: u64, length: usize) -> String {
    let mut state = seed | 1;
    let letters = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    });
    letters.filter(|letter| !['"', '\\'].contains(letter)).take(length).collect()
}
