//! `event-store-adapter-rs`: events and their head, with one event per call and without snapshots.

use anyhow::{Context, Result};
use async_trait::async_trait;
use chrono::DateTime;
use event_store_adapter_rs::{
    AggregateId, DynamoDbOptions, DynamoDbTables, EventEnvelope, EventStoreForDynamoDB,
};
use futures::FutureExt;

use crate::dynamo::server::{Database, Table};
use crate::dynamo::{Contestant, Peer};
use crate::peer::{Account, Entry};

pub(super) const CONTESTANT: Contestant = Contestant {
    name: "event-store-adapter",
    package: "event-store-adapter-rs",
    about: "get_latest_snapshot_by_id, get_events_by_id_since_seq_nr and a persist_event an event, each stored alone",
    open: |database| open(database).boxed_local(),
};

async fn open(Database { client, .. }: Database) -> Result<Box<dyn Peer>> {
    const INDEX: &str = "history";
    let table = |name, sort, index| Table { name, partition: "aid", sort, index };
    table("journal", Some("seq_nr"), None).create(&client).await?;
    table("snapshot", Some("skey"), Some((INDEX, "active_history_seq_nr"))).create(&client).await?;
    table("head", None, None).create(&client).await?;
    let tables = DynamoDbTables {
        journal_table_name: "journal".into(),
        snapshot_table_name: "snapshot".into(),
        head_table_name: "head".into(),
        snapshot_history_index_name: INDEX.into(),
    };
    let store = EventStoreForDynamoDB::open(client, tables, DynamoDbOptions::default()).await?;
    Ok(Box::new(EventStoreAdapter(store)))
}

struct EventStoreAdapter(EventStoreForDynamoDB<Id, Account, Entry>);

#[derive(Debug, Clone)]
struct Id(String);

impl AggregateId for Id {
    fn type_name(&self) -> String {
        "ledger".into()
    }

    fn value(&self) -> String {
        self.0.clone()
    }
}

#[async_trait]
impl Peer for EventStoreAdapter {
    async fn command(&self, stream: &str, entries: Vec<Entry>) -> Result<()> {
        let id = Id(stream.into());
        let mut number = self.load(stream).await?.events;
        for entry in entries {
            number += 1;
            let time =
                DateTime::from_timestamp(1_700_000_000, number as u32).context("the time is in range")?;
            self.0.persist_event(EventEnvelope::new(id.clone(), number, time, entry)).await?;
        }
        Ok(())
    }

    async fn load(&self, stream: &str) -> Result<Account> {
        let id = Id(stream.into());
        let Some(latest) = self.0.get_latest_snapshot_by_id(&id).await? else {
            return Ok(Account::default());
        };
        let (mut account, from) = match latest.into_parts().0 {
            Some(snapshot) => (*snapshot.aggregate(), snapshot.seq_nr() + 1),
            None => (Account::default(), 1),
        };
        for event in self.0.get_events_by_id_since_seq_nr(&id, from).await? {
            account.apply(event.payload().amount);
        }
        Ok(account)
    }
}
