//! Tests of folds and operations as scenarios: given these events, when an operation decides, then it saves those events,
//! does nothing or rejects. A scenario that does not hold panics with a diff.
//!
//! ```
//! use eventsrc_core::{Decision, Event, Operation, Snapshot, StreamName, fold_fn};
//! use eventsrc_testkit::scenario::given;
//!
//! #[derive(Debug, Clone, PartialEq)]
//! enum Account { Opened, Deposited(u64), Withdrawn(u64) }
//! use Account::*;
//!
//! let balance = || fold_fn(|_: &StreamName, balance: &mut Option<u64>, event: Event<'_, StreamName, u64, Account>| {
//!     match event.payload {
//!         Opened => *balance = Some(0),
//!         Deposited(amount) => *balance = balance.map(|balance| balance + amount),
//!         Withdrawn(amount) => *balance = balance.map(|balance| balance - amount),
//!     }
//! });
//! let withdraw = |amount| Operation::new(move |account: &Snapshot<u64, u64>| match account.value {
//!     Some(balance) if balance >= amount => Decision::save(Withdrawn(amount)),
//!     Some(_) => Decision::reject("the balance is too low"),
//!     None => Decision::reject("there is no such account"),
//! });
//! let account: StreamName = "account/42".parse()?;
//!
//! // A fold:
//! given([Opened, Deposited(5)]).folding(balance(), account.clone()).gives(5);
//! given([]).folding(balance(), account.clone()).gives_nothing();
//!
//! // Operations on a folded value, one or a batch:
//! given([Opened, Deposited(5)]).folding(balance(), account.clone()).when(withdraw(3)).then_saves([Withdrawn(3)]);
//! given([]).folding(balance(), account.clone()).when(withdraw(3)).then_rejects(["there is no such account"]);
//! given([Opened, Deposited(5)])
//!     .folding(balance(), account)
//!     .when_all([withdraw(3), withdraw(3)])
//!     .then_rejects(["the balance is too low"]);
//!
//! // An operation on the latest sequence:
//! given([Opened]).when(Operation::<_, &str, Option<u64>>::new(|_| Decision::Nothing)).then_does_nothing();
//! given([Opened]).when(Operation::<_, _, Option<u64>>::if_absent(Opened)).then_saves_nothing();
//! # Ok::<(), eventsrc_core::stream::InvalidStreamName>(())
//! ```

use std::fmt::{Debug, Write};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_core::commit::Vec1;
use eventsrc_core::save::{SaveError, SaveSettings};
use eventsrc_core::storage::Put;
use eventsrc_core::stream::Zone;
use eventsrc_core::{
    Commit, Consistency, Context, Decider, EventStorage, Fold, Head, MemoryStorage, Metadata, Operation,
    Outcome, Query, QueryApi, SaveApi, Sequence, Snapshot, StreamKey, StreamName, Timestamp,
};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use similar::{ChangeTag, TextDiff};

/// Returns a stream with these events, one commit per event, one second apart.
pub fn given<E>(events: impl IntoIterator<Item = E>) -> Given<StreamName, E> {
    let stream = StreamName::new("scenario", "1").expect("the name is well-formed");
    Given { stream, events: events.into_iter().collect() }
}

/// A stream with events. [`given`] creates it.
#[derive(Debug)]
#[must_use = "a scenario without a `then` checks nothing"]
pub struct Given<K, E> {
    stream: K,
    events: Vec<E>,
}

/// A stream with events, and a fold of the stream.
#[derive(Debug)]
#[must_use = "a scenario without a `then` checks nothing"]
pub struct Folding<K, S, E, F: Fold<K, S, E>> {
    given: Written<K, S, E>,
    fold: F,
    key: F::Key,
}

/// Result of an operation, or of a batch of operations.
#[derive(Debug)]
#[must_use = "a scenario without a `then` checks nothing"]
pub struct Then<E, R> {
    given: String,
    answer: Answer<E, R>,
}

/// Answer of an operation, or of a batch of operations.
#[derive(Debug, PartialEq)]
enum Answer<E, R> {
    Saves(Vec<E>),
    DoesNothing,
    Rejects(Vec<R>),
}

