//! Lost requests, lost replies and failures of the service: the outcome of a put, with the SDK's retries and
//! without.

use std::sync::Arc;

use eventsrc_core::storage::Put;
use eventsrc_core::{ErrorKind, EventStorage, StorageError};
use eventsrc_dynamo::aws_sdk_dynamodb::config::retry::RetryConfig;
use eventsrc_tests::faulty_http::{Answer, FaultyHttp, FaultyTables, HttpFault, once, quickly};
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};

use super::faulty::{PutOutcome, assert_says, beneath, commit, commits, said, scanned, through};

/// True if the SDK retries after this fault. It does not after a transaction conflict, or after a reply that
/// cannot be read.
fn is_sent_again(fault: HttpFault) -> bool {
    !matches!(fault, HttpFault::Truncated(_) | HttpFault::Answered(Answer::TRANSACTION_CONFLICT))
}

/// The expected outcome of a put whose attempts meet these faults, and whether its commit is then stored.
fn expected(faults: &[Option<HttpFault>], tries: usize) -> (PutOutcome, bool) {
    let mut stored = false;
    for fault in faults.iter().copied().chain([None; 3]).take(tries) {
        let Some(fault) = fault else {
            return (if stored { PutOutcome::Repeated } else { PutOutcome::Stored }, true);
        };
        stored |= fault.is_done();
        if !is_sent_again(fault) {
            break;
        }
    }
    (PutOutcome::Unavailable, stored)
}

/// All combinations of faults in the first two attempts of a put, and then none, or the first fault once more.
fn all_that_goes_wrong() -> Vec<Vec<Option<HttpFault>>> {
    let each = || HttpFault::ANY_TIME.into_iter().map(Some).chain([None]);
    each().flat_map(|a| each().flat_map(move |b| [vec![a, b], vec![a, b, a]])).collect()
}

