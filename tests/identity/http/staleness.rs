//! Views without a feed, views that wait, and views that are down.

use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::view::QuarantinedCommit;
use eventsrc_core::{StreamName, Synchronizer, Token};
use eventsrc_examples::identity::UserId;
use eventsrc_examples::identity::views::ViewQueries;
use eventsrc_test_servers::Postgres;
use serde_json::json;

use super::questions::{group, signed_up};
use super::served::tokens;
use super::{Served, on_each_view, on_each_view_without_feed};

on_each_view!(a_token_from_the_future_is_waited_for_and_then_said_to_be_missing);

on_each_view_without_feed!(
    a_view_that_no_feed_tells_anything_gets_what_a_token_names_by_itself,
    a_stream_in_quarantine_stands_still_alone_and_is_shown,
    a_view_that_is_stopped_says_so_and_answers_what_it_has,
);

async fn a_view_that_no_feed_tells_anything_gets_what_a_token_names_by_itself(
    served: Served,
    synchronizer: Synchronizer<impl ViewQueries>,
) {
    let client = &served.client;
    let (ada, grace) = (signed_up(client, "ada").await, signed_up(client, "grace").await);
    let readers = group(client, "readers").await;
    let path = format!("/groups/{}", readers.id());
    let joined = client.put(format!("{path}/members/{}", ada.id())).carry_out().await.is(201);
    client.get(&path).send().await.is(404);
    assert_eq!(client.get("/users").send().await.is(200).json()["users"], json!([]));

    let read = client.get(&path).at_least([&joined]).send().await.is(200);
    assert_eq!(read.json()["members"], json!([ada.json()]));
    assert_eq!(synchronizer.status().await.unwrap().applied_events, 4, "of Ada and the readers only");
    assert_eq!(client.get("/users").send().await.is(200).json()["users"], json!([ada.json()]));
    let listed = client.get("/users").at_least([&grace]).send().await.is(200);
    assert_eq!(listed.json()["users"], json!([ada.json(), grace.json()]));
}

async fn a_token_from_the_future_is_waited_for_and_then_said_to_be_missing(served: Served) {
    let client = &served.client;
    let ada = signed_up(client, "ada").await;
    let path = format!("/users/{}", ada.id());
    client.get(&path).at_least([&ada]).send().await.is(200);
    let id = UserId(ada.id().parse().unwrap());
    let known = tokens("known");
    let future = known.encode(&Token::claimed(&id, 7_u64).unwrap()).unwrap();
    for wait in ["wait=0", "wait=1"] {
        let asked = client.get(&path).header("eventsrc-at-least", &future).header("prefer", wait);
        let problem = asked.send().await.is(504).json();
        assert_eq!(problem["type"], "urn:eventsrc:stale");
        assert_eq!(problem["view"], "identity v1");
        let missing = &problem["missing"];
        assert_eq!(
            (&missing[0]["stream"], &missing[0]["wanted"]),
            (&json!(format!("user/{}", ada.id())), &json!(7))
        );
        if wait == "wait=1" {
            assert_eq!((&missing[0]["position"], &missing[0]["why"]), (&json!(2), &json!("not stored")));
        }
    }
    // A save that occurs during the wait ends it.
    let token = known.encode(&Token::claimed(&id, 3_u64).unwrap()).unwrap();
    let asked = client.get(&path).header("eventsrc-at-least", token).header("prefer", "wait=10");
    let change = client.patch(&path, &json!({"display_name": "Ada"}));
    let (read, changed) = tokio::join!(asked.send(), change.carry_out());
    assert_eq!(changed.is(204).tag(), read.is(200).tag());
    // A stream that the view does not follow does not count.
    let other: StreamName = "order/1".parse().unwrap();
    let token = known.encode(&Token::claimed(&other, 9_u64).unwrap()).unwrap();
    client.get(&path).header("eventsrc-at-least", token).send().await.is(200);
}

