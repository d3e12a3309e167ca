//! The SDK alone: one item per event, with short attribute names, and one transaction per command.

use std::collections::HashMap;

use anyhow::{Context, Result};
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use futures::FutureExt;

use crate::dynamo::server::{Database, Table};
use crate::dynamo::{Contestant, Peer};
use crate::peer::{Account, Entry};

pub(super) const CONTESTANT: Contestant = Contestant {
    name: "by hand",
    package: "aws-sdk-dynamodb",
    about: "Query, and TransactWriteItems of an item an event, each on condition that it is not there",
    open: |database| open(database).boxed_local(),
};

async fn open(Database { client, .. }: Database) -> Result<Box<dyn Peer>> {
    Table { name: TABLE, partition: "k", sort: Some("n"), index: None }.create(&client).await?;
    Ok(Box::new(ByHand(client)))
}

const TABLE: &str = "events";

struct ByHand(Client);

#[async_trait]
impl Peer for ByHand {
    async fn command(&self, stream: &str, entries: Vec<Entry>) -> Result<()> {
        let mut number = self.load(stream).await?.events;
        let mut writes = Vec::new();
        for entry in entries {
            number += 1;
            let put = Put::builder()
                .table_name(TABLE)
                .item("k", AttributeValue::S(stream.into()))
                .item("n", AttributeValue::N(number.to_string()))
                .item("t", AttributeValue::N("1700000000000001".into()))
                .item("p", AttributeValue::S(serde_json::to_string(&entry)?))
                .condition_expression("attribute_not_exists(k)");
            writes.push(TransactWriteItem::builder().put(put.build()?).build());
        }
        self.0.transact_write_items().set_transact_items(Some(writes)).send().await?;
        Ok(())
    }

    async fn load(&self, stream: &str) -> Result<Account> {
        let mut account = Account::default();
        let mut after: Option<HashMap<_, _>> = None;
        loop {
            let query = self.0.query().table_name(TABLE).consistent_read(true);
            let query = query.key_condition_expression("k = :k").set_exclusive_start_key(after);
            let page =
                query.expression_attribute_values(":k", AttributeValue::S(stream.into())).send().await?;
            for item in page.items() {
                let payload = item.get("p").and_then(|payload| payload.as_s().ok());
                let entry: Entry = serde_json::from_str(payload.context("the item has no payload")?)?;
                account.apply(entry.amount);
            }
            after = page.last_evaluated_key.filter(|after| !after.is_empty());
            if after.is_none() {
                return Ok(account);
            }
        }
    }
}
