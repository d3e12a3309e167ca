//! What a writer remembers, tokens and snapshots that are ahead of the storage, or of another history of the stream.

use std::sync::Arc;

use eventsrc_core::commit::Vec1;
use eventsrc_core::query::SnapshotPolicy;
use eventsrc_core::save::{PreconditionFailed, SaveError};
use eventsrc_core::snapshot::{MemorySnapshots, SnapshotMode, SnapshotStorage};
use eventsrc_core::storage::{Diverged, Merged};
use eventsrc_core::stream::{Zone, ZonedSequence};
use eventsrc_core::token::{TokenCodec, TokenKey};
use eventsrc_core::{
    Consistency, Context, Decider, Decision, ErrorKind, EventStorage, Operation, Outcome, Query, QueryApi,
    SaveApi, Snapshot, Token,
};
use eventsrc_testkit::Restorable;

use super::directory::{
    A, ByName, Directory, Entry, Letter, by_name, directory, moved, reasons, saves, sequence, set,
};

type Storage = Arc<Restorable<Letter, u64, Entry>>;

async fn grow<St>(storage: &St, events: u64)
where
    St: EventStorage<Key = Letter, Sequence = u64, Payload = Entry> + Clone,
{
    let writer = saves(storage.clone());
    for value in 0..events {
        let _ = writer.save(&A, Operation::insert(set("ada", value as u32))).await.unwrap().saved().unwrap();
    }
}

/// Sends a token to a client and back.
fn signed(token: &Token) -> Context {
    let codec = TokenCodec::signed(TokenKey::new("k1", *b"0123456789abcdef").unwrap(), []);
    Context { token: codec.decode(&codec.encode(token).unwrap()).unwrap(), ..Context::default() }
}

/// Checks an error that names the stream, the sequence and both commits.
fn assert_diverged(error: &SaveError, sequence: &str, stored: Option<(&str, bool)>) {
    assert_eq!((error.source.kind(), error.unknown), (ErrorKind::Diverged, false), "{error:?}");
    assert_eq!((error.source.stream(), error.source.sequence()), (Some("letter/a"), Some(sequence)));
    let diverged = std::error::Error::source(&error.source).unwrap().downcast_ref::<Diverged>().unwrap();
    assert_eq!(diverged.known.sequence, sequence);
    assert!(diverged.known.commit_id.is_some());
    let found = diverged.stored.as_ref().map(|end| (end.sequence.as_str(), end.commit_id.is_some()));
    assert_eq!(found, stored);
}

#[tokio::test]
async fn a_plain_storage_and_a_merged_one_refuse_to_begin_in_the_middle() {
    let (old, new) = (directory(), directory());
    grow(&old, 10).await;
    let at_5 = old.recent(&A, 10).await.unwrap()[5];
    assert_eq!(at_5.sequence, 5);
    let token = saves(Arc::clone(&old)).save(&A, Operation::insert(set("ada", 11))).await.unwrap().saved();
    let token = token.unwrap().token;
    for writer in [saves(Arc::clone(&new)), saves(directory())] {
        let error =
            writer.save_with(&A, &signed(&token), Operation::if_token(&token, &A, set("ada", 12))).await;
        assert_diverged(&error.unwrap_err(), "11", None);
    }
    // The input of an audit: knowledge of sequence 5, where the old storage has five more commits.
    let merged = SaveApi::new(Merged::new(Arc::clone(&new), Arc::clone(&old)));
    let claimed = Token::claimed(&A, 5_u64).unwrap().vouched();
    let context = Context { token: claimed.clone(), ..Context::default() };
    let error =
        merged.save_with(&A, &context, Operation::if_token(&claimed, &A, set("ada", 6))).await.unwrap_err();
    assert_eq!((error.source.kind(), error.unknown), (ErrorKind::Diverged, false));
    assert_eq!(new.latest(&A).await.unwrap(), None);
}

