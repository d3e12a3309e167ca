//! Puts of commits that no stream can hold: inside a commit, past the last sequence, or under malformed names.

use std::sync::Arc;

use eventsrc_core::backend::PayloadsDecoder;
use eventsrc_core::codec::{Codec, CodecError};
use eventsrc_core::storage::Put;
use eventsrc_core::{ErrorKind, EventStorage, StreamName, Timestamp};

use super::backend::Backend;
use super::sample::{Sample, SampleKey};
use super::trial::{Trial, ensure_same_commit};
use super::violation::{RuleResult, Violation};

const LAST: u64 = i64::MAX as u64;

/// A put at any sequence inside a stored commit is a conflict, and changes nothing.
pub(super) async fn a_put_inside_a_commit_is_a_conflict<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 5, 2]);
    storage.stores_all(&stored).await?;
    for number in [2, 4, 5, 6, 7, 9] {
        storage.conflicts(&on.commit("a", number, 1)).await?;
    }
    storage.holds("a", &stored).await
}

/// A put that starts inside the latest commit and runs past its end is a conflict, and changes nothing.
pub(super) async fn a_put_that_begins_inside_the_latest_commit_is_a_conflict<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [3]);
    storage.stores_all(&stored).await?;
    storage.conflicts(&on.commit("a", 2, 5)).await?;
    storage.conflicts(&on.commit("a", 3, 5)).await?;
    storage.holds("a", &stored).await
}

/// A put inside a stored commit under that commit's id is a conflict, because the commit is not stored at that
/// sequence.
pub(super) async fn a_put_inside_a_commit_under_its_id_is_a_conflict<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.commit("a", 1, 3);
    storage.stores(&stored).await?;
    let mut inside = on.draft("a", 2, 2);
    inside.metadata = stored.metadata.clone();
    storage.conflicts(&inside.into()).await?;
    storage.holds("a", &[stored]).await
}

/// A conflict inside a commit carries that commit.
pub(super) async fn a_conflict_inside_a_commit_carries_that_commit<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 4, 1]);
    storage.stores_all(&stored).await?;
    for number in [4, 6] {
        let conflict = storage.conflicts(&on.commit("a", number, 1)).await?;
        let existing = conflict.existing.ok_or_else(|| Violation::new("the conflict carries no commit"))?;
        ensure_same_commit::<B>(&existing, &stored[1])?;
    }
    Ok(())
}

/// A commit that runs past the last sequence is refused, on an empty stream and on one with events.
pub(super) async fn a_commit_past_the_last_sequence_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&on.chain("b", [1])).await?;
    for key in ["a", "b"] {
        storage.refuses(&on.commit(key, LAST, 2)).await?;
        storage.refuses(&on.commit(key, LAST - 3, 9)).await?;
    }
    Ok(())
}

/// A refused commit past the last sequence changes nothing.
pub(super) async fn a_commit_past_the_last_sequence_changes_nothing<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.refuses(&on.commit("a", LAST, 2)).await?;
    storage.holds("a", &[]).await?;
    let stored = on.chain("b", [2]);
    storage.stores_all(&stored).await?;
    storage.refuses(&on.commit("b", LAST, 2)).await?;
    storage.holds("b", &stored).await
}

/// A commit at the first sequence that names a previous one is refused, because there is none.
pub(super) async fn a_first_commit_with_a_previous_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&on.chain("b", [1])).await?;
    let mut first = on.draft("a", 1, 2);
    first.previous = Some(on.commit("b", 1, 1).metadata.commit_id);
    storage.refuses(&first.into()).await?;
    storage.holds("a", &[]).await?;
    storage.round_trips(&on.chain("a", [1])).await
}

/// A name without a category is refused.
pub(super) async fn a_name_without_a_category_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    on.open().await.refuses(&on.commit(("", "1"), 1, 1)).await.map(drop)
}

/// A name without an id is refused.
pub(super) async fn a_name_without_an_id_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    on.open().await.refuses(&on.commit(("user", ""), 1, 1)).await.map(drop)
}

/// A category with a slash is refused, because the name could be that of another stream.
pub(super) async fn a_category_with_a_slash_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    on.open().await.refuses(&on.commit(("a/b", "c"), 1, 1)).await.map(drop)
}

/// A name with U+0000 is refused, because some stores cannot hold it.
pub(super) async fn a_name_with_a_zero_character_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.refuses(&on.commit(("user", "a\0b"), 1, 1)).await?;
    storage.refuses(&on.commit(("us\0er", "a"), 1, 1)).await.map(drop)
}

/// Names of 16,385 bytes and more are refused, and nothing is stored under them.
pub(super) async fn a_new_stream_with_a_longer_name_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    for length in [StreamName::LONGEST + 1, StreamName::LONGEST + 2, 20_000] {
        let id = name_of(length);
        storage.refuses(&on.commit(("user", &*id), 1, 2)).await?;
        storage.holds(("user", &*id), &[]).await?;
    }
    // The limit is in bytes, and for the whole name.
    storage.refuses(&on.commit(("user", &*"é".repeat(8_190)), 1, 1)).await?;
    let category = "c".repeat(16_000);
    storage.refuses(&on.commit((&*category, &*"x".repeat(384)), 1, 1)).await.map(drop)
}

