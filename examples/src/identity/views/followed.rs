//! The streams that the view follows.

use eventsrc_core::ViewDefinition;
use eventsrc_core::storage::Either;

use crate::identity::events::{GroupEvent, UserEvent};
use crate::identity::keys::{GroupId, UserId};

/// Key of a followed stream: a user or a group.
pub type FollowedKey = Either<UserId, GroupId>;

/// Event of a followed stream.
pub type FollowedEvent = Either<UserEvent, GroupEvent>;

/// Name, version and followed categories of the view.
pub fn definition() -> ViewDefinition {
    ViewDefinition::new("identity", ["user", "group"]).expect("the name is well-formed")
}
