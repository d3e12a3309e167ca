//! The commands `show` and `log`.

use anyhow::{Context as _, Result};
use clap::Subcommand;
use eventsrc_core::StreamKey;

use super::keys::{DirectoryKey, GroupId, UserId};
use super::print::{Printer, Short, user_line};
use super::service::Service;
use super::storages::Storages;
use super::text::Name;

/// A folded value.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum Value {
    /// A user
    User {
        /// Name or id
        name: String,
    },
    /// The members of a group
    Group {
        /// Name or id
        name: String,
    },
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum Stream {
    /// The stream of a user
    User {
        /// Name or id
        name: String,
    },
    /// The stream of a group
    Group {
        /// Name or id
        name: String,
    },
    /// The directory of unique names and addresses
    Directory,
}

/// Prints a value.
pub(super) async fn show<S: Storages>(
    service: &Service<S>,
    value: &Value,
    printer: &mut Printer<'_>,
) -> Result<()> {
    match value {
        Value::User { name } => {
            let user = service.user(user(service, name).await?).await?.snapshot;
            let user = user.value.with_context(|| format!("user {name} was deleted"))?;
            printer.margin(user_line(Some(&user)))?;
        }
        Value::Group { name } => {
            for (_, user) in service.members(group(service, name).await?).await? {
                printer.margin(user_line(Some(&user)))?;
            }
        }
    }
    Ok(())
}

/// Prints the events of a stream.
pub(super) async fn log<S: Storages>(
    storages: &S,
    service: &Service<S>,
    stream: &Stream,
    printer: &mut Printer<'_>,
) -> Result<()> {
    match stream {
        Stream::User { name } => {
            let user = user(service, name).await?;
            printer.stream(&user.short(), &*storages.users(), &user, 1).await
        }
        Stream::Group { name } => {
            let group = group(service, name).await?;
            printer.stream(&group.short(), &*storages.groups(), &group, 1).await
        }
        Stream::Directory => printer.stream("directory", &*storages.directory(), &DirectoryKey, 1).await,
    }
}

/// Finds a user by name or id. A deleted user is found by id only.
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
