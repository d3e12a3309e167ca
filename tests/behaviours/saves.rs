//! Operations and saves: conditions, batches and repeated commands.

use std::sync::Arc;

use eventsrc_core::clock::Randomness;
use eventsrc_core::save::PreconditionFailed;
use eventsrc_core::{
    CommitId, Consistency, Context, Decider, Decision, EventStorage, Operation, Outcome, Query, Snapshot,
    Token,
};
use futures::TryStreamExt;

use super::directory::{
    A, Directory, Entry, Letter, by_name, deleted, directory, moved, reasons, saves, second, sequence, set,
};

async fn payloads(directory: &Directory) -> Vec<Entry> {
    let pages: Vec<_> = directory.events(&A, None).try_collect().await.unwrap();
    pages.iter().flat_map(|page| page.events().map(|event| event.payload.clone())).collect()
}

#[tokio::test]
async fn insert_saves_without_a_condition() {
    let directory = directory();
    let saves = saves(Arc::clone(&directory));
    for expected in 1..=3 {
        let outcome = saves.save(&A, Operation::insert(set("ada", 1))).await.unwrap();
        assert_eq!((sequence(outcome.clone()), outcome.retries()), (expected, 0));
    }
}

#[tokio::test]
async fn insert_if_absent_succeeds_once() {
    let directory = directory();
    let saves = saves(Arc::clone(&directory));
    let if_absent = || Operation::if_absent(set("ada", 1));
    assert_eq!(sequence(saves.save(&A, if_absent()).await.unwrap()), 1);
    let rejected = saves.save(&A, if_absent()).await.unwrap();
    assert_eq!(reasons(rejected), [PreconditionFailed::Present { at: Some("1".into()) }]);
    assert_eq!(payloads(&directory).await.len(), 1);
}

#[tokio::test]
async fn conditional_insert_and_delete_succeed_and_fail() {
    let directory = directory();
    let saves = saves(Arc::clone(&directory));
    let save = |expected, event| saves.save(&A, Operation::if_seq(expected, event));
    assert_eq!(reasons(save(Some(1), set("ada", 1)).await.unwrap()), moved(Some(1), None));
    assert_eq!(sequence(save(None, set("ada", 1)).await.unwrap()), 1);
    assert_eq!(reasons(save(None, set("ada", 2)).await.unwrap()), moved(None, Some(1)));
    assert_eq!(sequence(save(Some(1), deleted("ada")).await.unwrap()), 2);
    assert_eq!(reasons(save(Some(1), deleted("ada")).await.unwrap()), moved(Some(1), Some(2)));
    assert_eq!(payloads(&directory).await, [set("ada", 1), deleted("ada")]);
}

#[tokio::test]
async fn a_token_is_a_condition() {
    let directory = directory();
    let saves = saves(Arc::clone(&directory));
    let nothing = Token::default();
    let first =
        saves.save(&A, Operation::if_token(&nothing, &A, set("ada", 1))).await.unwrap().saved().unwrap();
    assert_eq!(first.token.sequence::<u64, _>(&A), Some(1));
    assert_eq!(
        sequence(saves.save(&A, Operation::if_token(&first.token, &A, set("ada", 2))).await.unwrap()),
        2
    );
    let late = saves.save(&A, Operation::if_token(&first.token, &A, set("ada", 3))).await.unwrap();
    assert_eq!(reasons(late), moved(Some(1), Some(2)));
}

#[tokio::test]
async fn a_batch_is_one_commit_and_each_operation_sees_those_before_it() {
    let directory = directory();
    let saves = saves(Arc::clone(&directory));
    let batch = [
        Operation::if_absent(set("ada", 1)),
        Operation::if_seq(Some(1), set("ada", 2)),
        Operation::if_seq(Some(2), deleted("ada")),
    ];
    assert_eq!(sequence(saves.save_all(&A, &Context::default(), &batch).await.unwrap()), 3);
    let pages: Vec<_> = directory.events(&A, None).try_collect().await.unwrap();
    assert_eq!(pages[0].commits().len(), 1);
}

#[tokio::test]
async fn a_batch_is_saved_completely_or_not_at_all() {
    let directory = directory();
    let saves = saves(Arc::clone(&directory));
    let batch = [Operation::if_absent(set("ada", 1)), Operation::if_absent(set("ada", 2))];
    let rejected = saves.save_all(&A, &Context::default(), &batch).await.unwrap();
    assert_eq!(reasons(rejected), [PreconditionFailed::Present { at: Some("1".into()) }]);
    assert_eq!(payloads(&directory).await, []);
}

#[tokio::test]
async fn an_empty_batch_is_an_error_of_the_caller() {
    let none: [Operation<Entry>; 0] = [];
    let error = saves(directory()).save_all(&A, &Context::default(), &none).await.unwrap_err();
    assert_eq!(error.source.kind(), eventsrc_core::ErrorKind::Invalid);
}

