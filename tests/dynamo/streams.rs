//! Large streams and large commits.

use std::sync::Arc;

use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::feed::{Change, ChangeFeed, PollFeed, PollSettings};
use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_core::{ErrorKind, EventStorage, StreamName, Token};
use eventsrc_dynamo::{ScanCursor, Settings};
use eventsrc_tests::dynamo::{tables, tables_with};
use futures::TryStreamExt;

use super::{Storage, commit, noise, put};

async fn texts(storage: &Storage, stream: &str, from: Option<u64>) -> Vec<String> {
    let key: StreamName = stream.parse().unwrap();
    let pages: Vec<_> = storage.events(&key, from).try_collect().await.unwrap();
    pages
        .iter()
        .flat_map(|page| page.events().map(|event| event.payload.clone()).collect::<Vec<_>>())
        .collect()
}

#[tokio::test]
async fn a_stream_of_several_megabytes_is_read_to_its_end_and_grows() {
    let storage = Storage::new(&tables("streams").await);
    let text = noise(1, 200_000);
    for number in 1..=15 {
        put(&storage, "user/1", number, &[&text]).await;
    }
    assert_eq!(texts(&storage, "user/1", None).await.len(), 15);
    assert_eq!(texts(&storage, "user/1", Some(9)).await.len(), 7);
    let head = storage.latest(&"user/1".parse().unwrap()).await.unwrap().unwrap();
    put(&storage, "user/1", head.sequence + 1, &["one more"]).await;
    assert_eq!(texts(&storage, "user/1", None).await.last().unwrap(), "one more");
}

#[tokio::test]
async fn a_commit_that_is_too_large_is_refused_before_anything_is_sent() {
    let dynamo = tables("streams").await;
    let storage = Storage::new(&dynamo);
    let before = dynamo.usage();
    let (half, rest) = (noise(1, 250_000), noise(2, 250_000));
    let error = storage.put(commit("user/1", 1, &[&half, &rest])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.contains("user/1") && text.contains("409600") && text.contains("several commits"), "{text}");
    assert_eq!((dynamo.usage() - before).requests, 0);
    put(&storage, "user/1", 1, &[&half]).await;
    put(&storage, "user/1", 2, &[&rest]).await;
    assert_eq!(texts(&storage, "user/1", None).await, [half, rest]);
}

#[tokio::test]
async fn a_large_commit_is_deflated_and_read_by_clients_that_do_not_deflate() {
    let dynamo = tables("streams").await;
    let plainly = eventsrc_dynamo::Dynamo::with(
        eventsrc_tests::dynamo::client("streams").await,
        "events",
        Settings { compress_from: None, ..Settings::default() },
    );
    plainly.create_tables().await.unwrap();
    let long = "it goes on, ".repeat(100_000);
    let storage = Storage::new(&dynamo);
    let before = dynamo.usage();
    put(&storage, "user/1", 1, &[&long]).await;
    assert!((dynamo.usage() - before).write_units < 10.0, "1.2 MB in a few KB");
    assert_eq!(texts(&storage, "user/1", None).await, [long.as_str()]);
    let error = Storage::new(&plainly).put(commit("user/2", 1, &[&long])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "it is too large as it is");
}

#[tokio::test]
async fn a_name_that_is_too_long_is_refused_before_anything_is_sent() {
    let dynamo = tables("streams").await;
    let storage = Storage::new(&dynamo);
    let before = dynamo.usage();
    for (bytes, first) in [(2_049, 1), (2_049, 2), (16_385, 1)] {
        let name = format!("user/{}", "x".repeat(bytes - 5));
        let error = storage.put(commit(&name, first, &["Ada"])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(&format!("{bytes} bytes")), "{error}");
    }
    assert_eq!((dynamo.usage() - before).requests, 0);
    put(&storage, &format!("user/{}", "x".repeat(2_043)), 1, &["Ada"]).await;
}

#[tokio::test]
async fn a_scan_resumes_from_any_of_its_cursors() {
    let dynamo = tables("streams").await;
    let storage = Storage::new(&dynamo);
    let text = noise(1, 150_000);
    for stream in 1..=6 {
        for number in 1..=4 {
            put(&storage, &format!("user/{stream}"), number, &[&text]).await;
        }
    }
    for segment in Segment::split(2) {
        let pages: Vec<_> = storage.scan_after(segment, None).try_collect().await.unwrap();
        let names =
            |pages: &[(eventsrc_core::storage::PageOf<Storage>, Option<ScanCursor>)]| -> Vec<(String, u64)> {
                let commits = pages.iter().flat_map(|(page, _)| page.commits());
                commits.map(|commit| (commit.key.to_string(), commit.first)).collect()
            };
        let all = names(&pages);
        assert!(pages.last().is_none_or(|(_, place)| place.is_none()), "the last page has no cursor");
        for (at, (_, place)) in pages.iter().enumerate() {
            let Some(place) = place else { continue };
            let place: ScanCursor = place.to_string().parse().unwrap();
            let rest: Vec<_> = storage.scan_after(segment, Some(place)).try_collect().await.unwrap();
            let seen = names(&pages[..=at]);
            assert_eq!([seen, names(&rest)].concat(), all);
        }
    }
}

#[tokio::test]
async fn a_poll_from_inside_a_commit_returns_its_rest() {
    let storage = Storage::new(&tables("streams").await);
    put(&storage, "user/1", 1, &["one", "two", "three"]).await;
    let user: StreamName = "user/1".parse().unwrap();
    let inside = Token::claimed(&user, 2_u64).unwrap();
    let clock = Arc::new(SystemClock);
    let mut feed = PollFeed::new(storage.clone(), [user.clone()], &inside, PollSettings::default(), clock);
    let cut = feed.next().await.unwrap().expect("a poll does not end").changes;
    assert!(matches!(&cut[..], [Change::Stream(key)] if *key == user), "{cut:?}");
    put(&storage, "user/1", 4, &["four"]).await;
    let next = feed.next().await.unwrap().expect("a poll does not end").changes;
    assert!(matches!(&next[..], [Change::Commit(commit)] if commit.first == 4), "{next:?}");
}

#[tokio::test]
async fn a_scan_keeps_to_its_rate() {
    let settings = Settings { scan_units_per_second: Some(2_000), ..Settings::default() };
    let dynamo = tables_with("streams", settings).await;
    let storage = Storage::new(&dynamo);
    let text = noise(1, 350_000);
    for number in 1..=12 {
        put(&storage, "user/1", number, &[&text]).await;
    }
    let (began, before) = (SystemClock.now(), dynamo.usage());
    let pages: Vec<_> = storage.scan(Segment::ALL).try_collect().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.events().count()).sum::<usize>(), 12);
    let units = (dynamo.usage() - before).read_units;
    assert!(units > 500.0, "{units}");
    let took = SystemClock.now().duration_since(began).as_secs_f64();
    assert!(took >= units / 2_000.0, "{units} units in {took} s");
}
