//! Entity tags: reads that save a transfer, and conditional writes.

use futures::future::join_all;
use serde_json::json;

use super::questions::{group, signed_up};
use super::{Client, Served, on_each_view};
use crate::identity::http::client::{PendingRequest, Reply};

on_each_view!(
    what_the_caller_has_is_not_sent_again,
    a_tag_changes_with_each_change_and_with_nothing_else,
    a_write_to_another_state_is_refused_and_changes_nothing,
    of_many_writers_with_one_tag_exactly_one_wins,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_with_one_tag_exactly_one_wins_on_dynamo() {
    of_many_writers_with_one_tag_exactly_one_wins(Served::on_dynamo().await).await;
}

async fn what_the_caller_has_is_not_sent_again(served: Served) {
    let client = &served.client;
    let (ada, readers) = (signed_up(client, "ada").await, group(client, "readers").await);
    let joined =
        client.put(format!("/groups/{}/members/{}", readers.id(), ada.id())).carry_out().await.is(201);
    for path in [
        format!("/users/{}", ada.id()),
        format!("/groups/{}", readers.id()),
        "/users?name_prefix=a".into(),
        "/users?email=ada@example.org".into(),
    ] {
        let read = |condition: String| client.get(&path).header("if-none-match", condition).send();
        let first = client.get(&path).at_least([&joined]).send().await.is(200);
        for condition in [
            first.tag().to_owned(),
            format!("W/{}", first.tag()),
            format!("\"other\", {}", first.tag()),
            "*".into(),
        ] {
            let again = read(condition).await.is(304);
            assert_eq!((again.tag(), again.token()), (first.tag(), first.token()), "{path}");
            assert!(again.body.is_empty());
        }
        for condition in ["\"other\"", "\"\"", &ada.tag().replace("@2", "@1")] {
            assert_eq!(read(condition.into()).await.is(200).json(), first.json(), "{path}");
        }
    }
}

async fn a_tag_changes_with_each_change_and_with_nothing_else(served: Served) {
    let client = &served.client;
    let (ada, readers) = (signed_up(client, "ada").await, group(client, "readers").await);
    let (ada_path, readers_path) = (format!("/users/{}", ada.id()), format!("/groups/{}", readers.id()));
    let member = format!("{readers_path}/members/{}", ada.id());
    let mut tags = Vec::new();
    for (changes_ada, change) in [
        (false, client.put(&member)),
        (true, client.patch(&ada_path, &json!({"display_name": "Ada"}))),
        (true, client.patch(&ada_path, &json!({"name": "king"}))),
        (false, client.delete(&member)),
        (false, client.put(&member)),
        (true, client.delete(&ada_path)),
    ] {
        let written = change.carry_out().await;
        assert!(written.status < 300, "{written:?}");
        let of_readers = client.get(&readers_path).at_least([&written]).send().await.is(200);
        assert_eq!(client.get(&readers_path).send().await.is(200).tag(), of_readers.tag());
        tags.push(of_readers.tag().to_owned());
        let of_ada = client.get(&ada_path).at_least([&written]).send().await;
        if changes_ada && of_ada.status == 200 {
            assert_eq!(of_ada.tag(), written.tag(), "the reply to a write has the tag of the new state");
        }
        if !changes_ada {
            assert!(of_readers.tag().starts_with(written.tag().trim_end_matches('"')), "{written:?}");
        }
    }
    let count = tags.len();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), count, "{tags:?}");
}

