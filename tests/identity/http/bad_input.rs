//! Rejected requests and the reasons in the replies.

use http::Method;
use serde_json::json;

use super::questions::signed_up;
use super::served::tokens;
use super::{Client, Served, on_each_view};
use crate::identity::http::client::PendingRequest;

on_each_view!(each_bad_request_gets_its_reason, a_key_that_was_used_for_something_else_is_refused);

async fn each_bad_request_gets_its_reason(served: Served) {
    let client = &served.client;
    let ada = signed_up(client, "ada").await;
    let user = format!("/users/{}", ada.id());
    let token = ada.token().to_owned();
    let forged = token.replacen("2.A", "2.B", 1);
    let elsewhere = {
        let known = tokens("known").decode(&token).unwrap();
        tokens("unknown").encode(&known).unwrap()
    };
    let long = format!("2.{}", "A".repeat(5000));
    let post =
        |body: &str| client.ask(Method::POST, "/users").header("content-type", "application/json").body(body);
    let patch =
        |body: &str| client.ask(Method::PATCH, &user).header("content-type", "application/json").body(body);
    let at_least = |token: &str| client.get(&user).header("eventsrc-at-least", token);
    let ada_again = r#"{"name": "eve", "email": "Ada@example.org"}"#;
    let huge = format!(r#"{{"name": "{}", "email": "a@b"}}"#, "a".repeat(20_000));
    let cases: Vec<(&str, PendingRequest<'_>, u16, &str, &str)> = vec![
        ("a cut body", post(r#"{"name": "eve""#), 400, "body", "EOF"),
        ("an empty body", post(""), 400, "body", "EOF"),
        ("no JSON", post("name=eve"), 400, "body", "expected"),
        (
            "no text",
            client
                .ask(Method::POST, "/users")
                .header("content-type", "application/json")
                .body(vec![b'"', 0xff]),
            400,
            "body",
            "",
        ),
        ("no type", client.ask(Method::POST, "/users").body(ada_again), 415, "body", "application/json"),
        ("too much", post(&huge), 413, "body", "limit"),
        ("a member is missing", post(r#"{"name": "eve"}"#), 422, "body", "missing field `email`"),
        (
            "a member too many",
            post(r#"{"name": "eve", "email": "e@x", "admin": true}"#),
            422,
            "body",
            "admin",
        ),
        (
            "a member of another type",
            post(r#"{"name": 7, "email": "e@x"}"#),
            422,
            "body",
            "expected a string",
        ),
        ("no name", post(r#"{"name": "E ve", "email": "e@x"}"#), 422, "text", "\"E ve\" is not a valid name"),
        (
            "no address",
            post(r#"{"name": "eve", "email": "eve"}"#),
            422,
            "text",
            "is not a valid e-mail address",
        ),
        (
            "U+0000",
            post(r#"{"name": "eve", "email": "e\u0000@x"}"#),
            422,
            "text",
            "is not a valid e-mail address",
        ),
        ("a taken address", post(ada_again), 409, "taken", "the e-mail address ada@example.org is taken"),
        ("two changes", patch(r#"{"name": "king", "email": "k@x"}"#), 422, "body", "one of"),
        ("no change", patch("{}"), 422, "body", "one of"),
        ("another change", patch(r#"{"id": "7"}"#), 422, "body", "unknown field `id`"),
        ("a blank name", patch(r#"{"display_name": " "}"#), 422, "text", "one line that is not blank"),
        ("no token", at_least("ada"), 400, "token", "malformed"),
        ("a cut token", at_least(&token[..token.len() - 1]), 400, "token", "signature is wrong"),
        ("a forged token", at_least(&forged), 400, "token", "signature is wrong"),
        ("a token of another system", at_least(&elsewhere), 400, "token", "signature is wrong"),
        ("an unsigned token", at_least(token.rsplitn(3, '.').last().unwrap()), 400, "token", "not signed"),
        ("a later token", at_least(&token.replacen("2.", "3.", 1)), 400, "token", "version 3"),
        ("a huge token", at_least(&long), 400, "token", "more than the limit"),
        ("one bad token among good ones", at_least(&format!("{token}, x.y,")), 400, "token", "malformed"),
        (
            "a bad token for a write",
            patch(r#"{"name": "king"}"#).header("eventsrc-at-least", "x"),
            400,
            "token",
            "malformed",
        ),
        ("no key", post(ada_again).header("idempotency-key", "7"), 400, "malformed", "UUID"),
        ("no tags", client.get(&user).header("if-none-match", "user@2"), 400, "malformed", "if-none-match"),
        (
            "no tags for a write",
            patch(r#"{"name": "king"}"#).header("if-match", "\"a"),
            400,
            "malformed",
            "if-match",
        ),
        ("no such question", client.get("/users?mail=x"), 400, "query", "unknown field `mail`"),
        ("two questions", client.get("/users?email=a@b&name_prefix=a"), 400, "malformed", "or by"),
        (
            "a question for no address",
            client.get("/users?email=ada"),
            422,
            "text",
            "is not a valid e-mail address",
        ),
        ("a question for no name", client.get("/users?name_prefix=A"), 422, "text", "is not a valid name"),
        ("no page", client.get("/users?after=ada"), 400, "malformed", "name,id"),
        (
            "no page of members",
            client.get(format!("/groups/{}?after=,7", ada.id())),
            400,
            "malformed",
            "name,id",
        ),
        ("no such method", client.put(&user), 405, "method", "PUT is not allowed here"),
        (
            "a group is not changed",
            client.patch(format!("/groups/{}", ada.id()), &json!({})),
            405,
            "method",
            "",
        ),
    ];
    for (what, asked, status, kind, detail) in cases {
        let reply = asked.send().await.is(status);
        assert_eq!(reply.header("content-type"), "application/problem+json", "{what}");
        let problem = reply.json();
        assert_eq!(problem["status"], status, "{what}");
        assert_eq!(problem["type"], format!("urn:eventsrc:{kind}"), "{what}: {problem}");
        assert!(problem["title"].is_string(), "{what}");
        let told = problem["detail"].as_str().unwrap();
        assert!(told.contains(detail) && !told.contains("knownknown"), "{what}: {told:?}");
    }
    assert_eq!(client.get(&user).at_least([&ada]).send().await.is(200).json(), ada.json());
    let all = client.get("/users").send().await.is(200).json();
    assert_eq!(all["users"].as_array().unwrap().len(), 1, "nothing of it was carried out");
}

async fn a_key_that_was_used_for_something_else_is_refused(served: Served) {
    let client = &served.client;
    let key = "00000000-0000-4000-8000-00000000000a";
    let keyed = |asked: PendingRequest<'static>| asked.header("idempotency-key", key);
    let client: &'static Client = Box::leak(Box::new(client.clone()));
    let ada = json!({"name": "ada", "email": "ada@example.org"});
    let first = keyed(client.post("/users", &ada)).send().await.is(201);
    assert_eq!(first.id(), key);
    let again = keyed(client.post("/users", &ada)).send().await.is(201);
    assert_eq!((again.json(), again.tag(), again.token()), (first.json(), first.tag(), first.token()));
    let quoted = client.post("/users", &ada).header("idempotency-key", format!("\"{key}\""));
    assert_eq!(quoted.send().await.is(201).id(), key);
    let user = format!("/users/{key}");
    for other in [
        client.post("/users", &json!({"name": "eve", "email": "ada@example.org"})),
        client.post("/users", &json!({"name": "ada", "email": "eve@example.org"})),
        client.post("/groups", &json!({"name": "readers"})),
        client.patch(&user, &json!({"name": "eve"})),
        client.patch(&user, &json!({"display_name": "Eve"})),
        client.delete(&user),
    ] {
        let refused = keyed(other.clone()).send().await.is(422);
        assert_eq!(refused.json()["type"], "urn:eventsrc:spent-key", "{other:?}");
    }
    assert_eq!(client.get(&user).at_least([&first]).send().await.is(200).json(), first.json());
}
