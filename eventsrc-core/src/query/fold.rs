//! Folds, which compute a value from the events of a stream.

use std::marker::PhantomData;
use std::ops::Range;

use jiff::Timestamp;

use crate::commit::{Commit, Event, Head};
use crate::snapshot::Snapshot;
use crate::storage::Page;
use crate::stream::Sequence;

/// Pure function that applies events to a value, one after the other.
///
/// One stream may serve many query keys: for example, a stream of taken names answers a query for each name. `apply`
/// therefore receives the key of the query. A fold whose query key names the stream ignores it.
///
/// A fold is pure: its result depends only on the key and the events. If results are stored as snapshots, a changed fold
/// needs a new [`version`](Fold::version).
///
/// ```
/// use eventsrc_core::{Event, Fold, StreamName};
///
/// enum Account { Opened, Deposited(u64), Closed }
///
/// /// Balance of an account; `None` before it is opened and after it is closed.
/// struct Balance;
///
/// impl Fold<StreamName, u64, Account> for Balance {
///     type Key = StreamName;
///     type Value = u64;
///
///     fn apply(&self, _: &StreamName, balance: &mut Option<u64>, event: Event<'_, StreamName, u64, Account>) {
///         match (event.payload, &mut *balance) {
///             (Account::Opened, _) => *balance = Some(0),
///             (Account::Deposited(amount), Some(balance)) => *balance += amount,
///             (Account::Deposited(_), None) => {}
///             (Account::Closed, _) => *balance = None,
///         }
///     }
/// }
/// ```
pub trait Fold<K, S, E>: Send + Sync + 'static {
    /// Key of the query.
    type Key: Send + Sync;
    /// Folded value.
    type Value: Send + Sync;

    /// Returns the value before any event. Default: `None`.
    fn initial(&self, _key: &Self::Key) -> Option<Self::Value> {
        None
    }

    /// Applies one event to the value. To delete the value, set it to `None`.
    fn apply(&self, key: &Self::Key, value: &mut Option<Self::Value>, event: Event<'_, K, S, E>);

    /// Returns the version of the fold. It must change whenever the code or the format of the value changes. Default: 1.
    fn version(&self) -> u32 {
        1
    }
}

/// Creates a fold from a closure, without an initial value and at version 1.
///
/// ```
/// # use eventsrc_core::{Event, StreamName, fold_fn};
/// let count = fold_fn(|_: &StreamName, count: &mut Option<usize>, _: Event<'_, StreamName, u64, String>| {
///     *count = Some(count.unwrap_or(0) + 1);
/// });
/// ```
pub fn fold_fn<K, S, E, QK, V, F>(apply: F) -> FoldFn<F, QK, V>
where
    F: Fn(&QK, &mut Option<V>, Event<'_, K, S, E>) + Send + Sync + 'static,
{
    FoldFn { apply, types: PhantomData }
}

/// Fold made from a closure by [`fold_fn`].
pub struct FoldFn<F, QK, V> {
    apply: F,
    types: PhantomData<fn(&QK) -> V>,
}

impl<K, S, E, QK, V, F> Fold<K, S, E> for FoldFn<F, QK, V>
where
    QK: Send + Sync + 'static,
    V: Send + Sync + 'static,
    F: Fn(&QK, &mut Option<V>, Event<'_, K, S, E>) + Send + Sync + 'static,
{
    type Key = QK;
    type Value = V;

    fn apply(&self, key: &QK, value: &mut Option<V>, event: Event<'_, K, S, E>) {
        (self.apply)(key, value, event);
    }
}

/// Last event that a fold includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until<S> {
    Latest,
    Sequence(S),
    Time(Timestamp),
}

/// Fold of one stream in progress.
pub(crate) struct Folding<'a, F, QK, V, S> {
    fold: &'a F,
    key: &'a QK,
    snapshot: Snapshot<S, V>,
}

impl<'a, F, QK, V, S: Sequence> Folding<'a, F, QK, V, S> {
    /// Continues from `start`, or from the initial value of the fold if `start` includes no event.
    pub(crate) fn new<K, E>(fold: &'a F, key: &'a QK, start: Snapshot<S, V>) -> Self
    where
        F: Fold<K, S, E, Key = QK, Value = V>,
    {
        let snapshot = if start.head.is_some() { start } else { Snapshot::initial(fold.initial(key)) };
        Self { fold, key, snapshot }
    }