/// Names of exactly 1,024 bytes are stored, and differ in their last byte.
pub(super) async fn names_that_every_backend_stores_are_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let id = name_of(StreamName::LONGEST_EVERYWHERE);
    let other = format!("{}~", &id[..id.len() - 1]);
    for id in [&id, &other] {
        storage.round_trips(&on.chain(("user", &**id), [1, 2])).await?;
    }
    let category = "c".repeat(1_000);
    storage.round_trips(&on.chain((&*category, &*"x".repeat(23)), [1])).await
}

/// Longer names, up to the limit of all backends, are stored and kept apart to their last byte, or refused.
pub(super) async fn a_longer_name_is_stored_whole_or_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    for length in [1_025, 2_048, 2_049, 2_705, 10_000, StreamName::LONGEST] {
        let id = name_of(length);
        let other = format!("{}~", &id[..id.len() - 1]);
        for id in [&id, &other] {
            let chain = on.chain(("user", &**id), [1, 2]);
            match storage.storage().put(Arc::clone(&chain[0])).await {
                Ok(Put::Stored) => {
                    storage.stores(&chain[1]).await?;
                    storage.holds(("user", &**id), &chain).await?;
                }
                Err(error) if error.kind() == ErrorKind::Invalid => {
                    storage.holds(("user", &**id), &[]).await?;
                }
                other => {
                    return Err(Violation::new(format!(
                        "a put to a name of {length} bytes came to {other:?}"
                    )));
                }
            }
        }
    }
    Ok(())
}

/// Id of a stream of users whose name has `length` bytes, which do not compress.
fn name_of(length: usize) -> String {
    let mut state = 1_u32;
    let letter = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'!' + (state >> 24) as u8 % 90)
    };
    (0..length - "user/".len()).map(letter).collect()
}

/// A commit in the last second that there is, which has no microseconds, is refused.
pub(super) async fn a_time_that_would_not_come_back_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1]);
    storage.stores_all(&stored).await?;
    let mut late = on.draft("a", 2, 1);
    late.time = Timestamp::MAX;
    storage.refuses(&late.into()).await?;
    storage.holds("a", &stored).await?;
    storage.round_trips(&on.chain("b", [1])).await
}

/// A commit with an event that an upcaster dropped is refused, whether it is the only one or not.
pub(super) async fn a_commit_with_an_event_without_a_payload_is_refused<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    refuses_payloads(on, &[&[0], &[1, 0], &[0, 1]]).await
}

/// A commit with an event that an upcaster split is refused, also if it has as many payloads as events.
pub(super) async fn a_commit_with_a_split_event_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    refuses_payloads(on, &[&[2], &[1, 2], &[2, 0]]).await
}

/// Checks that commits whose events have these numbers of payloads are refused, and that nothing of them is stored.
async fn refuses_payloads<B: Backend>(on: &Trial<B>, commits: &[&[usize]]) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1]);
    storage.stores_all(&stored).await?;
    for events in commits {
        let mut decoder = PayloadsDecoder::with_capacity(events.len());
        for number in *events {
            decoder.decode(&Copies(*number), 1, &[]).map_err(|error| Violation::new(error.to_string()))?;
        }
        let mut commit = on.draft("a", 2, events.len());
        commit.payloads = decoder.finish().ok_or_else(|| Violation::new("there is an event"))?;
        storage.refuses(&commit.into()).await?;
        storage.holds("a", &stored).await?;
    }
    Ok(())
}

/// Codec that reads an event as this number of payloads.
struct Copies(usize);

impl Codec<Sample> for Copies {
    fn version(&self) -> u32 {
        1
    }

    fn is_text(&self) -> bool {
        false
    }

    fn encode(&self, _: &Sample, _: &mut Vec<u8>) -> Result<(), CodecError> {
        Ok(())
    }

    fn decode(&self, _: u32, _: &[u8]) -> Result<Sample, CodecError> {
        Ok(Sample::Nothing)
    }

    fn decode_event(&self, _: u32, _: &[u8], values: &mut Vec<Sample>) -> Result<(), CodecError> {
        values.resize(values.len() + self.0, Sample::Nothing);
        Ok(())
    }
}

/// A put under a malformed name does not change the streams with a similar name.
pub(super) async fn a_put_under_a_malformed_name_changes_nothing<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    for (malformed, similar) in [(("a/b", "c"), ("a", "b/c")), (("user", "a\0b"), ("user", "a"))] {
        let similar = SampleKey::from(similar);
        let stored = on.chain(&similar, [1]);
        storage.stores_all(&stored).await?;
        storage.refuses(&on.commit(malformed, 2, 1)).await?;
        storage.holds(&similar, &stored).await?;
    }
    Ok(())
}
