//! The parts of the way, each of which may be a process of its own.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use eventsrc_core::Synchronizer;
use eventsrc_core::clock::{Randomness, SystemClock};
use eventsrc_core::storage::EitherStorage;
use eventsrc_core::synchronizer::{Environment, SynchronizerSettings};
use eventsrc_core::token::TokenCodec;
use eventsrc_dynamo::Dynamo;
use eventsrc_kinesis::ConsumerHandle;
use eventsrc_postgres::Postgres;
use futures::future;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Aws, Bus, InDynamo};
use crate::identity::arguments::Part;
use crate::identity::draw::Pen;
use crate::identity::scenario::play;
use crate::identity::serve::{Stop, serve};
use crate::identity::signing::signed_beside;
use crate::identity::storages::Storages;
use crate::identity::views::{Kept, in_postgres};

/// From where to where, and what for.
pub(in super::super) struct Way {
    /// The table of events.
    pub(in super::super) table: String,
    /// The stream of Kinesis.
    pub(in super::super) stream: String,
    /// The database of the view.
    pub(in super::super) views: Option<String>,
    /// Beside what the secret of tokens is.
    pub(in super::super) secret: PathBuf,
    /// Where to serve, if not to tell the story.
    pub(in super::super) address: Option<String>,
}

/// Does `part` of what there is to do on the way, until it is done or told to stop.
pub(in super::super) async fn travel(part: Part, way: Way, out: &mut (dyn Write + Send)) -> Result<()> {
    let aws = Aws::configured().await?;
    let dynamo = aws.tables(&way.table, None)?;
    dynamo.create_tables().await?;
    let bus = Bus { aws: &aws, table: &way.table, stream: &way.stream };
    match part {
        Part::All => everything(&way, &dynamo, &bus, out).await,
        Part::Api => api(&way, &dynamo, out).await,
        Part::Bridge => bridge(&way, &bus, out).await,
        Part::Synchronizer => synchronizer(&way, &dynamo, &bus, out).await,
    }
}

async fn everything(way: &Way, dynamo: &Dynamo, bus: &Bus<'_>, out: &mut (dyn Write + Send)) -> Result<()> {
    let postgres = way.postgres().await?;
    let storages = InDynamo::new(dynamo);
    writeln!(
        out,
        "identity: users, groups and memberships, in the table {} of DynamoDB; over the stream {} of Kinesis into Postgres.",
        way.table, way.stream
    )?;
    let bridge = bus.bridge().await?;
    let changes = bus.changes(&postgres).await?;
    let handles = [bridge.handle(), changes.handle()];
    let view = in_postgres(&postgres).await?;
    let kept = Kept::untold(&storages, view, SynchronizerSettings::default(), Environment::default());
    let synchronizer = kept.synchronizer.clone();
    let (open, mut closed) = mpsc::channel::<()>(1);
    let mut working = tokio::spawn(async move {
        let _open = open;
        tokio::try_join!(async { Ok(bridge.ended().await?) }, async {
            Ok(synchronizer.follow(changes).await?)
        })
    });
    // What was handed over is dealt with first.
    let mut end = async || {
        handles.iter().for_each(ConsumerHandle::drain);
        closed.recv().await;
        kept.synchronizer.stop().await;
    };
    let using = async {
        match &way.address {
            Some(address) => serve(&kept, way.tokens()?, address, out, end).await,
            None => {
                let (clock, randomness) = (Arc::new(SystemClock), Arc::new(Randomness::from_system()));
                let told = play(&storages, &kept, clock, randomness, &mut Pen::new(out)).await;
                end().await;
                told
            }
        }
    };
    tokio::select! {
        used = using => used,
        broken = broken(&mut working) => broken,
    }
}

/// What `working` could not go on from; nothing, if it ends because it was told to.
async fn broken<T>(working: &mut JoinHandle<Result<T>>) -> Result<()> {
    match working.await? {
        Ok(_) => future::pending().await,
        Err(error) => Err(error),
    }
}

async fn api(way: &Way, dynamo: &Dynamo, out: &mut (dyn Write + Send)) -> Result<()> {
    let storages = InDynamo::new(dynamo);
    let view = in_postgres(&way.postgres().await?).await?;
    let kept = Kept::untold(&storages, view, without_sweeps(), Environment::default());
    writeln!(out, "identity: commands to the table {} of DynamoDB, questions to Postgres.", way.table)?;
    let address = way.address.as_deref().context("the API is served: --serve says where")?;
    serve(&kept, way.tokens()?, address, out, async || kept.synchronizer.stop().await).await
}

async fn bridge(way: &Way, bus: &Bus<'_>, out: &mut (dyn Write + Send)) -> Result<()> {
    let mut stop = Stop::new()?;
    let bridge = bus.bridge().await?;
    let handle = bridge.handle();
    writeln!(
        out,
        "identity: from the table {} of DynamoDB to the stream {} of Kinesis, as worker {}.",
        way.table,
        way.stream,
        handle.worker()
    )?;
    out.flush()?;
    until_stopped(&mut stop, &handle, async { Ok(bridge.ended().await?) }, out).await
}

async fn synchronizer(way: &Way, dynamo: &Dynamo, bus: &Bus<'_>, out: &mut (dyn Write + Send)) -> Result<()> {
    let mut stop = Stop::new()?;
    let storages = InDynamo::new(dynamo);
    let postgres = way.postgres().await?;
    let changes = bus.changes(&postgres).await?;
    let handle = changes.handle();
    let both = EitherStorage::new(storages.users(), storages.groups());
    let view = in_postgres(&postgres).await?;
    let synchronizer = Synchronizer::start(both, view, SynchronizerSettings::default());
    writeln!(
        out,
        "identity: from the stream {} of Kinesis into Postgres, as worker {}.",
        way.stream,
        handle.worker()
    )?;
    out.flush()?;
    let following = async {
        let followed = synchronizer.follow(changes).await;
        synchronizer.stop().await;
        Ok(followed?)
    };
    until_stopped(&mut stop, &handle, following, out).await
}

/// Works until it has to end by itself, which it should not, or is told to.
async fn until_stopped(
    stop: &mut Stop,
    handle: &ConsumerHandle,
    working: impl Future<Output = Result<()>>,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    let mut working = Box::pin(working);
    tokio::select! {
        ended = &mut working => return ended,
        () = stop.said() => handle.drain(),
    }
    let mut ended = Ok(());
    let in_order = async { ended = working.await };
    stop.unless_said_again("what was read is dealt with first", in_order, out).await?;
    ended
}

/// The synchronizers compare heads with positions, and one of them is enough.
fn without_sweeps() -> SynchronizerSettings {
    SynchronizerSettings { sweep_every: None, ..SynchronizerSettings::default() }
}

impl Way {
    async fn postgres(&self) -> Result<Postgres> {
        let views = self.views.as_deref().context("the view is in Postgres: --views says where")?;
        Ok(Postgres::connect(views).await?)
    }

    fn tokens(&self) -> Result<TokenCodec> {
        signed_beside(&self.secret, &SystemClock, &Randomness::from_system())
    }
}