    /// Applies the events of `page` up to `until`. Returns false if the page has events after `until`.
    pub(crate) fn page<K, E>(&mut self, page: &Page<K, S, E>, until: Until<S>) -> bool
    where
        F: Fold<K, S, E, Key = QK, Value = V>,
    {
        let (wanted, all) = match until {
            Until::Latest => (page.clone(), true),
            Until::Sequence(sequence) => page.take_while(|commit, index| commit.sequence(index) <= sequence),
            Until::Time(time) => page.take_while(|commit, _| commit.time <= time),
        };
        let (before, whole, after) = wanted.split();
        // The loop over whole commits contains only calls of the fold. The value is a local variable, so that it can
        // stay in registers, and all other work is done once for each page.
        let mut value = self.snapshot.value.take();
        if let Some((commit, indices)) = before {
            value = self.part(value, commit, indices);
        }
        for commit in whole {
            match commit.payloads.one_each() {
                Some(payloads) => {
                    for (index, payload) in payloads.iter().enumerate() {
                        self.fold.apply(self.key, &mut value, Event { commit, index, payload });
                    }
                }
                None => value = self.part(value, commit, 0..commit.len()),
            }
        }
        if let Some((commit, indices)) = after {
            value = self.part(value, commit, indices);
        }
        self.snapshot.value = value;
        if let Some(head) = wanted.head() {
            self.snapshot.reach(head, wanted.ends_inside_commit());
        }
        all
    }

    /// Applies one whole commit.
    pub(crate) fn commit<K, E>(&mut self, commit: &Commit<K, S, E>)
    where
        F: Fold<K, S, E, Key = QK, Value = V>,
    {
        let value = self.snapshot.value.take();
        self.snapshot.value = self.part(value, commit, 0..commit.len());
        self.snapshot.reach(commit.head(), false);
    }

    /// Applies the events of `commit` at `indices` to `value`.
    fn part<K, E>(&self, mut value: Option<V>, commit: &Commit<K, S, E>, indices: Range<usize>) -> Option<V>
    where
        F: Fold<K, S, E, Key = QK, Value = V>,
    {
        for event in commit.events_at(indices) {
            self.fold.apply(self.key, &mut value, event);
        }
        value
    }

    /// Applies the event of `commit` at `index`, and returns the snapshot after it.
    pub(crate) fn event<K, E>(&mut self, commit: &Commit<K, S, E>, index: usize) -> &Snapshot<S, V>
    where
        F: Fold<K, S, E, Key = QK, Value = V>,
    {
        let value = self.snapshot.value.take();
        self.snapshot.value = self.part(value, commit, index..index + 1);
        let head = Head { sequence: commit.sequence(index), ..commit.head() };
        self.snapshot.reach(head, index + 1 < commit.len());
        &self.snapshot
    }

    pub(crate) fn into_snapshot(self) -> Snapshot<S, V> {
        self.snapshot
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vec1::Vec1;

    use super::*;
    use crate::commit::{CommitId, Metadata};

    fn stream() -> Arc<Vec<Arc<Commit<(), u64, u64>>>> {
        let commit = |first: u64, len: u64| {
            let payloads = Vec1::try_from_vec((first..first + len).collect()).unwrap().into();
            let time = Timestamp::from_second(first as i64).unwrap();
            Arc::new(Commit {
                key: (),
                first,
                previous: None,
                time,
                metadata: Metadata::new(CommitId(uuid::Uuid::nil())),
                payloads,
            })
        };
        Arc::new(vec![commit(1, 1), commit(2, 3), commit(5, 4), commit(9, 1), commit(10, 2)])
    }

    #[test]
    fn a_page_is_folded_from_any_event_to_any_other() {
        let fold = fold_fn(|_: &(), seen: &mut Option<Vec<u64>>, event: Event<'_, (), u64, u64>| {
            assert_eq!(event.sequence(), *event.payload);
            seen.get_or_insert_default().push(*event.payload);
        });
        for from in 1..=11 {
            let page = Page::starting_at(stream(), Some(from));
            for until in 1..=12 {
                let mut folding = Folding::new(&fold, &(), Snapshot::initial(None));
                assert_eq!(folding.page(&page, Until::Sequence(until)), until >= 11, "{from} to {until}");
                let snapshot = folding.into_snapshot();
                let expected: Vec<u64> = (from..=until.min(11)).collect();
                assert_eq!(snapshot.sequence(), expected.last().copied(), "{from} to {until}");
                assert_eq!(snapshot.value.unwrap_or_default(), expected, "{from} to {until}");
            }
        }
    }

    #[test]
    fn a_fold_until_a_time_ends_between_commits() {
        let count = fold_fn(|_: &(), count: &mut Option<u64>, _: Event<'_, (), u64, u64>| {
            *count = Some(count.unwrap_or(0) + 1);
        });
        let mut folding = Folding::new(&count, &(), Snapshot::initial(None));
        let until = Until::Time(Timestamp::from_second(8).unwrap());
        assert!(!folding.page(&Page::starting_at(stream(), None), until));
        assert_eq!(folding.into_snapshot().value, Some(8));
    }
}