#[tokio::test]
async fn a_signed_token_that_is_ahead_of_a_restored_storage_is_refused() {
    let storage = Storage::default();
    grow(&storage, 3).await;
    let backup = storage.save();
    grow(&storage, 2).await;
    let token = saves(Arc::clone(&storage)).save(&A, Operation::insert(set("ada", 6))).await.unwrap().saved();
    let token = token.unwrap().token;
    storage.restore(&backup);
    for _ in 0..2 {
        let writer = saves(Arc::clone(&storage));
        let error =
            writer.save_with(&A, &signed(&token), Operation::insert(set("ada", 7))).await.unwrap_err();
        assert_diverged(&error, "6", Some(("3", true)));
    }
    assert_eq!(storage.latest(&A).await.unwrap().unwrap().sequence, 3, "nothing is stored on top");
    // The restored storage grows to the same length, with other commits.
    grow(&storage, 3).await;
    let writer = saves(Arc::clone(&storage));
    let error = writer.save_with(&A, &signed(&token), Operation::if_token(&token, &A, set("ada", 7))).await;
    assert_diverged(&error.unwrap_err(), "6", Some(("6", true)));
    let _ = writer.save(&A, Operation::insert(set("ada", 8))).await.unwrap().saved().unwrap();
    // And past it: warm and cold writers look at the commit at its sequence.
    for writer in [writer, saves(Arc::clone(&storage))] {
        let error = writer.save_with(&A, &signed(&token), Operation::insert(set("ada", 9))).await;
        assert_diverged(&error.unwrap_err(), "6", Some(("6", true)));
    }
    let decider = Decider::with(Arc::new(saves(Arc::clone(&storage))), by_stream);
    let operation = Operation::<_, PreconditionFailed, Snapshot<u64, u32>>::insert(set("ada", 9));
    let error = decider.save_with(&"ada".to_owned(), &signed(&token), operation).await.unwrap_err();
    assert_diverged(&error, "6", Some(("6", true)));
    assert_eq!(storage.latest(&A).await.unwrap().unwrap().sequence, 7, "nothing is stored on top");
}

#[tokio::test]
async fn a_token_that_is_behind_costs_a_warm_writer_one_look() {
    let directory = directory();
    let writer = saves(Arc::clone(&directory));
    let saved = writer.save(&A, Operation::insert(set("ada", 1))).await.unwrap().saved().unwrap();
    grow(&directory, 5).await;
    let context = signed(&saved.token);
    directory.take();
    for expected in 7..20 {
        let outcome = writer.save_with(&A, &context, Operation::insert(set("ada", 2))).await.unwrap();
        assert_eq!(sequence(outcome), expected);
        let calls = directory.take();
        assert!(expected == 7 || (calls.puts, calls.latest, calls.reads) == (1, 0, 0), "{calls:?}");
    }
    // Beyond the window, it is not compared.
    grow(&directory, 200).await;
    let writer = saves(Arc::clone(&directory));
    let _ = writer.save(&A, Operation::insert(set("ada", 3))).await.unwrap();
    directory.take();
    let _ = writer.save_with(&A, &context, Operation::insert(set("ada", 4))).await.unwrap().saved().unwrap();
    let calls = directory.take();
    assert_eq!((calls.puts, calls.latest, calls.reads), (1, 0, 0));
}

#[tokio::test]
async fn a_commit_across_the_end_that_a_writer_knows_is_another_history() {
    let storage = Storage::default();
    grow(&storage, 1).await;
    let backup = storage.save();
    let (warm, decider) =
        (saves(Arc::clone(&storage)), Decider::with(Arc::new(saves(Arc::clone(&storage))), by_stream));
    let decide = |value| Operation::<_, PreconditionFailed, Snapshot<u64, u32>>::insert(set("ada", value));
    let _ = warm.save(&A, Operation::insert(set("ada", 2))).await.unwrap().saved().unwrap();
    let _ = decider.save(&"ada".to_owned(), decide(2)).await.unwrap().saved().unwrap();
    storage.restore(&backup);
    let several = |_: &_| Decision::Save(Vec1::try_from_vec(vec![set("abe", 1); 3]).unwrap());
    let several = Operation::<_, PreconditionFailed, _>::new(several);
    let _ = saves(Arc::clone(&storage)).save(&A, several).await.unwrap().saved().unwrap();
    let error = warm.save(&A, Operation::insert(set("ada", 3))).await.unwrap_err();
    assert_diverged(&error, "2", Some(("4", true)));
    let error = decider.save(&"ada".to_owned(), decide(3)).await.unwrap_err();
    assert_diverged(&error, "3", Some(("4", true)));
    assert_eq!(storage.latest(&A).await.unwrap().unwrap().sequence, 4, "nothing is stored on top");
}

#[tokio::test]
async fn a_decision_not_to_save_notices_a_restored_storage() {
    for grown in [0, 2] {
        let storage = Storage::default();
        grow(&storage, 1).await;
        let backup = storage.save();
        let warm = saves(Arc::clone(&storage));
        let _ = warm.save(&A, Operation::insert(set("ada", 2))).await.unwrap().saved().unwrap();
        let _ = warm.save(&A, Operation::insert(set("ada", 3))).await.unwrap().saved().unwrap();
        storage.restore(&backup);
        grow(&storage, grown).await;
        let error = warm.save(&A, Operation::if_absent(set("ada", 4))).await.unwrap_err();
        assert_diverged(&error, "3", Some((if grown == 0 { "1" } else { "3" }, true)));
        assert_eq!(reasons(warm.save(&A, Operation::if_absent(set("ada", 4))).await.unwrap()).len(), 1);
    }
}

