//! Streams in DynamoDB.

use std::sync::Arc;

use eventsrc_core::codec::Kinds;
use eventsrc_dynamo::{Dynamo, DynamoStorage};

use crate::identity::events::{DirectoryEvent, GroupEvent, UserEvent};
use crate::identity::keys::{DirectoryKey, GroupId, UserId};
use crate::identity::storages::Streams;

/// Streams in a DynamoDB table.
pub type InDynamo = Streams<
    DynamoStorage<UserId, u64, UserEvent, Kinds<UserEvent>>,
    DynamoStorage<GroupId, u64, GroupEvent>,
    DynamoStorage<DirectoryKey, u64, DirectoryEvent>,
>;

impl InDynamo {
    /// Creates the storages in these tables, which can hold other streams as well.
    pub fn new(dynamo: &Dynamo) -> Self {
        Self {
            users: Arc::new(DynamoStorage::with_codec(dynamo, UserEvent::codec())),
            groups: Arc::new(DynamoStorage::new(dynamo)),
            directory: Arc::new(DynamoStorage::new(dynamo)),
        }
    }
}
