//! The answers of the view.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::{Value, json};

use super::{Client, Served, on_each_view};
use crate::identity::http::client::Reply;

on_each_view!(
    a_user_is_found_by_id_by_address_and_by_the_beginning_of_its_name,
    a_group_lists_its_members_as_they_are_now,
    a_long_list_comes_in_pages_that_have_everybody_once,
    what_is_not_there_is_not_found,
);

pub(super) async fn signed_up(client: &Client, who: &str) -> Reply {
    let body = json!({"name": who, "email": format!("{who}@example.org")});
    client.post("/users", &body).carry_out().await.is(201)
}

pub(super) async fn group(client: &Client, name: &str) -> Reply {
    client.post("/groups", &json!({"name": name})).carry_out().await.is(201)
}

/// The value of this member of each of the objects.
fn each<'v>(list: &'v Value, member: &str) -> Vec<&'v str> {
    list.as_array().unwrap().iter().map(|object| object[member].as_str().unwrap()).collect()
}

async fn a_user_is_found_by_id_by_address_and_by_the_beginning_of_its_name(served: Served) {
    let client = &served.client;
    let (ada, adam) = (signed_up(client, "ada").await, signed_up(client, "adam").await);
    let grace = signed_up(client, "grace").await;
    let found = async |path: String, seen: &[&Reply]| {
        let reply = client.get(path).at_least(seen.iter().copied()).send().await.is(200);
        (reply.json(), reply.token().to_owned())
    };
    let all = [&ada, &adam, &grace];
    let (user, token) = found(format!("/users/{}", ada.id()), &all).await;
    assert_eq!(user, json!({"id": ada.id(), "name": "ada", "email": "ada@example.org"}));
    assert_eq!(user, ada.json(), "the reply to a sign-up is the user");
    let (listed, same) = found("/users?email=Ada%40example.org".into(), &all).await;
    assert_eq!((&listed["users"], &same), (&json!([user]), &token), "one answer is as good as the other");
    for (prefix, names) in [
        ("ad", vec!["ada", "adam"]),
        ("adam", vec!["adam"]),
        ("", vec!["ada", "adam", "grace"]),
        ("b", vec![]),
    ] {
        let (listed, _) = found(format!("/users?name_prefix={prefix}"), &all).await;
        assert_eq!(each(&listed["users"], "name"), names, "{prefix:?}");
        assert!(listed.get("next").is_none());
    }

    let path = format!("/users/{}", ada.id());
    let change = async |change: Value| client.patch(&path, &change).carry_out().await.is(204);
    let renamed = change(json!({"name": "king"})).await;
    let moved = change(json!({"email": "king@example.org"})).await;
    let named = change(json!({"display_name": " Ada King \"L.\""})).await;
    let expected = json!({
        "id": ada.id(), "name": "king", "email": "king@example.org", "display_name": "Ada King \"L.\"",
    });
    assert_eq!(found(path.clone(), &[&named]).await.0, expected);
    let seen = [&renamed, &moved, &named];
    assert_eq!(found("/users?email=king@example.org".into(), &seen).await.0["users"], json!([expected]));
    assert_eq!(found("/users?email=ada@example.org".into(), &seen).await.0["users"], json!([]));
    assert_eq!(each(&found("/users?name_prefix=ada".into(), &seen).await.0["users"], "name"), ["adam"]);

    let deleted = client.delete(&path).carry_out().await.is(204);
    client.get(&path).at_least([&deleted]).send().await.is(404);
    assert_eq!(found("/users?email=king@example.org".into(), &[&deleted]).await.0["users"], json!([]));
    assert_eq!(each(&found("/users".into(), &[&deleted]).await.0["users"], "name"), ["adam", "grace"]);
}