#[tokio::test]
async fn a_command_whose_commit_the_storage_lost_is_not_answered_as_repeated() {
    let storage = Storage::default();
    let warm = saves(Arc::clone(&storage));
    let _ = warm.save(&A, Operation::insert(set("ada", 1))).await.unwrap().saved().unwrap();
    let backup = storage.save();
    let commit_id = eventsrc_core::CommitId(uuid::Uuid::from_u128(7));
    let context = Context { commit_id: Some(commit_id), ..Context::default() };
    for expected in [false, true] {
        let saved = warm.save_with(&A, &context, Operation::insert(set("ada", 2))).await.unwrap().saved();
        assert_eq!(saved.map(|saved| saved.repeated), Some(expected));
    }
    storage.restore(&backup);
    let error = warm.save_with(&A, &context, Operation::insert(set("ada", 2))).await.unwrap_err();
    assert_diverged(&error, "2", Some(("1", true)));
    let saved = warm.save_with(&A, &context, Operation::insert(set("ada", 2))).await.unwrap().saved();
    assert_eq!(saved.map(|saved| (saved.sequence, saved.repeated)), Some((2, false)));
}

#[tokio::test]
async fn a_warm_writer_notices_that_its_storage_was_restored() {
    for grown in [0, 2, 5] {
        let storage = Storage::default();
        grow(&storage, 3).await;
        let backup = storage.save();
        let warm = saves(Arc::clone(&storage));
        let decider = Decider::with(Arc::new(saves(Arc::clone(&storage))), by_stream);
        let name = "ada".to_owned();
        let insert = |value| Operation::<_, PreconditionFailed, _>::insert(set("ada", value));
        let decide =
            |value| Operation::<_, PreconditionFailed, Snapshot<u64, u32>>::insert(set("ada", value));
        let _ = warm.save(&A, insert(4)).await.unwrap().saved().unwrap();
        let _ = decider.save(&name, decide(5)).await.unwrap().saved().unwrap();
        let _ = warm.save(&A, insert(6)).await.unwrap().saved().unwrap();
        let _ = decider.save(&name, decide(7)).await.unwrap().saved().unwrap();
        storage.restore(&backup);
        grow(&storage, grown).await;
        let before = storage.recent(&A, 100).await.unwrap();
        for error in
            [warm.save(&A, insert(8)).await.unwrap_err(), decider.save(&name, decide(8)).await.unwrap_err()]
        {
            assert_eq!(
                (error.source.kind(), error.unknown),
                (ErrorKind::Diverged, false),
                "grown by {grown}"
            );
        }
        assert_eq!(storage.recent(&A, 100).await.unwrap(), before, "nothing is stored on top");
        // Both have forgotten what they knew.
        assert_eq!(sequence(warm.save(&A, insert(9)).await.unwrap()), 4 + grown);
        assert_eq!(sequence(decider.save(&name, decide(10)).await.unwrap()), 5 + grown);
    }
}

fn by_stream<St>(storage: St) -> QueryApi<St, ByName>
where
    St: EventStorage<Key = Letter, Sequence = u64, Payload = Entry>,
{
    QueryApi::keyed(storage, ByName, |_: &String| A)
}

#[tokio::test]
async fn a_rejection_is_not_decided_on_a_history_that_is_gone() {
    let storage = Storage::default();
    grow(&storage, 1).await;
    let backup = storage.save();
    let decider = Decider::with(Arc::new(saves(Arc::clone(&storage))), by_stream);
    let name = "ada".to_owned();
    let _: Outcome = decider.save(&name, Operation::insert(set("ada", 40))).await.unwrap();
    storage.restore(&backup);
    let stale = decider.save(&name, Operation::if_absent(set("ada", 41))).await;
    let stale: Result<Outcome, SaveError> = stale;
    assert_diverged(&stale.unwrap_err(), "2", Some(("1", true)));
    let read = decider.read(&name, |known| known.value).await.unwrap();
    assert_eq!(read, Some(0), "it is read again");
}

