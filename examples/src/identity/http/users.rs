//! The handlers of users.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use eventsrc_core::Token;
use serde::{Deserialize, Serialize};

use super::api::Shared;
use super::conditions::{Condition, Tag};
use super::problem::Problem;
use super::requests::{id_from_path, rejected};
use super::responses::{Signed, stored_token};
use crate::identity::keys::UserId;
use crate::identity::storages::Storages;
use crate::identity::text::{Email, Name};
use crate::identity::views::{PAGE, PageStart, UserRow, ViewQueries};

/// The body of a sign-up.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    name: String,
    email: String,
}

/// The body of a change. It sets one field, because each change is a separate command.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    name: Option<String>,
    email: Option<String>,
    display_name: Option<String>,
}

/// Query parameters of a list of users. Without any, all users are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListParameters {
    email: Option<String>,
    name_prefix: Option<String>,
    after: Option<String>,
}

/// A page of users.
#[derive(Debug, Serialize)]
struct Users {
    users: Vec<UserRow>,
    /// Address of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(super) async fn create<S: Storages, V: ViewQueries>(
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

pub(super) async fn change<S: Storages, V: ViewQueries>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Result<Json<Change>, JsonRejection>,
) -> Result<Response, Problem> {
    let id: UserId = id_from_path("user", &id)?;
    let command = api.command_on(&headers, &id)?;
    let Json(Change { name, email, display_name }) = body?;
    let changed = match (name, email, display_name) {
        (Some(name), None, None) => api.service.rename(&command, id, name.parse()?).await,
        (None, Some(email), None) => api.service.change_email(&command, id, email.parse()?).await,
        (None, None, Some(name)) => api.service.set_display_name(&command, id, name.parse()?).await,
        _ => return Err(Problem::unprocessable("a change sets one of `name`, `email` and `display_name`")),
    };
    let saved = changed.map_err(|failure| rejected(&headers, failure))?;
    api.saved(&id, &saved).empty(StatusCode::NO_CONTENT)
}

pub(super) async fn delete<S: Storages, V: ViewQueries>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: UserId = id_from_path("user", &id)?;
    let command = api.command_on(&headers, &id)?;
    let saved = api.service.delete(&command, id).await.map_err(|failure| rejected(&headers, failure))?;
    api.saved(&id, &saved).empty(StatusCode::NO_CONTENT)
}

pub(super) async fn read<S: Storages, V: ViewQueries>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (id, known) = (id_from_path::<UserId>("user", &id)?, Condition::if_none_match(&headers)?);
    let view = api.synchronizer.view();
    let user = api.query(&headers, |streams| async move { view.user(&streams, id).await }).await?;
    let user = user.ok_or_else(|| Problem::not_found(format!("there is no user {}", id.0)))?;
    let (tag, token) = (Tag::of_user(&user), stored_token(&id, user.sequence));
    Signed { tokens: &api.tokens, tag, token }.value(known.as_ref(), &user)
}

pub(super) async fn list<S: Storages, V: ViewQueries>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    parameters: Result<Query<ListParameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let (view, known) = (api.synchronizer.view(), Condition::if_none_match(&headers)?);
    let Query(ListParameters { email, name_prefix, after }) = parameters?;
    let prefix = &name_prefix.unwrap_or_default();
    let mut users = match email {
        Some(email) if prefix.is_empty() => {
            let email = &email.parse::<Email>()?;
            api.query(&headers, |streams| async move { view.users_by_email(&streams, email).await }).await?
        }
        Some(_) => {
            return Err(Problem::malformed("users are listed by `email` or by `name_prefix`, not by both"));
        }
        None => {
            let start = &after.map_or_else(|| Ok(PageStart::default()), |after| after.parse())?;
            if !prefix.is_empty() {
                prefix.parse::<Name>()?;
            }
            api.query(&headers, |streams| async move { view.users_by_name(&streams, prefix, start).await })
                .await?
        }
    };
    let next = next_page(&mut users, |after| format!("/users?name_prefix={prefix}&after={after}"));
    let token =
        users.iter().fold(Token::default(), |token, user| token.join(&stored_token(&user.id, user.sequence)));
    let tag = Tag::of_users(&token, next.is_none())?;
    Signed { tokens: &api.tokens, tag, token }.value(known.as_ref(), &Users { users, next })
}

/// Truncates `users` to one page, and returns the address of the next page if there is one.
pub(super) fn next_page(users: &mut Vec<UserRow>, address: impl Fn(PageStart) -> String) -> Option<String> {
    let more = users.len() > PAGE;
    users.truncate(PAGE);
    users.last().filter(|_| more).map(|last| address(PageStart::after(last)))
}
