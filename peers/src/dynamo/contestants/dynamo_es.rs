//! `cqrs-es` with `dynamo-es`: an aggregate in an event store, without snapshots (those of 0.5.0 are incorrect).

use anyhow::Result;
use async_trait::async_trait;
use cqrs_es::persist::PersistedEventStore;
use cqrs_es::{AggregateContext, CqrsFramework, EventStore};
use dynamo_es::DynamoEventRepository;
use futures::FutureExt;

use crate::contestants::cqrs_es::Ledger;
use crate::dynamo::server::{Database, Table};
use crate::dynamo::{Contestant, Peer};
use crate::peer::{Account, Entry};

pub(super) const CONTESTANT: Contestant = Contestant {
    name: "dynamo-es",
    package: "dynamo-es",
    about: "CqrsFramework::execute; load_aggregate",
    open: |database| open(database).boxed_local(),
};

async fn open(Database { client, .. }: Database) -> Result<Box<dyn Peer>> {
    let table = |name, sort| Table { name, partition: "AggregateTypeAndId", sort, index: None };
    table("Events", Some("AggregateIdSequence")).create(&client).await?;
    let store = || PersistedEventStore::new_event_store(DynamoEventRepository::new(client.clone()));
    Ok(Box::new(DynamoEs { framework: CqrsFramework::new(store(), vec![], ()), loads: store() }))
}

type Store = PersistedEventStore<DynamoEventRepository, Ledger>;

struct DynamoEs {
    framework: CqrsFramework<Ledger, Store>,
    loads: Store,
}

#[async_trait]
impl Peer for DynamoEs {
    async fn command(&self, stream: &str, entries: Vec<Entry>) -> Result<()> {
        Ok(self.framework.execute(stream, entries).await?)
    }

    async fn load(&self, stream: &str) -> Result<Account> {
        let mut context = self.loads.load_aggregate(stream).await?;
        Ok(context.aggregate().0)
    }
}
