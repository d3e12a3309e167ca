//! Reads with tokens, while the view is behind and calls fail at random.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow};
use eventsrc_core::clock::SystemClock;
use eventsrc_core::synchronizer::{AtLeastError, SynchronizerSettings};
use eventsrc_core::view::MemoryView;
use eventsrc_core::{
    Event, MemoryStorage, Operation, SaveApi, StreamName, Synchronizer, Token, ViewDefinition,
};
use eventsrc_testkit::{Faults, Faulty, FaultyView};
use futures::future::try_join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::HANG;

/// Result of the reads.
#[derive(Debug, Default, Clone)]
pub struct FreshReads {
    /// Number of answered reads.
    pub answered: u64,
    /// Number of reads that were refused as stale because their limit was short.
    pub stale: u64,
    /// Number of injected faults.
    pub faults: u64,
    /// Descriptions of all violations.
    pub violations: Vec<String>,
}

const CLIENTS: u64 = 16;
const STREAMS: u64 = 40;

/// Number of applied events of each stream.
type Counts = BTreeMap<String, u64>;

/// Makes `reads` reads of a view without a feed, by clients that write and exchange their tokens. A tenth of the
/// reads have a very short limit, and some have tokens from the future. Under `faults`, storage and view fail at
/// random. No answer may be older than its token, and no read may outlast its limit by much.
///
/// # Errors
///
/// If a call fails that must not fail.
pub async fn read_under_lag(reads: u64, faults: bool, seed: u64) -> Result<FreshReads> {
    let drawn = |seed| if faults { Faults::seeded(seed) } else { Faults::none() };
    let storage = Arc::new(MemoryStorage::<StreamName, u64, ()>::default());
    let definition = ViewDefinition::new("counts", ["account"])?;
    let count = |counts: &mut Counts, event: Event<'_, StreamName, u64, ()>| {
        *counts.entry(event.key().to_string()).or_default() += 1;
        Ok(())
    };
    let rows = Arc::new(MemoryView::new(definition, count));
    let clock = Arc::new(SystemClock);
    let source = Arc::new(Faulty::new(Arc::clone(&storage), drawn(seed), clock.clone()));
    let view = Arc::new(FaultyView::new(Arc::clone(&rows), drawn(seed + 1), clock));
    let mut settings = SynchronizerSettings { sweep_every: None, ..SynchronizerSettings::default() };
    settings.retry.longest_wait = Duration::from_millis(5);
    let synchronizer = Synchronizer::start(Arc::clone(&source), Arc::clone(&view), settings);
    let saves = SaveApi::new(storage);
    // The join of all tokens so far.
    let shared = Mutex::new(Token::default());
    let clients = (0..CLIENTS).map(|client| {
        let (synchronizer, saves, shared, rows) = (&synchronizer, &saves, &shared, &rows);
        let mut random = StdRng::seed_from_u64(seed * CLIENTS + client);
        async move {
            let mut came = FreshReads::default();
            for read in 0..reads / CLIENTS + 1 {
                let key = StreamName::new("account", &random.random_range(0..STREAMS).to_string())?;
                let mut token = if random.random_bool(0.3) {
                    let outcome = saves.save(&key, Operation::insert(())).await?;
                    let token = outcome.saved().ok_or_else(|| anyhow!("an insert is never rejected"))?.token;
                    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    *shared = std::mem::take(&mut *shared).join(&token);
                    token
                } else {
                    shared.lock().unwrap_or_else(PoisonError::into_inner).clone()
                };
                let future = random.random_bool(0.001);
                if future {
                    token = token.join(&Token::claimed(&key, 1_000_000u64)?);
                }
                let short = future || random.random_bool(0.1);
                let limit = if short { Duration::from_micros(random.random_range(0..3000)) } else { HANG };
                let answer = synchronizer
                    .at_least(&token, limit, |streams| async move { Ok(rows.read(&streams, Counts::clone)) });
                let answer = tokio::time::timeout(2 * HANG, answer).await;
                let what = format!("seed {seed}, client {client}, read {read}");
                match answer {
                    Err(_) => came.violations.push(format!("{what}: a read hangs")),
                    Ok(Ok(counts)) => {
                        came.answered += 1;
                        for (stream, wanted) in token.positions() {
                            let number = wanted.number;
                            let seen = counts.get(stream.as_str()).copied().unwrap_or_default();
                            if seen < number {
                                let early = format!("{what}: {stream} at {seen}, asked for {number}");
                                came.violations.push(early);
                            }
                        }
                    }
                    Ok(Err(AtLeastError::Stale(stale))) if short && !stale.missing.is_empty() => {
                        came.stale += 1;
                    }
                    Ok(Err(error)) => came.violations.push(format!("{what}: {error}")),
                }
            }
            anyhow::Ok(came)
        }
    });
    let mut came = FreshReads::default();
    for client in try_join_all(clients).await? {
        came.answered += client.answered;
        came.stale += client.stale;
        came.violations.extend(client.violations);
    }
    came.faults = source.injected().total() + view.injected().total();
    synchronizer.stop().await;
    Ok(came)
}