async fn a_group_lists_its_members_as_they_are_now(served: Served) {
    let client = &served.client;
    let readers = group(client, "readers").await;
    assert_eq!(readers.json(), json!({"id": readers.id(), "name": "readers", "members": []}));
    let path = format!("/groups/{}", readers.id());
    let (grace, ada) = (signed_up(client, "grace").await, signed_up(client, "ada").await);
    let member = |user: &Reply| format!("{path}/members/{}", user.id());
    let first = client.put(member(&grace)).carry_out().await.is(201);
    let second = client.put(member(&ada)).carry_out().await.is(201);
    let listed = client.get(&path).at_least([&first, &second]).send().await.is(200).json();
    let expected = json!({"id": readers.id(), "name": "readers", "members": [ada.json(), grace.json()]});
    assert_eq!(listed, expected);

    let body = json!({"display_name": "Grace"});
    let named = client.patch(format!("/users/{}", grace.id()), &body).carry_out().await.is(204);
    let gone = client.delete(format!("/users/{}", ada.id())).carry_out().await.is(204);
    let listed = client.get(&path).at_least([&second, &named, &gone]).send().await.is(200).json();
    assert_eq!(each(&listed["members"], "display_name"), ["Grace"]);

    let left = client.delete(member(&grace)).carry_out().await.is(204);
    let listed = client.get(&path).at_least([&left]).send().await.is(200).json();
    assert_eq!(listed["members"], json!([]));
    let back = client.put(member(&grace)).carry_out().await.is(201);
    let listed = client.get(&path).at_least([&back]).send().await.is(200).json();
    assert_eq!(each(&listed["members"], "name"), ["grace"]);
}

async fn a_long_list_comes_in_pages_that_have_everybody_once(served: Served) {
    const PEOPLE: usize = 57;
    let client = &served.client;
    let readers = group(client, "readers").await;
    let path = format!("/groups/{}", readers.id());
    let join = async |number: usize| {
        let user = signed_up(client, &format!("user-{number:03}")).await;
        client.put(format!("{path}/members/{}", user.id())).carry_out().await.is(201)
    };
    let mut joined = Vec::new();
    for numbers in (0..PEOPLE).collect::<Vec<_>>().chunks(8) {
        joined.extend(join_all(numbers.iter().map(|number| join(*number))).await);
    }
    let expected = Vec::from_iter((0..PEOPLE).map(|number| format!("user-{number:03}")));
    for (list, mut next) in
        [("users", Some("/users?name_prefix=user-".to_owned())), ("members", Some(path.clone()))]
    {
        let (mut names, mut sizes, mut tags) = (Vec::new(), Vec::new(), BTreeSet::new());
        // One token of all of them would be too long for a header; several tokens are not.
        client.get("/users?name_prefix=x").at_least(&joined).send().await.is(200);
        while let Some(page) = next {
            let reply = client.get(page).send().await.is(200);
            let listed = reply.json();
            names.extend(each(&listed[list], "name").into_iter().map(str::to_owned));
            sizes.push(listed[list].as_array().unwrap().len());
            tags.insert(reply.tag().to_owned());
            next = listed.get("next").map(|next| next.as_str().unwrap().to_owned());
        }
        assert_eq!(names, expected, "{list}");
        assert_eq!(sizes, [50, 7], "{list}");
        assert_eq!(
            tags.len(),
            if list == "users" { 2 } else { 1 },
            "the tag of a group is that of all its pages"
        );
    }
}

async fn what_is_not_there_is_not_found(served: Served) {
    let client = &served.client;
    let (ada, readers) = (signed_up(client, "ada").await, group(client, "readers").await);
    let nobody = "00000000-0000-4000-8000-000000000000";
    let name = &json!({"name": "x"});
    for reply in [
        client.get(format!("/users/{nobody}")).send().await,
        client.get("/users/ada").send().await,
        client.get(format!("/users/{}", readers.id())).at_least([&readers]).send().await,
        client.get(format!("/groups/{}", ada.id())).at_least([&ada]).send().await,
        client.patch(format!("/users/{nobody}"), name).send().await,
        client.delete(format!("/users/{nobody}")).send().await,
        client.put(format!("/groups/{nobody}/members/{}", ada.id())).send().await,
        client.put(format!("/groups/{}/members/{nobody}", readers.id())).send().await,
        client.delete(format!("/groups/{}/members/{}", readers.id(), ada.id())).send().await,
        client.get("/").send().await,
        client.get("/users/").send().await,
    ] {
        let reply = reply.is(404);
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert_eq!(reply.json()["type"], "urn:eventsrc:not-found");
    }
}
