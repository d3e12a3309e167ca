//! Texts of violations: the calls that contradict each other, with the times at which they were made and
//! answered.

use eventsrc_core::clock::Randomness;
use eventsrc_core::{CommitId, Timestamp};
use eventsrc_testkit::history::{Action, Call, Part, PutAnswer, Violation, ViolationKind, check};

fn id(seed: u64) -> CommitId {
    Randomness::seeded(seed).commit_id(Timestamp::UNIX_EPOCH)
}

fn commit(seed: u64, first: u64, length: u32) -> Part<u64> {
    Part { commit_id: id(seed), first, length, places: 0..length }
}

fn put(part: &Part<u64>, called: u64, answer: PutAnswer<u64>) -> Call<u64> {
    let Part { commit_id, first, length, .. } = *part;
    Call { called, answered: Some(called + 1), action: Action::Put { commit_id, first, length, answer } }
}

fn latest(sequence: Option<u64>, called: u64) -> Call<u64> {
    Call { called, answered: Some(called + 1), action: Action::Latest { sequence } }
}

fn violation(calls: &[Call<u64>], last: &[Part<u64>]) -> Violation {
    check("order/7", calls, last).unwrap_err()
}

#[test]
fn a_stale_read_names_the_missed_commit_and_the_call_that_saw_it() {
    let (a, b) = (commit(1, 1, 1), commit(2, 2, 2));
    let calls = [
        put(&a, 0, PutAnswer::Stored),
        put(&b, 2, PutAnswer::Stored),
        latest(Some(3), 4),
        latest(Some(1), 6),
    ];
    let Violation { kind, stream, what } = violation(&calls, &[a, b.clone()]);
    assert_eq!((kind, stream.as_str()), (ViolationKind::StaleRead, "order/7"));
    let b = b.commit_id;
    assert_eq!(
        what,
        format!(
            "commit {b} (2 events at 2) was not seen here: latest: 1 [6, 7]; but it was there before: put of commit \
             {b} (2 events at 2): stored [2, 3]"
        )
    );
}

#[test]
fn a_lost_commit_is_shown_with_the_commit_in_its_place() {
    let (a, b) = (commit(1, 1, 1), commit(2, 1, 1));
    let calls = [put(&a, 0, PutAnswer::Stored), put(&b, 2, PutAnswer::Stored)];
    let violation = violation(&calls, std::slice::from_ref(&b));
    assert_eq!(violation.kind, ViolationKind::LostCommit);
    let (a, b) = (a.commit_id, b.commit_id);
    assert_eq!(
        violation.to_string(),
        format!(
            "stream order/7: in the end there is commit {b} (1 event at 1) where this was answered: put of commit {a} \
             (1 event at 1): stored [0, 1]"
        )
    );
}

#[test]
fn half_a_commit_is_shown_with_its_put() {
    let whole = commit(1, 1, 3);
    let half = commit(1, 1, 1);
    let violation = violation(&[put(&whole, 0, PutAnswer::Unknown)], &[half]);
    assert_eq!(violation.kind, ViolationKind::HalfCommit);
    assert!(violation.what.contains("(3 events at 1): no answer"), "{violation}");
}

#[test]
fn a_conflict_with_itself_differs_from_one_with_nothing() {
    let conflict = || PutAnswer::Conflict { existing: None, head: None };
    let (a, b) = (commit(1, 1, 1), commit(2, 2, 1));
    let itself =
        violation(&[put(&a, 0, PutAnswer::Unknown), put(&a, 2, conflict())], std::slice::from_ref(&a));
    assert_eq!(itself.kind, ViolationKind::ConflictWithItself, "{itself}");
    let nothing = violation(&[put(&a, 0, PutAnswer::Stored), put(&b, 2, conflict())], &[a]);
    assert_eq!(nothing.kind, ViolationKind::FalseConflict, "{nothing}");
    assert!(nothing.what.starts_with("in the end there is nothing where"), "{nothing}");
}

#[test]
fn a_commit_seen_before_its_put_is_out_of_order() {
    let a = commit(1, 1, 1);
    let violation = violation(&[latest(Some(1), 0), put(&a, 2, PutAnswer::Stored)], &[a]);
    assert_eq!(violation.kind, ViolationKind::OutOfOrder, "{violation}");
}