impl<K: StreamKey, E: Clone + Debug + Send + Sync + 'static> Given<K, E> {
    /// Moves the events to the stream of `key`, for folds that need a key of another type.
    pub fn in_stream<K2>(self, key: K2) -> Given<K2, E> {
        Given { stream: key, events: self.events }
    }

    /// Folds the events for `key`.
    pub fn folding<S: Sequence, F: Fold<K, S, E>>(self, fold: F, key: F::Key) -> Folding<K, S, E, F> {
        Folding { given: self.write(), fold, key }
    }

    /// Saves what `operation` decides on the latest sequence.
    #[track_caller]
    pub fn when<S: Sequence, R>(self, operation: Operation<E, R, Option<S>>) -> Then<E, R> {
        self.when_all([operation])
    }

    /// Saves what all `operations` decide, in one commit or not at all.
    #[track_caller]
    pub fn when_all<S: Sequence, R>(
        self,
        operations: impl IntoIterator<Item = Operation<E, R, Option<S>>>,
    ) -> Then<E, R> {
        let given = self.write();
        let operations: Vec<_> = operations.into_iter().collect();
        let saves = given.saves();
        let outcome = run_now(saves.save_all(&given.stream, &Context::default(), &operations));
        given.then(outcome)
    }

    fn write<S: Sequence>(self) -> Written<K, S, E> {
        let written = Written {
            stream: self.stream,
            storage: Arc::default(),
            text: String::new(),
            count: self.events.len(),
        };
        let ids = Randomness::seeded(0);
        let (mut latest, mut text) = (None, String::new());
        for (second, event) in (0..).zip(self.events) {
            writeln!(text, "{event:#?}").expect("a string takes text");
            let end = latest.map(|head: Head<S>| head.sequence);
            let first = S::following(end, Zone::default()).expect("a scenario is short");
            let previous = latest.and_then(|head| head.commit_id);
            let time = Timestamp::from_second(second).expect("a scenario is short");
            let metadata = Metadata::new(ids.commit_id(time));
            let key = written.stream.clone();
            let commit = Commit { key, first, previous, time, metadata, payloads: Vec1::new(event).into() };
            let head = commit.head();
            match run_now(written.storage.put(Arc::new(commit))) {
                Ok(Put::Stored) => latest = Some(head),
                other => panic!("the given events cannot be stored: {other:?}"),
            }
        }
        Written { text, ..written }
    }
}

impl<K, S, E, F> Folding<K, S, E, F>
where
    K: StreamKey,
    S: Sequence,
    E: Clone + Debug + Send + Sync + 'static,
    F: Fold<K, S, E>,
{
    /// Asserts that the value is `expected`.
    #[expect(clippy::needless_pass_by_value, reason = "a scenario reads better without a reference")]
    #[track_caller]
    pub fn gives(self, expected: F::Value)
    where
        F::Value: Debug + PartialEq,
    {
        self.gives_optional(Some(&expected));
    }

    /// Asserts that there is no value: none was ever set, or it was deleted.
    #[track_caller]
    pub fn gives_nothing(self)
    where
        F::Value: Debug + PartialEq,
    {
        self.gives_optional(None);
    }

    /// Saves what `operation` decides on the folded value.
    #[track_caller]
    pub fn when<R>(self, operation: Operation<E, R, Snapshot<S, F::Value>>) -> Then<E, R>
    where
        F::Key: Clone + Eq + Hash,
        F::Value: Clone,
    {
        self.when_all([operation])
    }

    /// Saves what all `operations` decide, in one commit or not at all. Each operation sees the effect of those
    /// before it.
    #[track_caller]
    pub fn when_all<R>(
        self,
        operations: impl IntoIterator<Item = Operation<E, R, Snapshot<S, F::Value>>>,
    ) -> Then<E, R>
    where
        F::Key: Clone + Eq + Hash,
        F::Value: Clone,
    {
        let Self { given, fold, key } = self;
        let operations: Vec<_> = operations.into_iter().collect();
        let decider = Decider::with(given.saves(), |storage| given.query(storage, fold));
        let outcome = run_now(decider.save_all(&key, &Context::default(), &operations));
        given.then(outcome)
    }

    #[track_caller]
    fn gives_optional(self, expected: Option<&F::Value>)
    where
        F::Value: Debug + PartialEq,
    {
        let Self { given, fold, key } = self;
        let query = given.query(Arc::clone(&given.storage), fold);
        let actual = run_now(query.get(&key, Consistency::LatestEvent)).expect("memory can be read");
        let show = |value: Option<&F::Value>| {
            value.map_or_else(|| "gives nothing\n".into(), |value| format!("gives\n{value:#?}\n"))
        };
        if expected != actual.as_ref() {
            fail(&given.text, &show(expected), &show(actual.as_ref()));
        }
    }
}

impl<E: Debug + PartialEq, R: Debug + PartialEq> Then<E, R> {
    /// Asserts that exactly these events are saved, in this order.
    #[track_caller]
    pub fn then_saves(self, events: impl IntoIterator<Item = E>) {
        self.then(&Answer::Saves(events.into_iter().collect()));
    }