#[tokio::test]
async fn and_needs_both_and_or_else_needs_one() {
    let (yes, no) = (
        |name: &'static str| Operation::<_, PreconditionFailed>::insert(set(name, 1)),
        |expected| Operation::<_, PreconditionFailed>::if_seq(Some(expected), set("no", 0)),
    );
    let decide = |operation: Operation<Entry>| operation.decide(&None);
    let saved = |names: &[&str]| {
        Decision::Save(names.iter().map(|name| set(name, 1)).collect::<Vec<_>>().try_into().unwrap())
    };
    let rejected = |sequences: &[u64]| {
        let reasons: Vec<_> = sequences.iter().flat_map(|sequence| moved(Some(*sequence), None)).collect();
        Decision::Reject(reasons.try_into().unwrap())
    };
    assert_eq!(decide(yes("a").and(yes("b"))), saved(&["a", "b"]));
    assert_eq!(decide(yes("a").and(no(8))), rejected(&[8]));
    assert_eq!(decide(no(7).and(no(8))), rejected(&[7, 8]));
    assert_eq!(decide(yes("a").or_else(no(8))), saved(&["a"]));
    assert_eq!(decide(no(7).or_else(yes("b"))), saved(&["b"]));
    assert_eq!(decide(no(7).or_else(no(8))), rejected(&[7, 8]));
}

#[tokio::test]
async fn events_and_reasons_are_mapped() {
    let wide = Operation::<u32>::if_absent(7)
        .map_events(|value| set("ada", value))
        .map_reasons(|unmet| unmet.to_string());
    assert_eq!(wide.decide(&None), Decision::save(set("ada", 7)));
    assert_eq!(wide.decide(&Some(3)), Decision::reject("there is a value already, at sequence 3"));
}

#[tokio::test]
async fn one_operation_serves_streams_of_every_key_type() {
    let names: Arc<eventsrc_core::MemoryStorage<eventsrc_core::StreamName, u64, Entry>> = Arc::default();
    let name = eventsrc_core::StreamName::new("directory", "all").unwrap();
    assert_eq!(sequence(saves(names).save(&name, Operation::if_absent(set("ada", 1))).await.unwrap()), 1);
    assert_eq!(sequence(saves(directory()).save(&A, Operation::if_absent(set("ada", 1))).await.unwrap()), 1);
}

#[tokio::test]
async fn a_decider_decides_on_the_folded_value() {
    let directory = directory();
    let decider = Decider::with(Arc::new(saves(Arc::clone(&directory))), by_name);
    let add = |name: &str, limit| {
        let name = name.to_owned();
        Operation::new(move |known: &Snapshot<u64, u32>| match known.value.unwrap_or(0) {
            value if value < limit => Decision::save(set(&name, value + 1)),
            value => Decision::<_, String>::reject(format!("{value} is enough")),
        })
    };
    for expected in 1..=2 {
        assert_eq!(sequence(decider.save(&"ada".to_owned(), add("ada", 2)).await.unwrap()), expected);
    }
    assert_eq!(sequence(decider.save(&"abe".to_owned(), add("abe", 2)).await.unwrap()), 3, "the same stream");
    assert_eq!(reasons(decider.save(&"ada".to_owned(), add("ada", 2)).await.unwrap()), ["2 is enough"]);
    let batch = [add("ada", 4), add("ada", 4), add("ada", 4)];
    let rejected = decider.save_all(&"ada".to_owned(), &Context::default(), &batch).await.unwrap();
    assert_eq!(reasons(rejected), ["4 is enough"], "the third sees the effect of the first two");
    assert_eq!(
        sequence(decider.save_all(&"ada".to_owned(), &Context::default(), &batch[..2]).await.unwrap()),
        5
    );
    let value = decider.query().get(&"ada".to_owned(), Consistency::LatestEvent).await.unwrap();
    assert_eq!(value, Some(4));
    let absent = Operation::if_absent(set("ann", 1));
    assert_eq!(
        sequence(decider.save(&"ann".to_owned(), absent).await.unwrap()),
        6,
        "no value, in a stream with events"
    );
}

#[tokio::test]
async fn metadata_records_actor_and_causation() {
    let directory = directory();
    let saves = saves(Arc::clone(&directory));
    let read =
        saves.save(&Letter('b'), Operation::insert(set("bob", 1))).await.unwrap().saved().unwrap().token;
    let context = Context {
        correlation_id: Some("request 9".into()),
        causation_id: Some("command 4".into()),
        actor: Some("ada".into()),
        dependencies: read.clone(),
        ..Context::default()
    };
    let saved =
        saves.save_with(&A, &context, Operation::insert(set("ada", 1))).await.unwrap().saved().unwrap();
    let page = directory.events(&A, None).try_next().await.unwrap().unwrap();
    let metadata = &page.commits()[0].metadata;
    assert_eq!(metadata.commit_id, saved.commit_id);
    assert_eq!(metadata.correlation_id, context.correlation_id);
    assert_eq!(metadata.causation_id, context.causation_id);
    assert_eq!(metadata.actor, context.actor);
    assert_eq!(metadata.dependencies, read);
}

