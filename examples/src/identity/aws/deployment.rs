//! The parts of the deployment. Each of them can be a process of its own.

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

use super::bus::Bus;
use super::config::AwsConfig;
use super::streams::InDynamo;
use crate::identity::part::Part;
use crate::identity::print::Printer;
use crate::identity::scenario::run_scenario;
use crate::identity::serve::{Shutdown, serve};
use crate::identity::signing::signed_with_key_file;
use crate::identity::storages::Storages;
use crate::identity::views::{SyncedView, in_postgres};

/// The resources of a deployment.
pub(in super::super) struct Deployment {
    /// DynamoDB table of the events.
    pub(in super::super) table: String,
    /// Kinesis stream.
    pub(in super::super) stream: String,
    /// URL of the Postgres database of the view.
    pub(in super::super) views: Option<String>,
    /// File next to which the key file of the tokens is.
    pub(in super::super) db: PathBuf,
    /// Address of the service; `None` to run the scenario instead.
    pub(in super::super) address: Option<String>,
}

/// Runs `part` of the deployment until it is complete, fails or is shut down.
pub(in super::super) async fn run_part(
    part: Part,
    deployment: Deployment,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    let aws = AwsConfig::load().await?;
    let dynamo = aws.tables(&deployment.table, None)?;
    dynamo.create_tables().await?;
    let bus = Bus { aws: &aws, table: &deployment.table, stream: &deployment.stream };
    match part {
        Part::All => all(&deployment, &dynamo, &bus, out).await,
        Part::Api => api(&deployment, &dynamo, out).await,
        Part::Bridge => bridge(&deployment, &bus, out).await,
        Part::Synchronizer => synchronizer(&deployment, &dynamo, &bus, out).await,
    }
}

async fn all(
    deployment: &Deployment,
    dynamo: &Dynamo,
    bus: &Bus<'_>,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    let postgres = deployment.postgres().await?;
    let storages = InDynamo::new(dynamo);
    writeln!(
        out,
        "identity: users, groups and memberships, from the DynamoDB table {} over the Kinesis stream {} to Postgres.",
        deployment.table, deployment.stream
    )?;
    let bridge = bus.bridge().await?;
    let consumer = bus.consumer(&postgres).await?;
    let handles = [bridge.handle(), consumer.handle()];
    let view = in_postgres(&postgres).await?;
    let view =
        SyncedView::without_feed(&storages, view, SynchronizerSettings::default(), Environment::default());
    let synchronizer = view.synchronizer.clone();
    let (open, mut closed) = mpsc::channel::<()>(1);
    let mut workers = tokio::spawn(async move {
        let _open = open;
        tokio::try_join!(async { Ok(bridge.ended().await?) }, async {
            Ok(synchronizer.follow(consumer).await?)
        })
    });
    // Records that were read are processed before the process ends.
    let mut drain = async || {
        handles.iter().for_each(ConsumerHandle::drain);
        closed.recv().await;
        view.synchronizer.stop().await;
    };
    let use_of_view = async {
        match &deployment.address {
            Some(address) => serve(&view, deployment.tokens()?, address, out, drain).await,
            None => {
                let (clock, randomness) = (Arc::new(SystemClock), Arc::new(Randomness::from_system()));
                let result = run_scenario(&storages, &view, clock, randomness, &mut Printer::new(out)).await;
                drain().await;
                result
            }
        }
    };
    tokio::select! {
        result = use_of_view => result,
        failure = failure_of(&mut workers) => failure,
    }
}

/// Returns the error that ended `workers`. Never completes if they end without one, because they were drained.
async fn failure_of<T>(workers: &mut JoinHandle<Result<T>>) -> Result<()> {
    match workers.await? {
        Ok(_) => future::pending().await,
        Err(error) => Err(error),
    }
}

async fn api(deployment: &Deployment, dynamo: &Dynamo, out: &mut (dyn Write + Send)) -> Result<()> {
    let storages = InDynamo::new(dynamo);
    let view = in_postgres(&deployment.postgres().await?).await?;
    let view = SyncedView::without_feed(&storages, view, without_sweeps(), Environment::default());
    writeln!(
        out,
        "identity: service with commands to the DynamoDB table {} and queries to Postgres.",
        deployment.table
    )?;
    let address =
        deployment.address.as_deref().context("--aws api needs an address; pass it with --serve")?;
    serve(&view, deployment.tokens()?, address, out, async || view.synchronizer.stop().await).await
}

async fn bridge(deployment: &Deployment, bus: &Bus<'_>, out: &mut (dyn Write + Send)) -> Result<()> {
    let mut shutdown = Shutdown::new()?;
    let bridge = bus.bridge().await?;
    let handle = bridge.handle();
    writeln!(
        out,
        "identity: bridge from the DynamoDB table {} to the Kinesis stream {}, worker {}.",
        deployment.table,
        deployment.stream,
        handle.worker()
    )?;
    out.flush()?;
    until_shutdown(&mut shutdown, &handle, async { Ok(bridge.ended().await?) }, out).await
}

async fn synchronizer(
    deployment: &Deployment,
    dynamo: &Dynamo,
    bus: &Bus<'_>,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    let mut shutdown = Shutdown::new()?;
    let storages = InDynamo::new(dynamo);
    let postgres = deployment.postgres().await?;
    let consumer = bus.consumer(&postgres).await?;
    let handle = consumer.handle();
    let both = EitherStorage::new(storages.users(), storages.groups());
    let view = in_postgres(&postgres).await?;
    let synchronizer = Synchronizer::start(both, view, SynchronizerSettings::default());
    writeln!(
        out,
        "identity: synchronizer from the Kinesis stream {} to Postgres, worker {}.",
        deployment.stream,
        handle.worker()
    )?;
    out.flush()?;
    let worker = async {
        let followed = synchronizer.follow(consumer).await;
        synchronizer.stop().await;
        Ok(followed?)
    };
    until_shutdown(&mut shutdown, &handle, worker, out).await
}

/// Runs `worker` until it ends by itself, which happens only after an error, or until a shutdown is requested.
async fn until_shutdown(
    shutdown: &mut Shutdown,
    handle: &ConsumerHandle,
    worker: impl Future<Output = Result<()>>,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    let mut worker = Box::pin(worker);
    tokio::select! {
        ended = &mut worker => return ended,
        () = shutdown.requested() => handle.drain(),
    }
    let mut result = Ok(());
    let drain = async { result = worker.await };
    shutdown.drain("records", drain, out).await?;
    result
}

/// Settings of the API's synchronizer. The synchronizers of the other processes sweep, and one of them is enough.
fn without_sweeps() -> SynchronizerSettings {
    SynchronizerSettings { sweep_every: None, ..SynchronizerSettings::default() }
}

impl Deployment {
    async fn postgres(&self) -> Result<Postgres> {
        let url = self.views.as_deref();
        let url = url.context("--aws needs a Postgres database for the view; pass its URL with --views")?;
        Ok(Postgres::connect(url).await?)
    }

    fn tokens(&self) -> Result<TokenCodec> {
        signed_with_key_file(&self.db, &SystemClock, &Randomness::from_system())
    }
}
