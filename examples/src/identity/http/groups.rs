//! The handlers of groups and their members.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::api::Shared;
use super::conditions::{Condition, Tag};
use super::problem::Problem;
use super::requests::{id_from_path, rejected};
use super::responses::{Signed, stored_token};
use super::users::next_page;
use crate::identity::command::{Failure, Reason};
use crate::identity::keys::{GroupId, UserId};
use crate::identity::storages::Storages;
use crate::identity::text::Name;
use crate::identity::views::{PageStart, UserRow, ViewQueries};

/// The body of a new group.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGroup {
    name: String,
}

/// Query parameters of a group: the page of members.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageParameters {
    after: Option<String>,
}

/// A group with a page of its members.
#[derive(Debug, Serialize)]
struct GroupPage {
    id: GroupId,
    name: String,
    members: Vec<UserRow>,
    /// Address of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(super) async fn create<S: Storages, V: ViewQueries>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    body: Result<Json<NewGroup>, JsonRejection>,
) -> Result<Response, Problem> {
    let name: Name = body?.0.name.parse()?;
    let (id, saved) = api.service.create_group(&api.command(&headers)?, name.clone()).await?;
    let group = GroupPage { id, name: name.to_string(), members: Vec::new(), next: None };
    api.saved(&id, &saved).created(format!("/groups/{}", id.0), &group)
}

/// Responds with 201 if this request added the user, and with 204 if the user was a member before.
pub(super) async fn add<S: Storages, V: ViewQueries>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    Path((id, user)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (id, user): (GroupId, UserId) = (id_from_path("group", &id)?, id_from_path("user", &user)?);
    let command = api.command_on(&headers, &id)?;
    match api.service.join(&command, id, &[user]).await {
        Ok(saved) => api.saved(&id, &saved).empty(StatusCode::CREATED),
        Err(Failure::Rejected(reasons)) if *reasons.first() == Reason::Member(user) => {
            let (group, user) = (api.service.group(id).await?, api.service.user(user).await?);
            let tag = Tag::of(&id, group.snapshot.sequence().unwrap_or_default());
            let token = group.token.join(&user.token);
            Signed { tokens: &api.tokens, tag, token }.empty(StatusCode::NO_CONTENT)
        }
        Err(failure) => Err(rejected(&headers, failure)),
    }
}

pub(super) async fn remove<S: Storages, V: ViewQueries>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    Path((id, user)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (id, user): (GroupId, UserId) = (id_from_path("group", &id)?, id_from_path("user", &user)?);
    let command = api.command_on(&headers, &id)?;
    let left = api.service.leave(&command, id, user).await;
    let saved = left.map_err(|failure| rejected(&headers, failure))?;
    api.saved(&id, &saved).empty(StatusCode::NO_CONTENT)
}

pub(super) async fn read<S: Storages, V: ViewQueries>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    Path(id): Path<String>,
    parameters: Result<Query<PageParameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let (id, known) = (id_from_path::<GroupId>("group", &id)?, Condition::if_none_match(&headers)?);
    let start = &parameters?.0.after.map_or_else(|| Ok(PageStart::default()), |after| after.parse())?;
    let view = api.synchronizer.view();
    let group = api.query(&headers, |streams| async move { view.group(&streams, id, start).await }).await?;
    let mut group = group.ok_or_else(|| Problem::not_found(format!("there is no group {}", id.0)))?;
    let tag = Tag::of_group(&group);
    let next = next_page(&mut group.members, |after| format!("/groups/{}?after={after}", id.0));
    let members = group.members.iter().map(|user| stored_token(&user.id, user.sequence));
    let token = members.fold(stored_token(&id, group.sequence), |token, member| token.join(&member));
    let page = GroupPage { id, name: group.name, members: group.members, next };
    Signed { tokens: &api.tokens, tag, token }.value(known.as_ref(), &page)
}