#[tokio::test]
async fn times_do_not_go_back_when_a_clock_does() {
    let directory = directory();
    let ahead = saves(Arc::clone(&directory));
    for _ in 0..5 {
        let _ = ahead.save(&A, Operation::insert(set("ada", 1))).await.unwrap();
    }
    let _ = saves(Arc::clone(&directory)).save(&A, Operation::insert(set("ada", 2))).await.unwrap();
    let page = directory.events(&A, None).try_next().await.unwrap().unwrap();
    let times: Vec<_> = page.events().map(|event| event.time()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(times[5] > second(0));
}

fn command(id: CommitId, token: &Token) -> Context {
    Context { commit_id: Some(id), token: token.clone(), ..Context::default() }
}

fn some_id() -> CommitId {
    Randomness::seeded(77).commit_id(second(0))
}

#[tokio::test]
async fn a_command_repeated_without_a_token_is_answered_as_the_success_it_was() {
    let directory = directory();
    let saves = saves(Arc::clone(&directory));
    let context = command(some_id(), &Token::default());
    let send = || saves.save_with(&A, &context, Operation::if_absent(set("ada", 1)));
    let first = send().await.unwrap().saved().unwrap();
    assert!(!first.repeated);
    for _ in 0..3 {
        let _ = saves.save(&A, Operation::insert(set("abe", 2))).await.unwrap();
    }
    let again = send().await.unwrap().saved().unwrap();
    assert_eq!((again.sequence, again.commit_id, again.repeated), (first.sequence, first.commit_id, true));
    assert_eq!(again.token, first.token);
    assert_eq!(payloads(&directory).await.len(), 4);
}

#[tokio::test]
async fn a_command_repeated_with_the_token_it_knew_is_found_among_the_commits_since() {
    let directory = directory();
    let saves = saves(Arc::clone(&directory));
    let token = saves.save(&A, Operation::insert(set("ada", 1))).await.unwrap().saved().unwrap().token;
    let context = command(some_id(), &token);
    let batch = || [Operation::if_token(&token, &A, set("ada", 2)), Operation::insert(set("ada", 3))];
    assert_eq!(sequence(saves.save_all(&A, &context, &batch()).await.unwrap()), 3);
    let _ = saves.save(&A, Operation::insert(set("abe", 2))).await.unwrap();
    for other_process in [false, true] {
        let fresh = super::directory::saves(Arc::clone(&directory));
        let saves = if other_process { &fresh } else { &saves };
        let again = saves.save_all(&A, &context, &batch()).await.unwrap().saved().unwrap();
        assert_eq!((again.sequence, again.repeated), (3, true));
    }
    assert_eq!(payloads(&directory).await.len(), 4);
}

#[tokio::test]
async fn the_same_command_sent_twice_at_once_is_saved_once() {
    let directory = directory();
    let context = command(some_id(), &Token::default());
    let sends = (0..16).map(|_| {
        let (directory, context) = (Arc::clone(&directory), context.clone());
        tokio::spawn(async move {
            let saves = saves(Arc::clone(&directory));
            let noise = saves.save(&A, Operation::insert(set("abe", 0))).await.unwrap();
            assert!(noise.saved().is_some());
            saves.save_with(&A, &context, Operation::insert(set("ada", 1))).await.unwrap()
        })
    });
    let sequences: Vec<u64> = futures::future::join_all(sends)
        .await
        .into_iter()
        .map(|outcome| sequence(outcome.unwrap()))
        .collect();
    assert!(sequences.iter().all(|sequence| *sequence == sequences[0]), "{sequences:?}");
    assert_eq!(payloads(&directory).await.iter().filter(|entry| **entry == set("ada", 1)).count(), 1);
}

#[tokio::test]
async fn a_decided_command_is_idempotent_too() {
    let directory = directory();
    let decider = Decider::with(Arc::new(saves(Arc::clone(&directory))), by_name);
    let context = command(some_id(), &Token::default());
    let name = "ada".to_owned();
    let send = || decider.save_with(&name, &context, Operation::if_absent(set("ada", 1)));
    let first: Outcome = send().await.unwrap();
    let again = send().await.unwrap().saved().unwrap();
    assert_eq!((again.sequence, again.repeated), (sequence(first), true));
}

#[tokio::test]
async fn a_key_that_names_no_stream_is_refused_before_anything_is_stored() {
    let storage: Arc<CountingStorage> = Arc::default();
    let error =
        saves(Arc::clone(&storage)).save(&Nameless, Operation::insert(set("ada", 1))).await.unwrap_err();
    assert_eq!(error.source.kind(), eventsrc_core::ErrorKind::Invalid);
    assert_eq!(storage.take(), eventsrc_core::storage::CallCounts::default());
}

type CountingStorage =
    eventsrc_core::storage::CountingStorage<eventsrc_core::MemoryStorage<Nameless, u64, Entry>>;

/// A key that breaks the law of well-formed parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Nameless;

impl eventsrc_core::StreamKey for Nameless {
    fn category(&self) -> &str {
        ""
    }

    fn id(&self) -> std::borrow::Cow<'_, str> {
        "".into()
    }

    fn from_parts(_: &str, _: &str) -> Option<Self> {
        None
    }
}
