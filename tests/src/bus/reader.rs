//! A process that answers reads from its view with at least the token of the caller.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result, bail};
use eventsrc_core::storage::CountingStorage;
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::token::TokenCodec;
use eventsrc_core::{EventStorage, StreamName, Synchronizer, Token};
use tokio::sync::mpsc;

use super::worker::answered;
use super::{Bus, LedgerView, quick};
use crate::HANG;

/// Keeps the ledger of `bus` and answers requests on standard input, one on each line, in any order. A request is
/// a number and a token; its answer is the number and the id of the commit that the token names, as the ledger
/// has it. The request `reads` asks for the number of reads of the storage because the bus was late.
///
/// # Errors
///
/// If a call fails that must not fail.
pub(super) async fn answer(bus: &Bus) -> Result<()> {
    let leases = bus.leases("reader").await?;
    let feed = answered(|| bus.changes_on_kinesis(leases.clone(), quick())).await?;
    let (storage, view) = (Arc::new(CountingStorage::new(bus.storage())), bus.view().await?);
    let settings = SynchronizerSettings { sweep_every: None, ..SynchronizerSettings::default() };
    let synchronizer = Synchronizer::start(Arc::clone(&storage), view.clone(), settings);
    tokio::select! {
        ended = synchronizer.follow(feed) => ended?,
        asked = listen(&synchronizer, &storage, &view) => return asked,
    }
    bail!("the feed has ended")
}

async fn listen<St: EventStorage>(
    synchronizer: &Synchronizer<LedgerView>,
    storage: &CountingStorage<St>,
    view: &LedgerView,
) -> Result<()> {
    let (sender, mut lines) = mpsc::unbounded_channel();
    thread::spawn(move || io::stdin().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    say("ready")?;
    while let Some(line) = lines.recv().await {
        if line == "reads" {
            say(&format!("reads {}", storage.take().reads))?;
            continue;
        }
        let (number, token) = line.split_once(' ').context("a number and a token")?;
        let (number, token) = (number.to_owned(), TokenCodec::unsigned().decode(token)?);
        let (synchronizer, view) = (synchronizer.clone(), view.clone());
        tokio::spawn(async move {
            let read = read(&synchronizer, &view, &token).await;
            say(&format!("{number} {}", read.unwrap_or_else(|error| format!("failed: {error:#}"))))
        });
    }
    Ok(())
}

/// The id of the commit that the token names, as the ledger has it.
async fn read(synchronizer: &Synchronizer<LedgerView>, view: &LedgerView, token: &Token) -> Result<String> {
    let (stream, first) = token.positions().next().context("a token of a stream")?;
    let query = (stream.as_str().to_owned(), i64::try_from(first.number)?);
    let found = synchronizer.at_least(token, HANG, |streams: Arc<[StreamName]>| {
        let (view, query) = (view.clone(), query.clone());
        async move {
            let find = |transaction: eventsrc_postgres::Transaction| {
                let (stream, first) = query.clone();
                async move {
                    let find = "SELECT commit_id FROM entries_v1 WHERE stream = $1 AND first = $2";
                    let find = transaction.prepare_cached(find).await?;
                    let rows = transaction.query(&find, &[&stream, &first]).await?;
                    Ok(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>())
                }
            };
            view.read(&streams, find).await
        }
    });
    Ok(found.await?.join(" and "))
}

fn say(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}
