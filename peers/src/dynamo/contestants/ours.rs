//! eventsrc on DynamoDB. By default a `Decider` remembers the values of streams; loading them is measured separately.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use eventsrc_core::clock::{Randomness, SystemClock};
use eventsrc_core::save::{PreconditionFailed, SaveSettings};
use eventsrc_core::{
    Consistency, Context, Decider, Operation, Outcome, Query, QueryApi, SaveApi, StreamName,
};
use eventsrc_dynamo::{Dynamo, DynamoStorage};
use futures::FutureExt;

use crate::contestants::ours::{Ledger, key};
use crate::dynamo::server::Database;
use crate::dynamo::{Contestant, Peer};
use crate::peer::{Account, Entry};

pub(super) const REMEMBERING: Contestant = Contestant {
    name: "eventsrc",
    package: "eventsrc-dynamo",
    about: "Decider::save_all as it is by default, which remembers the stream; QueryApi::get",
    open: |database| open(database, SaveSettings::default().remembered).boxed_local(),
};

pub(super) const LOADING: Contestant = Contestant {
    name: "eventsrc, loading",
    package: "eventsrc-dynamo",
    about: "Decider::save_all, remembering nothing",
    open: |database| open(database, 0).boxed_local(),
};

async fn open(database: Database, remembered: usize) -> Result<Box<dyn Peer>> {
    let dynamo = Dynamo::new(database.client, "events");
    dynamo.create_tables().await?;
    let storage = Storage::new(&dynamo);
    let settings = SaveSettings { remembered, ..SaveSettings::default() };
    let (clock, randomness) = (Arc::new(SystemClock), Arc::new(Randomness::from_system()));
    let saves = Arc::new(SaveApi::with(storage, settings, clock, randomness));
    Ok(Box::new(Ours { decider: Decider::with(saves, |storage| QueryApi::new(storage, Ledger)) }))
}

type Storage = DynamoStorage<StreamName, u64, Entry>;

struct Ours {
    decider: Decider<Storage, Ledger>,
}

#[async_trait]
impl Peer for Ours {
    async fn command(&self, stream: &str, entries: Vec<Entry>) -> Result<()> {
        let operations: Vec<_> =
            entries.into_iter().map(Operation::<_, PreconditionFailed, _>::insert).collect();
        let outcome = self.decider.save_all(&key(stream)?, &Context::default(), &operations).await?;
        ensure!(matches!(outcome, Outcome::Saved(_)), "a save to a stream with one writer was not stored");
        Ok(())
    }

    async fn load(&self, stream: &str) -> Result<Account> {
        let account = self.decider.query().get(&key(stream)?, Consistency::LatestEvent).await?;
        account.context("the stream does not exist")
    }
}
