//! A table of DynamoDB, whose items are copied.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use eventsrc_core::{EventStorage, StreamName};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::types::AttributeValue;
use eventsrc_dynamo::{Dynamo, DynamoStorage, Settings};
use eventsrc_tests::dynamo::client;
use futures::{StreamExt, TryStreamExt, stream};

use super::Restorable;

const TABLE: &str = "events";

/// Number of items that are written at the same time.
const CONCURRENCY: usize = 16;

/// A table of DynamoDB. A backup is a copy of its items. For a restore, the table is deleted and created again.
pub(in crate::restored_store) struct DynamoTables {
    client: Client,
    /// Handles of writers: one that does not rely on what it has seen, and one that does until a request fails.
    handles: [Dynamo; 2],
    backup: Vec<HashMap<String, AttributeValue>>,
}

impl Restorable for DynamoTables {
    type Storage = DynamoStorage<StreamName, u64, u64>;

    async fn new() -> Result<Self> {
        let client = client("restored").await;
        let trusting = Settings::default();
        let careful = Settings { trust_seen_for: Duration::ZERO, ..trusting.clone() };
        let handles = [careful, trusting].map(|settings| Dynamo::with(client.clone(), TABLE, settings));
        handles[0].create_tables().await?;
        Ok(Self { client, handles, backup: Vec::new() })
    }

    fn handles(&self) -> Vec<Self::Storage> {
        self.handles.iter().map(DynamoStorage::new).collect()
    }

    async fn new_handle(&self) -> Result<Self::Storage> {
        Ok(DynamoStorage::new(&Dynamo::new(self.client.clone(), TABLE)))
    }

    async fn back_up(&mut self) -> Result<()> {
        let items =
            self.client.scan().table_name(TABLE).consistent_read(true).into_paginator().items().send();
        self.backup = items.try_collect().await?;
        Ok(())
    }

    async fn restore(&mut self) -> Result<()> {
        self.client.delete_table().table_name(TABLE).send().await?;
        let [careful, trusting] = &self.handles;
        let missing = Self::Storage::new(trusting).latest(&StreamName::new("any", "stream")?).await;
        ensure!(missing.is_err(), "a read of a table that does not exist returned {missing:?}");
        careful.create_tables().await?;
        stream::iter(std::mem::take(&mut self.backup))
            .map(|item| self.client.put_item().table_name(TABLE).set_item(Some(item)).send())
            .buffer_unordered(CONCURRENCY)
            .try_for_each(async |_| Ok(()))
            .await?;
        Ok(())
    }
}