#[tokio::test]
async fn a_snapshot_of_another_history_is_not_used() {
    for grown in [0, 2, 5] {
        let storage = Storage::default();
        grow(&storage, 3).await;
        let backup = storage.save();
        grow(&storage, 3).await;
        let snapshots = Arc::new(MemorySnapshots::default());
        let query =
            by_stream(Arc::clone(&storage)).with_snapshots(Arc::clone(&snapshots), SnapshotPolicy::Every(1));
        let name = "ada".to_owned();
        query.get(&name, Consistency::LatestEvent).await.unwrap();
        query.flush().await;
        storage.restore(&backup);
        grow(&storage, grown).await;
        let plain = by_stream(Arc::clone(&storage));
        for number in 1..=3 + grown {
            let (expected, found) = (plain.at_sequence(&name, number), query.at_sequence(&name, number));
            assert_eq!(found.await.unwrap(), expected.await.unwrap(), "at {number}, grown by {grown}");
        }
        let latest = plain.snapshot(&name, Consistency::LatestEvent).await.unwrap();
        assert_eq!(
            query.snapshot(&name, Consistency::LatestEvent).await.unwrap(),
            latest,
            "grown by {grown}"
        );
    }
}

#[tokio::test]
async fn a_snapshot_without_a_commit_id_is_used_as_before() {
    let storage = directory();
    grow(&storage, 2).await;
    let snapshots = Arc::new(MemorySnapshots::default());
    let head = storage.latest(&A).await.unwrap().map(|head| eventsrc_core::Head { commit_id: None, ..head });
    let stored = Snapshot::new(Some(77), head);
    snapshots.put(&"ada".to_owned(), 1, &stored, SnapshotMode::Cache).await.unwrap();
    let query = by_name(Arc::clone(&storage)).with_snapshots(snapshots, SnapshotPolicy::Never);
    assert_eq!(query.get(&"ada".to_owned(), Consistency::LatestEvent).await.unwrap(), Some(77));
}

#[tokio::test]
async fn commits_are_linked_to_the_one_before() {
    let storage = directory();
    let writer = saves(Arc::clone(&storage));
    let mut token = Token::default();
    for value in 0..4 {
        // Warm, after a conflict, and from a token: each writer knows the commit before.
        let other = saves(Arc::clone(&storage));
        let saved = other.save_with(&A, &signed(&token), Operation::insert(set("abe", value))).await.unwrap();
        let _ = writer.save(&A, Operation::insert(set("ada", value))).await.unwrap();
        token = saved.saved().unwrap().token;
    }
    let pages: Vec<_> = futures::TryStreamExt::try_collect(storage.events(&A, None)).await.unwrap();
    let commits: Vec<_> = pages.iter().flat_map(|page| page.commits().to_vec()).collect();
    assert_eq!(commits.len(), 8);
    assert_eq!(commits[0].previous, None);
    for pair in commits.windows(2) {
        assert_eq!(pair[1].previous, Some(pair[0].metadata.commit_id));
    }
}

#[tokio::test]
async fn a_token_with_a_sequence_that_the_type_lacks_is_not_the_start_of_the_stream() {
    let empty: Directory = directory();
    let writer = saves(Arc::clone(&empty));
    let far = Token::from_text_positions(&A, u64::MAX, Zone(0));
    let foreign = Token::from_text_positions(&A, 3, Zone(9));
    for token in [far, foreign] {
        let outcome = writer.save(&A, Operation::if_token(&token, &A, set("ada", 1))).await.unwrap();
        assert!(matches!(outcome, Outcome::Rejected { .. }), "{outcome:?}");
    }
    let nothing = writer.save(&A, Operation::if_token(&Token::default(), &A, set("ada", 1))).await.unwrap();
    assert_eq!(sequence(nothing), 1);
    let late = writer.save(&A, Operation::if_token(&Token::default(), &A, set("ada", 1))).await.unwrap();
    assert_eq!(reasons(late), moved(None, Some(1)));
}

/// A token as a client could send it, with any number and zone.
trait AnyPosition {
    fn from_text_positions(key: &Letter, number: u64, zone: Zone) -> Token;
}

impl AnyPosition for Token {
    fn from_text_positions(key: &Letter, number: u64, zone: Zone) -> Token {
        use eventsrc_core::Sequence;
        match ZonedSequence::from_parts(number, zone) {
            Some(sequence) => Token::claimed(key, sequence).unwrap(),
            None => {
                let name = eventsrc_core::StreamName::of(key).unwrap();
                let text = format!("{{\"{name}\":[{number},{}]}}", zone.0);
                serde_json::from_str(&text).unwrap()
            }
        }
    }
}
