//! The queries on the view.

use std::sync::Arc;

use eventsrc_core::view::{StreamPosition, ViewStore};
use eventsrc_core::{StorageError, StreamName};

use super::followed::{FollowedEvent, FollowedKey};
use super::page::PageStart;
use super::rows::{GroupRow, UserRow};
use crate::identity::keys::{GroupId, UserId};
use crate::identity::text::Email;

/// Result of a query, with the positions of the named streams at the time of the read.
pub type ViewResult<T> = Result<(Vec<StreamPosition<u64>>, T), StorageError>;

/// The queries on the view, for any database.
///
/// Each query also names `streams` and returns their positions from the same snapshot as the rows. From these
/// [`at_least`](eventsrc_core::Synchronizer::at_least) knows that the rows are at least as new as a token.
pub trait ViewQueries: ViewStore<Key = FollowedKey, Sequence = u64, Payload = FollowedEvent> {
    /// Returns a user that is not deleted.
    fn user(
        &self,
        streams: &[StreamName],
        id: UserId,
    ) -> impl Future<Output = ViewResult<Option<UserRow>>> + Send;

    /// Returns the users with this address. There can be two for a moment, while the address changes its owner.
    fn users_by_email(
        &self,
        streams: &[StreamName],
        email: &Email,
    ) -> impl Future<Output = ViewResult<Vec<UserRow>>> + Send;

    /// Returns one page, plus one user if there are more, of the users whose names begin with `prefix`, by name.
    fn users_by_name(
        &self,
        streams: &[StreamName],
        prefix: &str,
        start: &PageStart,
    ) -> impl Future<Output = ViewResult<Vec<UserRow>>> + Send;

    /// Returns a group with one page of its members, plus one member if there are more.
    fn group(
        &self,
        streams: &[StreamName],
        id: GroupId,
        start: &PageStart,
    ) -> impl Future<Output = ViewResult<Option<GroupRow>>> + Send;
}

impl<V: ViewQueries> ViewQueries for Arc<V> {
    fn user(
        &self,
        streams: &[StreamName],
        id: UserId,
    ) -> impl Future<Output = ViewResult<Option<UserRow>>> + Send {
        V::user(self, streams, id)
    }

    fn users_by_email(
        &self,
        streams: &[StreamName],
        email: &Email,
    ) -> impl Future<Output = ViewResult<Vec<UserRow>>> + Send {
        V::users_by_email(self, streams, email)
    }

    fn users_by_name(
        &self,
        streams: &[StreamName],
        prefix: &str,
        start: &PageStart,
    ) -> impl Future<Output = ViewResult<Vec<UserRow>>> + Send {
        V::users_by_name(self, streams, prefix, start)
    }

    fn group(
        &self,
        streams: &[StreamName],
        id: GroupId,
        start: &PageStart,
    ) -> impl Future<Output = ViewResult<Option<GroupRow>>> + Send {
        V::group(self, streams, id, start)
    }
}
