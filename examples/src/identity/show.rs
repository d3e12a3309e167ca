//! What is stored, asked from the command line.

use anyhow::{Context as _, Result};
use clap::Subcommand;
use eventsrc_core::StreamKey;

use super::draw::{Pen, Short, in_short};
use super::keys::{DirectoryKey, GroupId, UserId};
use super::service::Service;
use super::storages::Storages;
use super::text::Name;

/// What has a value.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum Valued {
    /// A user
    User {
        /// The name, or the id
        name: String,
    },
    /// The members of a group
    Group {
        /// The name, or the id
        name: String,
    },
}

/// What has events.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum Stream {
    /// The stream of a user
    User {
        /// The name, or the id
        name: String,
    },
    /// The stream of a group
    Group {
        /// The name, or the id
        name: String,
    },
    /// The directory of all that is unique
    Directory,
}

/// Draws the value that is asked for.
pub(super) async fn show<S: Storages>(service: &Service<S>, asked: &Valued, pen: &mut Pen<'_>) -> Result<()> {
    match asked {
        Valued::User { name } => {
            let user = service.user(user(service, name).await?).await?.snapshot;
            let user = user.value.with_context(|| format!("user {name} was deleted"))?;
            pen.margin(in_short(Some(&user)))?;
        }
        Valued::Group { name } => {
            for (_, user) in service.members(group(service, name).await?).await? {
                pen.margin(in_short(Some(&user)))?;
            }
        }
    }
    Ok(())
}

/// Draws the events of the stream that is asked for.
pub(super) async fn log<S: Storages>(
    storages: &S,
    service: &Service<S>,
    asked: &Stream,
    pen: &mut Pen<'_>,
) -> Result<()> {
    match asked {
        Stream::User { name } => {
            let user = user(service, name).await?;
            pen.stream(&user.short(), &*storages.users(), &user, 1).await
        }
        Stream::Group { name } => {
            let group = group(service, name).await?;
            pen.stream(&group.short(), &*storages.groups(), &group, 1).await
        }
        Stream::Directory => pen.stream("directory", &*storages.directory(), &DirectoryKey, 1).await,
    }
}

/// By name; or by id, as which a deleted user is still found.
async fn user<S: Storages>(service: &Service<S>, text: &str) -> Result<UserId> {
    if let Some(id) = UserId::from_parts("user", text)
        && service.user(id).await?.snapshot.head.is_some()
    {
        return Ok(id);
    }
    let name: Name = text.parse()?;
    service.user_by_name(&name).await?.with_context(|| format!("there is no user {name}"))
}

async fn group<S: Storages>(service: &Service<S>, text: &str) -> Result<GroupId> {
    if let Some(id) = GroupId::from_parts("group", text)
        && service.group(id).await?.snapshot.head.is_some()
    {
        return Ok(id);
    }
    let name: Name = text.parse()?;
    service.group_by_name(&name).await?.with_context(|| format!("there is no group {name}"))
}
