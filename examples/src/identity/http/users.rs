//! Users.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use eventsrc_core::Token;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::answer::{Answer, seen};
use super::conditions::{Condition, Tag};
use super::problem::Problem;
use super::requests::{named, refused};
use crate::identity::keys::UserId;
use crate::identity::storages::Storages;
use crate::identity::text::{Email, Name};
use crate::identity::views::{After, PAGE, Questions, UserRow};

/// The body of a sign-up.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    name: String,
    email: String,
}

/// The body of a change: one thing at a time, because each is a command of its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    name: Option<String>,
    email: Option<String>,
    display_name: Option<String>,
}

/// Which users are asked for; all, if nothing is said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    email: Option<String>,
    name_prefix: Option<String>,
    after: Option<String>,
}

/// A page of users.
#[derive(Debug, Serialize)]
struct Users {
    users: Vec<UserRow>,
    /// Where the next page is.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(super) async fn create<S: Storages, V: Questions>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    body: Result<Json<NewUser>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(NewUser { name, email }) = body?;
    let (name, email) = (name.parse::<Name>()?, email.parse::<Email>()?);
    let (id, saved) = api.service.sign_up(&api.command(&headers)?, name.clone(), email.clone()).await?;
    let (name, email) = (name.to_string(), email.to_string());
    let user = UserRow { id, name, email, display_name: None, sequence: saved.sequence };
    api.saved(&id, &saved).created(format!("/users/{}", id.0), &user)
}

pub(super) async fn change<S: Storages, V: Questions>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Result<Json<Change>, JsonRejection>,
) -> Result<Response, Problem> {
    let id: UserId = named("user", &id)?;
    let command = api.command_on(&headers, &id)?;
    let Json(Change { name, email, display_name }) = body?;
    let changed = match (name, email, display_name) {
        (Some(name), None, None) => api.service.rename(&command, id, name.parse()?).await,
        (None, Some(email), None) => api.service.change_email(&command, id, email.parse()?).await,
        (None, None, Some(name)) => api.service.set_display_name(&command, id, name.parse()?).await,
        _ => return Err(Problem::unprocessable("a change sets one of `name`, `email` and `display_name`")),
    };
    let saved = changed.map_err(|failure| refused(&headers, failure))?;
    api.saved(&id, &saved).done(StatusCode::NO_CONTENT)
}

pub(super) async fn delete<S: Storages, V: Questions>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: UserId = named("user", &id)?;
    let command = api.command_on(&headers, &id)?;
    let saved = api.service.delete(&command, id).await.map_err(|failure| refused(&headers, failure))?;
    api.saved(&id, &saved).done(StatusCode::NO_CONTENT)
}

pub(super) async fn read<S: Storages, V: Questions>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (id, known) = (named::<UserId>("user", &id)?, Condition::if_none_match(&headers)?);
    let view = api.synchronizer.view();
    let user = api.ask(&headers, |streams| async move { view.user(&streams, id).await }).await?;
    let user = user.ok_or_else(|| Problem::not_found(format!("there is no user {}", id.0)))?;
    let (tag, token) = (Tag::of_user(&user), seen(&id, user.sequence));
    Answer { tokens: &api.tokens, tag, token }.read(known.as_ref(), &user)
}

pub(super) async fn list<S: Storages, V: Questions>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let (view, known) = (api.synchronizer.view(), Condition::if_none_match(&headers)?);
    let Query(Asked { email, name_prefix, after }) = asked?;
    let prefix = &name_prefix.unwrap_or_default();
    let mut users = match email {
        Some(email) if prefix.is_empty() => {
            let email = &email.parse::<Email>()?;
            api.ask(&headers, |streams| async move { view.users_by_email(&streams, email).await }).await?
        }
        Some(_) => return Err(Problem::malformed("users are listed by `email` or by `name_prefix`")),
        None => {
            let after = &after.map_or_else(|| Ok(After::default()), |after| after.parse())?;
            if !prefix.is_empty() {
                prefix.parse::<Name>()?;
            }
            api.ask(&headers, |streams| async move { view.users_by_name(&streams, prefix, after).await })
                .await?
        }
    };
    let next = next_page(&mut users, |after| format!("/users?name_prefix={prefix}&after={after}"));
    let token = users.iter().fold(Token::default(), |token, user| token.join(&seen(&user.id, user.sequence)));
    let tag = Tag::of_users(&token, next.is_none())?;
    Answer { tokens: &api.tokens, tag, token }.read(known.as_ref(), &Users { users, next })
}

/// Cuts off what is more than a page, and says where it goes on.
pub(super) fn next_page(users: &mut Vec<UserRow>, address: impl Fn(After) -> String) -> Option<String> {
    let more = users.len() > PAGE;
    users.truncate(PAGE);
    users.last().filter(|_| more).map(|last| address(After::user(last)))
}
