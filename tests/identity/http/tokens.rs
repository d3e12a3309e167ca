//! Tokens, by which a view that is behind answers as new as its caller requires.

use futures::future::join_all;
use serde_json::{Value, json};

use super::questions::{group, signed_up};
use super::{Client, Served, on_each_view};
use crate::identity::http::client::Reply;

on_each_view!(under_load_every_caller_reads_what_it_wrote, tokens_are_joined_however_they_are_sent,);

/// Number of concurrent callers, each with its own connections.
const CALLERS: usize = 16;
/// Number of changes of each caller, each followed by a read.
const ROUNDS: usize = 6;

async fn under_load_every_caller_reads_what_it_wrote(served: Served) {
    let everybody = group(&served.client, "everybody").await.id();
    let calling = (0..CALLERS).map(|caller| {
        let (client, everybody) = (Client::new(served.server.address()), everybody.clone());
        tokio::spawn(async move { in_a_group(&client, &everybody, &format!("user-{caller}")).await })
    });
    for called in join_all(calling).await {
        called.unwrap();
    }
}

/// A caller signs up, makes a group, joins it and the shared group, and changes its user repeatedly. After each
/// step it reads with the tokens of the steps before.
async fn in_a_group(client: &Client, everybody: &str, who: &str) {
    let (user, own) = (signed_up(client, who).await, group(client, &format!("group-{who}")).await);
    let (own_path, user_path) = (format!("/groups/{}", own.id()), format!("/users/{}", user.id()));
    let member = format!("{own_path}/members/{}", user.id());
    let joined = client.put(&member).at_least([&user, &own]).carry_out().await.is(201);
    let read = client.get(&own_path).at_least([&user, &own, &joined]).send().await.is(200);
    let expected = json!({"id": own.id(), "name": format!("group-{who}"), "members": [user.json()]});
    assert_eq!(read.json(), expected);
    // The reply to the join was built from the user and the group.
    let again = client.get(&own_path).at_least([&joined]).header("if-none-match", read.tag());
    again.send().await.is(304);

    let read = async |path: &str, seen: &Reply| client.get(path).at_least([seen]).send().await.is(200);
    let mut tag = user.tag().to_owned();
    for round in 0..ROUNDS {
        let change = client.patch(&user_path, &json!({"display_name": format!("{who}, {round}")}));
        let changed = change.header("if-match", tag).carry_out().await.is(204);
        tag = changed.tag().to_owned();
        let me = json!({
            "id": user.id(), "name": who, "email": format!("{who}@example.org"), "display_name": format!("{who}, {round}"),
        });
        let mine = read(&user_path, &changed).await;
        assert_eq!((mine.json(), mine.tag()), (me.clone(), changed.tag()));
        assert_eq!(read(&own_path, &changed).await.json()["members"], json!([me]));
        assert_eq!(
            read(&format!("/users?email={who}@example.org"), &changed).await.json()["users"],
            json!([me])
        );
        assert_eq!(read(&format!("/users?name_prefix={who}"), &changed).await.json()["users"][0], me);

        // A group that all callers change at the same time.
        let member_of_all = format!("/groups/{everybody}/members/{}", user.id());
        let in_it = client.put(&member_of_all).at_least([&changed]).carry_out().await.is(201);
        let listed = read(&format!("/groups/{everybody}"), &in_it).await.json();
        assert!(listed["members"].as_array().unwrap().contains(&me), "{me} is not in {listed}");
        let out_of_it = client.delete(&member_of_all).carry_out().await.is(204);
        let listed = read(&format!("/groups/{everybody}"), &out_of_it).await.json();
        assert!(!listed["members"].as_array().unwrap().contains(&me), "{me} is in {listed}");
    }
    let deleted = client.delete(&user_path).carry_out().await.is(204);
    client.get(&user_path).at_least([&deleted]).send().await.is(404);
    assert_eq!(read(&own_path, &deleted).await.json()["members"], json!([]));
}

async fn tokens_are_joined_however_they_are_sent(served: Served) {
    let client = &served.client;
    let (ada, readers) = (signed_up(client, "ada").await, group(client, "readers").await);
    let path = format!("/groups/{}/members/{}", readers.id(), ada.id());
    let (first, second) = (client.put(&path).carry_out().await, client.delete(&path).carry_out().await);
    let third = client.put(&path).carry_out().await.is(201);
    let all = [&ada, &third, &readers, &second, &first];
    let one_line = Vec::from_iter(all.iter().map(|reply| reply.token())).join(" , ");
    let group = || client.get(format!("/groups/{}", readers.id()));
    for asked in [group().at_least(all), group().header("eventsrc-at-least", one_line)] {
        let read: Value = asked.send().await.is(200).json();
        assert_eq!(read["members"], json!([ada.json()]));
    }
}
