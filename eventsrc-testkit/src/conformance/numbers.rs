//! Rules for storages of `u64` sequences. Their sequence type has values that are no sequences, such as 0.

use eventsrc_core::EventStorage;

use super::backend::Backend;
use super::rule::rules;
use super::suite::Suite;
use super::trial::Trial;
use super::violation::RuleResult;

/// Returns the rules of [`EventStorage`] that only a storage of `u64` sequences can violate.
pub fn number_suite<B: Backend<Storage: EventStorage<Sequence = u64>>>() -> Suite<B> {
    use super::numbers as rules;
    Suite::new(rules! { Trial;
        "A put of a commit that begins before the first sequence or extends past the last one, that has a malformed \
         stream name, or that is the first of its stream and names a previous one, is an error of kind `Invalid`." => rules [
            a_commit_before_the_first_sequence_is_refused,
            a_commit_past_the_last_number_is_refused,
        ];
        "An error of kind `Invalid`, `Diverged` or `Overloaded` means that the put stored nothing." => rules [
            a_commit_before_the_first_sequence_changes_nothing,
        ];
    })
}

/// A commit that begins at number 0 is refused, on an empty stream and on one with events, also if its later events
/// have sequences.
pub(super) async fn a_commit_before_the_first_sequence_is_refused<B>(on: &Trial<B>) -> RuleResult
where
    B: Backend<Storage: EventStorage<Sequence = u64>>,
{
    let storage = on.open().await;
    storage.stores_all(&on.chain("b", [2])).await?;
    for key in ["a", "b"] {
        for events in [1, 2, 5] {
            let mut before = on.draft(key, 1, events);
            before.first = 0;
            storage.refuses(&before.into()).await?;
        }
    }
    Ok(())
}

/// A refused commit at number 0 changes nothing.
pub(super) async fn a_commit_before_the_first_sequence_changes_nothing<B>(on: &Trial<B>) -> RuleResult
where
    B: Backend<Storage: EventStorage<Sequence = u64>>,
{
    let storage = on.open().await;
    let mut before = on.draft("a", 1, 2);
    before.first = 0;
    storage.refuses(&before.clone().into()).await?;
    storage.holds("a", &[]).await?;
    let stored = on.chain("a", [1, 1]);
    storage.stores_all(&stored).await?;
    storage.refuses(&before.into()).await?;
    storage.holds("a", &stored).await
}

/// A commit at a number past the last sequence is refused, also at the greatest number.
pub(super) async fn a_commit_past_the_last_number_is_refused<B>(on: &Trial<B>) -> RuleResult
where
    B: Backend<Storage: EventStorage<Sequence = u64>>,
{
    let storage = on.open().await;
    for first in [i64::MAX as u64 + 1, u64::MAX - 1, u64::MAX] {
        for events in [1, 2, 3] {
            let mut past = on.draft("a", 1, events);
            past.first = first;
            storage.refuses(&past.into()).await?;
        }
    }
    Ok(())
}