async fn a_write_to_another_state_is_refused_and_changes_nothing(served: Served) {
    let client = &served.client;
    let (ada, grace) = (signed_up(client, "ada").await, signed_up(client, "grace").await);
    let readers = group(client, "readers").await;
    let (ada_path, readers_path) = (format!("/users/{}", ada.id()), format!("/groups/{}", readers.id()));
    let (grace_in, ada_in) =
        (format!("{readers_path}/members/{}", grace.id()), format!("{readers_path}/members/{}", ada.id()));
    let joined = client.put(&grace_in).carry_out().await.is(201);
    let writes = || {
        [
            client.patch(&ada_path, &json!({"name": "king"})),
            client.patch(&ada_path, &json!({"email": "king@example.org"})),
            client.patch(&ada_path, &json!({"display_name": "King"})),
            client.delete(&ada_path),
            client.put(&ada_in),
            client.delete(&grace_in),
        ]
    };
    let (weak, older) = (format!("W/{}, W/{}", ada.tag(), joined.tag()), joined.tag().replace("@2", "@1"));
    for condition in [weak.as_str(), &older, grace.tag(), "\"\"", "\"2\"", "\"user/@2\""] {
        for write in writes() {
            let refused = write.header("if-match", condition).send().await.is(412);
            assert_eq!(refused.json()["type"], "urn:eventsrc:changed");
        }
    }
    let seen = client.get(&readers_path).at_least([&ada, &joined]).send().await.is(200);
    assert_eq!(seen.json()["members"], json!([grace.json()]));
    assert_eq!(client.get(&ada_path).send().await.is(200).json(), ada.json());

    // A change of a member is no change of the group, so the tag of the group stays valid for a write.
    let renamed = client.patch(&ada_path, &json!({"name": "king"}));
    let renamed = renamed.header("if-match", format!("\"other\", {}", ada.tag())).send().await.is(204);
    let added = client.put(&ada_in).header("if-match", seen.tag()).send().await.is(201);
    client.delete(&grace_in).header("if-match", added.tag()).send().await.is(204);
    client.delete(&ada_path).header("if-match", "*").send().await.is(204);
    client.delete(&ada_path).header("if-match", "*").send().await.is(412);
    client.delete(&ada_path).header("if-match", renamed.tag()).send().await.is(404);
}

/// Exactly one of `asked`, which all expect the same state, is carried out.
async fn one_wins(asked: impl IntoIterator<Item = PendingRequest<'_>>) -> Reply {
    let replies = join_all(asked.into_iter().map(PendingRequest::carry_out)).await;
    let statuses = Vec::from_iter(replies.iter().map(|reply| reply.status));
    let mut won = Vec::from_iter(replies.into_iter().filter(|reply| reply.status != 412));
    assert_eq!(won.len(), 1, "{statuses:?}");
    won.remove(0)
}

async fn of_many_writers_with_one_tag_exactly_one_wins(served: Served) {
    const WRITERS: usize = 12;
    const ROUNDS: usize = 3;
    let clients = Vec::from_iter((0..WRITERS).map(|_| Client::new(served.server.address())));
    let ada = signed_up(&clients[0], "ada").await;
    let readers = group(&clients[0], "readers").await;
    let mut people = Vec::new();
    for number in 0..WRITERS {
        people.push(signed_up(&clients[0], &format!("user-{number}")).await);
    }
    let path = format!("/users/{}", ada.id());
    let (mut tag, mut group_tag) = (ada.tag().to_owned(), readers.tag().to_owned());
    for round in 0..ROUNDS {
        // A change that needs one commit, and one that needs a claim before it.
        for what in ["display_name", "display_name", "email"] {
            let text = |number| format!("ada-{round}-{number}@example.org");
            let won = one_wins(clients.iter().enumerate().map(|(number, client)| {
                client.patch(&path, &json!({what: text(number)})).header("if-match", tag.clone())
            }));
            tag = won.await.is(204).tag().to_owned();
        }
        let won = one_wins(clients.iter().zip(&people).map(|(client, user)| {
            let path = format!("/groups/{}/members/{}", readers.id(), user.id());
            client.put(path).header("if-match", group_tag.clone())
        }));
        let won = won.await.is(201);
        let listed =
            clients[0].get(format!("/groups/{}", readers.id())).at_least([&won]).send().await.is(200);
        let members = listed.json()["members"].as_array().unwrap().clone();
        for member in &members {
            let out = format!("/groups/{}/members/{}", readers.id(), member["id"].as_str().unwrap());
            group_tag = clients[0].delete(out).carry_out().await.is(204).tag().to_owned();
        }
        assert_eq!(members.len(), 1);
    }
    let events = 2 + 3 * ROUNDS;
    assert!(tag.ends_with(&format!("@{events}\"")), "{tag}: each round saved one event a change");
}