/// P4 and P1: whatever happens to its attempts, a put never meets itself as a conflict, and an error means
/// unknown.
async fn assert_true_outcome(tables: &FaultyTables, number: usize, faults: &[Option<HttpFault>]) {
    for (tries, retries) in [(3, quickly()), (1, once())] {
        if tries < faults.len() && faults[tries..].iter().any(Option::is_some) {
            continue;
        }
        let faulty = FaultyHttp::scripted();
        let (storage, direct) = (through(tables, &faulty, retries), beneath(tables));
        let stream = format!("put/{number}-{tries}");
        let draft = commit(&stream, 1, &["a", "b"]);
        faulty.script(faults.iter().copied());
        let put = storage.put(Arc::clone(&draft)).await;
        let what = format!("{faults:?} with {tries} tries: {put:?}");
        let (told, stored) = expected(faults, tries);
        assert_eq!(said(&put), told, "{what}");
        if let Err(error) = &put {
            assert_says(error, ErrorKind::Unavailable, &["the table events", &stream, "sequence 1"]);
            assert!(std::error::Error::source(error).is_some(), "{what}");
        }
        assert_eq!(commits(&direct, &stream).await.len(), usize::from(stored), "{what}");
        faulty.calm();
        let again = storage.put(Arc::clone(&draft)).await;
        assert_eq!(
            said(&again),
            if stored { PutOutcome::Repeated } else { PutOutcome::Stored },
            "{what}, then {again:?}"
        );
        assert_eq!(commits(&direct, &stream).await, [draft], "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outcome_of_a_put_is_true_whatever_its_attempts_meet() {
    let tables = FaultyTables::new("truth").await;
    let all = all_that_goes_wrong();
    assert_eq!(all.len(), 200);
    stream::iter(all.iter().enumerate())
        .for_each_concurrent(16, |(number, faults)| assert_true_outcome(&tables, number, faults))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_whose_reply_is_lost_and_that_the_sdk_sends_again_is_repeated() {
    let tables = FaultyTables::new("again").await;
    let faulty = FaultyHttp::scripted();
    // The SDK's default retries.
    let storage = through(&tables, &faulty, RetryConfig::standard());
    let draft = commit("user/1", 1, &["a", "b"]);
    faulty.next(HttpFault::ReplyLost);
    let put = storage.put(Arc::clone(&draft)).await.unwrap();
    assert!(matches!(put, Put::Repeated { last: 2 }), "{put:?}");
    assert_eq!((faulty.requests(), faulty.injected().total()), (2, 1), "nothing is read to find that out");
    assert_eq!(commits(&beneath(&tables), "user/1").await, [draft]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_was_followed_by_others_before_it_is_sent_again_is_repeated() {
    let tables = FaultyTables::new("followed").await;
    let faulty = FaultyHttp::scripted();
    let (storage, other) = (through(&tables, &faulty, quickly()), beneath(&tables));
    let (first, second) = (commit("user/1", 1, &["a", "b"]), commit("user/1", 3, &["c"]));
    faulty.next(HttpFault::ReplyLost);
    let follows = Arc::clone(&second);
    faulty.meanwhile({
        let other = other.clone();
        async move { assert!(matches!(other.put(follows).await.unwrap(), Put::Stored)) }
    });
    let put = storage.put(Arc::clone(&first)).await.unwrap();
    assert!(matches!(put, Put::Repeated { last: 2 }), "{put:?}");
    assert_eq!(commits(&other, "user/1").await, [first, second]);
}

/// The first attempt was never stored, and another writer appended before the second one. With the SDK's retries
/// or without, the put reports a conflict with the stored commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_after_a_lost_request_has_the_commit_of_another_writer() {
    let tables = FaultyTables::new("conflict").await;
    let never_done = HttpFault::ANY_TIME.into_iter().filter(|fault| !fault.is_done());
    for (number, fault) in never_done.enumerate() {
        for (tries, retries) in [("retried", quickly()), ("unretried", once())] {
            let faulty = FaultyHttp::scripted();
            let (storage, other) = (through(&tables, &faulty, retries), beneath(&tables));
            let stream = format!("{tries}/{number}");
            let (mine, theirs) = (commit(&stream, 1, &["mine"]), commit(&stream, 1, &["theirs"]));
            faulty.next(fault);
            faulty.meanwhile({
                let (other, theirs) = (other.clone(), Arc::clone(&theirs));
                async move { assert!(matches!(other.put(theirs).await.unwrap(), Put::Stored)) }
            });
            let mut put = storage.put(Arc::clone(&mine)).await;
            if !is_sent_again(fault) || tries == "unretried" {
                assert_eq!(said(&put), PutOutcome::Unavailable, "{fault:?}: {put:?}");
                put = storage.put(Arc::clone(&mine)).await;
            }
            let Ok(Put::Conflict(conflict)) = put else { panic!("{fault:?}, {tries}: {put:?}") };
            assert_eq!(conflict.existing.as_ref(), Some(&theirs), "{fault:?}, {tries}");
            assert_eq!(commits(&other, &stream).await, [theirs], "{fault:?}, {tries}");
        }
    }
}

/// The errors of each call when the service answers this to its last attempt.
async fn told(tables: &FaultyTables, answer: Answer) -> [StorageError; 5] {
    let faulty = FaultyHttp::scripted();
    let storage = through(tables, &faulty, once());
    let draft = commit("user/1", 1, &["a"]);
    let answered = || faulty.next(HttpFault::Answered(answer));
    answered();
    let put = storage.put(Arc::clone(&draft)).await.unwrap_err();
    answered();
    let check = storage.put(commit("user/1", 7, &["a"])).await.unwrap_err();
    answered();
    let latest = storage.latest(&draft.key).await.unwrap_err();
    answered();
    let events = storage.events(&draft.key, None).try_next().await.unwrap_err();
    answered();
    let scan = scanned(&storage).await.unwrap_err();
    [put, check, latest, events, scan]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_error_of_the_service_has_its_kind() {
    let tables = FaultyTables::new("answers").await;
    let kinds = [
        (Answer::INTERNAL_ERROR, ErrorKind::Unavailable),
        (Answer::UNAVAILABLE, ErrorKind::Unavailable),
        (Answer::THROTTLED, ErrorKind::Unavailable),
        (Answer::RATE_EXCEEDED, ErrorKind::Unavailable),
        (Answer::ACCOUNT_LIMIT, ErrorKind::Unavailable),
        (Answer::TRANSACTION_CONFLICT, ErrorKind::Unavailable),
        (Answer::VALIDATION, ErrorKind::Invalid),
        (Answer::UNRECOGNIZED_CLIENT, ErrorKind::Refused),
        (Answer::EXPIRED_TOKEN, ErrorKind::Refused),
        (Answer::INVALID_SIGNATURE, ErrorKind::Refused),
        (Answer::ACCESS_DENIED, ErrorKind::Refused),
    ];
    for (answer, kind) in kinds {
        let [put, check, latest, events, scan] = told(&tables, answer).await;
        assert_says(&put, kind, &["put into the table events", answer.name(), "user/1", "sequence 1"]);
        assert_says(&check, kind, &["read the table events", answer.name(), "user/1", "sequence 7"]);
        assert_says(&latest, kind, &["read the table events", answer.name(), "user/1"]);
        assert_says(&events, kind, &["read the table events", answer.name(), "user/1"]);
        assert_says(&scan, kind, &["scan the table events", answer.name()]);
        for error in [put, check, latest, events, scan] {
            assert!(std::error::Error::source(&error).is_some(), "{error:?}");
        }
    }
    assert_eq!(commits(&beneath(&tables), "user/1").await, []);
}
