//! Groups, and who is in them.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::answer::{Answer, seen};
use super::conditions::{Condition, Tag};
use super::problem::Problem;
use super::requests::{named, refused};
use super::users::next_page;
use crate::identity::command::{Failure, Reason};
use crate::identity::keys::{GroupId, UserId};
use crate::identity::storages::Storages;
use crate::identity::text::Name;
use crate::identity::views::{After, Questions, UserRow};

/// The body of a new group.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGroup {
    name: String,
}

/// Which page of the members is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    after: Option<String>,
}

/// A group with a page of its members.
#[derive(Debug, Serialize)]
struct GroupPage {
    id: GroupId,
    name: String,
    members: Vec<UserRow>,
    /// Where the next page is.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(super) async fn create<S: Storages, V: Questions>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    body: Result<Json<NewGroup>, JsonRejection>,
) -> Result<Response, Problem> {
    let name: Name = body?.0.name.parse()?;
    let (id, saved) = api.service.create_group(&api.command(&headers)?, name.clone()).await?;
    let group = GroupPage { id, name: name.to_string(), members: Vec::new(), next: None };
    api.saved(&id, &saved).created(format!("/groups/{}", id.0), &group)
}

/// 201 if the user is in the group by this request, and 204 if it was before.
pub(super) async fn add<S: Storages, V: Questions>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    Path((id, user)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (id, user): (GroupId, UserId) = (named("group", &id)?, named("user", &user)?);
    let command = api.command_on(&headers, &id)?;
    match api.service.join(&command, id, &[user]).await {
        Ok(saved) => api.saved(&id, &saved).done(StatusCode::CREATED),
        Err(Failure::Rejected(reasons)) if *reasons.first() == Reason::Member(user) => {
            let (group, user) = (api.service.group(id).await?, api.service.user(user).await?);
            let tag = Tag::of(&id, group.snapshot.sequence().unwrap_or_default());
            let token = group.token.join(&user.token);
            Answer { tokens: &api.tokens, tag, token }.done(StatusCode::NO_CONTENT)
        }
        Err(failure) => Err(refused(&headers, failure)),
    }
}

pub(super) async fn remove<S: Storages, V: Questions>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    Path((id, user)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (id, user): (GroupId, UserId) = (named("group", &id)?, named("user", &user)?);
    let command = api.command_on(&headers, &id)?;
    let left = api.service.leave(&command, id, user).await;
    let saved = left.map_err(|failure| refused(&headers, failure))?;
    api.saved(&id, &saved).done(StatusCode::NO_CONTENT)
}

pub(super) async fn read<S: Storages, V: Questions>(
    State(api): Shared<S, V>,
    headers: HeaderMap,
    Path(id): Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let (id, known) = (named::<GroupId>("group", &id)?, Condition::if_none_match(&headers)?);
    let after = &asked?.0.after.map_or_else(|| Ok(After::default()), |after| after.parse())?;
    let view = api.synchronizer.view();
    let group = api.ask(&headers, |streams| async move { view.group(&streams, id, after).await }).await?;
    let mut group = group.ok_or_else(|| Problem::not_found(format!("there is no group {}", id.0)))?;
    let tag = Tag::of_group(&group);
    let next = next_page(&mut group.members, |after| format!("/groups/{}?after={after}", id.0));
    let members = group.members.iter().map(|user| seen(&user.id, user.sequence));
    let token = members.fold(seen(&id, group.sequence), |token, member| token.join(&member));
    let page = GroupPage { id, name: group.name, members: group.members, next };
    Answer { tokens: &api.tokens, tag, token }.read(known.as_ref(), &page)
}