    /// Asserts that there is nothing to do: nothing is saved, and nothing is rejected.
    #[track_caller]
    pub fn then_does_nothing(self) {
        self.then(&Answer::DoesNothing);
    }

    /// Asserts that nothing is saved, for exactly these reasons and in this order.
    #[track_caller]
    pub fn then_rejects(self, reasons: impl IntoIterator<Item = R>) {
        self.then(&Answer::Rejects(reasons.into_iter().collect()));
    }

    /// Asserts that nothing is saved: the operation rejects for any reasons, or there is nothing to do.
    #[track_caller]
    pub fn then_saves_nothing(self) {
        if let Answer::Saves(_) = self.answer {
            fail(&self.given, "saves nothing\n", &show(&self.answer));
        }
    }

    #[track_caller]
    fn then(self, expected: &Answer<E, R>) {
        if self.answer != *expected {
            fail(&self.given, &show(expected), &show(&self.answer));
        }
    }
}

/// A storage with the given events, as a real save finds it.
#[derive(Debug)]
struct Written<K, S, E> {
    stream: K,
    storage: Arc<MemoryStorage<K, S, E>>,
    text: String,
    count: usize,
}

impl<K: StreamKey, S: Sequence, E: Clone + Debug + Send + Sync + 'static> Written<K, S, E> {
    fn saves(&self) -> Arc<SaveApi<Arc<MemoryStorage<K, S, E>>>> {
        let clock = Arc::new(Still(Timestamp::from_second(self.count as i64).expect("a scenario is short")));
        let randomness = Arc::new(Randomness::seeded(1));
        Arc::new(SaveApi::with(Arc::clone(&self.storage), SaveSettings::default(), clock, randomness))
    }

    fn query<F: Fold<K, S, E>>(
        &self,
        storage: Arc<MemoryStorage<K, S, E>>,
        fold: F,
    ) -> QueryApi<Arc<MemoryStorage<K, S, E>>, F> {
        let stream = self.stream.clone();
        QueryApi::keyed(storage, fold, move |_| stream.clone())
    }

    #[track_caller]
    fn then<R>(self, outcome: Result<Outcome<R, S>, SaveError>) -> Then<E, R> {
        let answer = match outcome {
            Ok(Outcome::Saved(_)) => Answer::Saves(self.saved()),
            Ok(Outcome::Unchanged(_)) => Answer::DoesNothing,
            Ok(Outcome::Rejected { reasons, .. }) => Answer::Rejects(reasons.into()),
            Ok(Outcome::Contended { .. }) => unreachable!("there is no other writer"),
            Err(error) => panic!("the operations cannot be saved: {:?}", error.source),
        };
        Then { given: self.text, answer }
    }

    fn saved(&self) -> Vec<E> {
        let pages: Vec<_> =
            run_now(self.storage.events(&self.stream, None).try_collect()).expect("memory can be read");
        pages
            .iter()
            .flat_map(|page| page.events())
            .skip(self.count)
            .map(|event| event.payload.clone())
            .collect()
    }
}

/// A clock that stands still.
struct Still(Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        unreachable!("there is no other writer, so no attempt is repeated")
    }
}

fn run_now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("memory never waits")
}

fn show<E: Debug, R: Debug>(answer: &Answer<E, R>) -> String {
    let (mut text, lines): (_, Vec<_>) = match answer {
        Answer::Saves(events) => {
            ("saves\n".to_owned(), events.iter().map(|event| format!("{event:#?}\n")).collect())
        }
        Answer::DoesNothing => ("does nothing\n".into(), Vec::new()),
        Answer::Rejects(reasons) => {
            ("rejects\n".into(), reasons.iter().map(|reason| format!("{reason:#?}\n")).collect())
        }
    };
    text.extend(lines);
    text
}

#[track_caller]
fn fail(given: &str, expected: &str, actual: &str) -> ! {
    let mut text = String::from("the scenario does not hold\n\ngiven");
    if given.is_empty() {
        text.push_str(" no events");
    }
    for line in given.lines() {
        text.extend(["\n  ", line]);
    }
    text.push_str("\n\nthen it (- expected, + actual)\n");
    for change in TextDiff::from_lines(expected, actual).iter_all_changes() {
        let sign = match change.tag() {
            ChangeTag::Delete => "- ",
            ChangeTag::Insert => "+ ",
            ChangeTag::Equal => "  ",
        };
        text.extend([sign, change.value()]);
    }
    if expected == actual {
        text.push_str("\nthe two print the same, but are not equal\n");
    }
    panic!("{text}");
}