async fn a_stream_in_quarantine_stands_still_alone_and_is_shown(
    served: Served,
    synchronizer: Synchronizer<impl ViewQueries>,
) {
    let client = &served.client;
    let (ada, grace) = (signed_up(client, "ada").await, signed_up(client, "grace").await);
    let path = format!("/users/{}", ada.id());
    client.get(&path).at_least([&ada]).send().await.is(200);
    let stream: StreamName = format!("user/{}", ada.id()).parse().unwrap();
    let (error, time) = ("it has a secret".to_owned(), SystemClock.now());
    let poison = QuarantinedCommit { stream: stream.clone(), position: Some(2), sequence: 3, error, time };
    synchronizer.view().quarantine(&poison).await.unwrap();

    let changed = client.patch(&path, &json!({"display_name": "Ada"})).carry_out().await.is(204);
    let asked = client.get(&path).at_least([&changed]);
    let problem = asked.clone().send().await.is(503);
    assert_eq!(
        (problem.header("retry-after"), &problem.json()["missing"][0]["why"]),
        ("1", &json!("quarantined"))
    );
    client.get(&path).at_least([&ada]).send().await.is(200);
    client.get(format!("/users/{}", grace.id())).at_least([&grace]).send().await.is(200);
    let health = client.get("/health").send().await.is(200).json();
    assert_eq!(health["quarantined"][0]["stream"], json!(stream));
    assert!(!health.to_string().contains("secret"), "{health}");

    synchronizer.retry(&stream).await.unwrap();
    assert_eq!(asked.send().await.is(200).tag(), changed.tag());
    assert_eq!(client.get("/health").send().await.is(200).json()["quarantined"], json!([]));
}

async fn a_view_that_is_stopped_says_so_and_answers_what_it_has(
    served: Served,
    synchronizer: Synchronizer<impl ViewQueries>,
) {
    let client = &served.client;
    let ada = signed_up(client, "ada").await;
    let path = format!("/users/{}", ada.id());
    client.get(&path).at_least([&ada]).send().await.is(200);
    let health = client.get("/health").send().await.is(200).json();
    assert_eq!((&health["view"], &health["state"]), (&json!("identity v1"), &json!("running")));
    let changed = client.patch(&path, &json!({"display_name": "Ada"})).carry_out().await.is(204);
    synchronizer.stop().await;
    let problem = client.get(&path).at_least([&changed]).send().await.is(503);
    assert_eq!(problem.header("retry-after"), "1");
    assert_eq!(problem.json()["missing"][0]["why"], "stopped");
    assert_eq!(client.get(&path).at_least([&ada]).send().await.is(200).tag(), ada.tag());
    assert_eq!(client.get("/health").send().await.is(503).json()["state"], "stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_of_the_view_is_down_commands_succeed_and_reads_report_it() {
    let mut postgres = Postgres::start().await.unwrap();
    let served = Served::on_postgres_at(&postgres.database("identity").await).await;
    let client = &served.client;
    let ada = signed_up(client, "ada").await;
    let path = format!("/users/{}", ada.id());
    client.get(&path).at_least([&ada]).send().await.is(200);
    postgres.kill().await.unwrap();

    let changed = client.patch(&path, &json!({"display_name": "Ada"})).carry_out().await.is(204);
    let read = || client.get(&path).at_least([&changed]);
    let problem = read().send().await;
    // The limit may be reached during another read of the view, and then the reason is not known.
    assert!([503, 504].contains(&problem.status), "{problem:?}");
    assert_eq!(problem.header("content-type"), "application/problem+json");
    client.get("/health").send().await.is(503);

    let waiting = read().header("prefer", "wait=10").send();
    let (restarted, answered) = tokio::join!(postgres.restart(), waiting);
    restarted.unwrap();
    assert_eq!(answered.is(200).tag(), changed.tag(), "who has the time gets an answer");
    client.get("/health").send().await.is(200);
}
