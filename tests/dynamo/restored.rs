//! A table that was deleted and restored under its name, while processes know commits that it no longer has.

use std::time::Duration;

use eventsrc_core::save::{PreconditionFailed, SaveError, Saved};
use eventsrc_core::token::{TokenCodec, TokenKey};
use eventsrc_core::{Context, ErrorKind, EventStorage, Operation, SaveApi, Token};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::{Dynamo, Settings};
use eventsrc_tests::dynamo::client;

use super::Storage;
use super::faulty::{Draft, commits, name, store};

type Saves = SaveApi<Storage>;

/// A process with a writer of the table.
fn process(client: &Client, trust_seen_for: Duration) -> Saves {
    let settings = Settings { trust_seen_for, ..Settings::default() };
    SaveApi::new(Storage::new(&Dynamo::with(client.clone(), "events", settings)))
}

fn with_default_trust(client: &Client) -> Saves {
    process(client, Settings::default().trust_seen_for)
}

async fn save(saves: &Saves, token: &Token) -> Result<Saved, SaveError> {
    let context = Context { token: token.clone(), ..Context::default() };
    let operation: Operation<_, PreconditionFailed, _> = Operation::insert("event".to_owned());
    let outcome = saves.save_with(&name("user/1"), &context, operation).await?;
    Ok(outcome.saved().expect("an insert is never rejected"))
}

/// A new table, and a writer with warm caches that has saved five commits.
async fn five_commits(trust_seen_for: Duration) -> (Client, Saves, Vec<Draft>) {
    let client = client("restored").await;
    Dynamo::new(client.clone(), "events").create_tables().await.unwrap();
    let saves = process(&client, trust_seen_for);
    for sequence in 1..=5 {
        assert_eq!(save(&saves, &Token::default()).await.unwrap().sequence, sequence);
    }
    let stored = stored(&client).await;
    (client, saves, stored)
}

async fn delete(client: &Client) {
    client.delete_table().table_name("events").send().await.unwrap();
}

/// Creates the deleted table again, with these commits.
async fn restore(client: &Client, backup: &[Draft]) {
    let dynamo = Dynamo::new(client.clone(), "events");
    dynamo.create_tables().await.unwrap();
    for commit in backup {
        store(&Storage::new(&dynamo), commit).await;
    }
}

/// The commits of the stream, by a handle of its own.
async fn stored(client: &Client) -> Vec<Draft> {
    commits(&Storage::new(&Dynamo::new(client.clone(), "events")), "user/1").await
}

/// Fails unless the save fails as diverged, and the table still has these commits.
async fn assert_diverges(saves: &Saves, token: &Token, client: &Client, backup: &[Draft]) {
    let error = save(saves, token).await.unwrap_err();
    assert_eq!((error.source.kind(), error.unknown), (ErrorKind::Diverged, false), "{error:?}");
    assert_eq!(error.source.stream(), Some("user/1"));
    assert_eq!(stored(client).await, backup);
}

/// Fails unless the next save of the warm writer is stored after `backup`.
async fn assert_continues(saves: &Saves, client: &Client, backup: &[Draft]) {
    let saved = save(saves, &Token::default()).await.unwrap();
    let (history, last) = (stored(client).await, backup.last().map(|commit| commit.metadata.commit_id));
    let (next, before) = history.split_last().unwrap();
    assert_eq!(before, backup);
    assert_eq!((next.metadata.commit_id, next.previous), (saved.commit_id, last));
}

#[tokio::test]
async fn a_warm_writer_notices_a_table_that_was_restored_to_an_earlier_commit() {
    let (client, saves, history) = five_commits(Duration::ZERO).await;
    delete(&client).await;
    restore(&client, &history[..3]).await;
    assert_diverges(&saves, &Token::default(), &client, &history[..3]).await;
    assert_continues(&saves, &client, &history[..3]).await;
}

#[tokio::test]
async fn a_warm_writer_notices_a_table_that_was_restored_without_its_stream() {
    let (client, saves, _) = five_commits(Duration::ZERO).await;
    delete(&client).await;
    restore(&client, &[]).await;
    assert_diverges(&saves, &Token::default(), &client, &[]).await;
    assert_continues(&saves, &client, &[]).await;
}

/// Another writer has saved other commits under the lost sequences.
#[tokio::test]
async fn a_warm_writer_notices_a_restored_table_that_has_grown_to_the_same_length_or_beyond() {
    for length in 5..=7 {
        let (client, saves, history) = five_commits(Duration::ZERO).await;
        delete(&client).await;
        restore(&client, &history[..3]).await;
        let other = with_default_trust(&client);
        for _ in 3..length {
            save(&other, &Token::default()).await.unwrap();
        }
        let restored = stored(&client).await;
        assert_eq!(restored.len(), length);
        assert_diverges(&saves, &Token::default(), &client, &restored).await;
        assert_continues(&saves, &client, &restored).await;
    }
}

#[tokio::test]
async fn a_signed_token_of_lost_commits_is_refused_by_any_process() {
    let (client, saves, history) = five_commits(Duration::ZERO).await;
    let saved = save(&saves, &Token::default()).await.unwrap();
    let codec = TokenCodec::signed(TokenKey::new("key", [7; 32]).unwrap(), []);
    let token = codec.decode(&codec.encode(&saved.token).unwrap()).unwrap();
    delete(&client).await;
    restore(&client, &history[..3]).await;
    let (cold, warm) = (with_default_trust(&client), with_default_trust(&client));
    save(&warm, &Token::default()).await.unwrap();
    let restored = stored(&client).await;
    for saves in [&cold, &warm, &cold] {
        assert_diverges(saves, &token, &client, &restored).await;
    }
    assert_continues(&cold, &client, &restored).await;
}

/// While the table is gone, a request fails and ends the trust of the handle in all commits that it has seen.
#[tokio::test]
async fn a_writer_with_default_trust_notices_a_restored_table_after_a_request_in_between() {
    let (client, saves, history) = five_commits(Settings::default().trust_seen_for).await;
    delete(&client).await;
    let error = save(&saves, &Token::default()).await.unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::Refused, "{error:?}");
    restore(&client, &history[..3]).await;
    assert_diverges(&saves, &Token::default(), &client, &history[..3]).await;
    assert_continues(&saves, &client, &history[..3]).await;
}

/// The request in between may be any one of the same handle, about any stream.
#[tokio::test]
async fn any_request_to_a_missing_table_ends_all_trust() {
    let (client, saves, history) = five_commits(Settings::default().trust_seen_for).await;
    delete(&client).await;
    let error = saves.storage().latest(&name("user/2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    restore(&client, &history[..3]).await;
    assert_diverges(&saves, &Token::default(), &client, &history[..3]).await;
    assert_continues(&saves, &client, &history[..3]).await;
}
