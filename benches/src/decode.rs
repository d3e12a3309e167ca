//! A fold of stored bytes, compared with the raw decoder and the same `match`.
//!
//! Our side works like a backend: a storage with encoded commits decodes them into pages, and a query folds the pages.
//! The raw side decodes one payload after the other from separate buffers and keeps none.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use eventsrc_core::backend::EncodedPayloads;
use eventsrc_core::codec::{Codec, Json, Postcard};
use eventsrc_core::storage::Page;
use eventsrc_core::storage::{PageOf, PutOf};
use eventsrc_core::{Consistency, ErrorKind, EventStorage, Head, Query, QueryApi, StorageError, StreamName};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};

use crate::Benchmark;
use crate::account::{self, Account, AccountEvent, Statement};
use crate::measure::counted::{self, region};
use crate::table::{Bar, Row};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "decode",
    about: "decode and fold of stored bytes, compared with raw serde_json",
    run,
    child,
};

const EVENTS: usize = 10_000;

fn run(_: &Path) -> Result<Vec<Row>> {
    let count = |side: &str, size: &str| {
        let total = counted::instructions(BENCHMARK.name, &[side, size])?;
        Ok::<_, anyhow::Error>(total as f64 / EVENTS as f64)
    };
    let raw_json = count("raw-json", "1")?;
    let raw_postcard = count("raw-postcard", "1")?;
    let mut rows = Vec::new();
    for size in ["10", "1"] {
        let row = |name: &str, ours, reference| {
            Row::new(format!("{name}, {size} a commit"), "instructions/event", ours, reference)
        };
        rows.push(row("decode and fold JSON", count("json", size)?, raw_json).bar(Bar::AtMost(1.10)));
        let postcard = count("postcard", size)?;
        rows.push(row("decode and fold postcard", postcard, raw_postcard));
        rows.push(row("decode and fold postcard, against raw JSON", postcard, raw_json));
        rows.push(row("storage, query and decode JSON", count("query", size)?, raw_json));
    }
    Ok(rows)
}

fn child(arguments: &[&str]) -> Result<()> {
    let &[side, size] = arguments else { bail!("expected a side and a size") };
    let size = size.parse()?;
    let value = match side {
        "json" => commits(&Json, size),
        "postcard" => commits(&Postcard, size),
        "query" => query(Json, size),
        "raw-json" => {
            let stored = encoded_one_by_one(&Json);
            region(|| raw(&stored, |bytes| serde_json::from_slice(bytes).expect("it was encoded as JSON")))
        }
        "raw-postcard" => {
            let stored = encoded_one_by_one(&Postcard);
            region(|| raw(&stored, |bytes| postcard::from_bytes(bytes).expect("it was encoded by postcard")))
        }
        _ => bail!("unknown side {side}"),
    };
    let mut expected = None;
    account::events(EVENTS).for_each(|event| account::apply(&mut expected, &event));
    if value != expected || value.is_none() {
        bail!("{side} returned {value:?} instead of {expected:?}");
    }
    Ok(())
}

/// Decodes commit after commit, as a backend does.
fn commits<C: Codec<AccountEvent>>(codec: &C, size: usize) -> Option<Account> {
    let stored = encoded(codec, size);
    region(|| {
        let mut account = None;
        for (_, encoded) in &stored {
            let payloads = EncodedPayloads::decode(codec, encoded.version, &encoded.bytes, &encoded.lengths);
            payloads
                .expect("the payloads can be decoded")
                .iter()
                .for_each(|it| account::apply(&mut account, it));
        }
        account
    })
}

/// Runs a query that folds the pages of a storage with encoded commits.
fn query<C: Codec<AccountEvent>>(codec: C, size: usize) -> Option<Account> {
    let commits = encoded(&codec, size);
    let api = QueryApi::new(EncodedStorage { codec, commits }, Statement);
    region(|| {
        let get = api.get(&account::key(), Consistency::LatestEvent).now_or_never();
        get.expect("memory answers at once").expect("the payloads can be decoded")
    })
}

fn encoded<C: Codec<AccountEvent>>(codec: &C, size: usize) -> Vec<(u64, EncodedPayloads)> {
    account::commits(EVENTS, size)
        .map(|commit| {
            let encoded =
                EncodedPayloads::encode(codec, &commit.payloads).expect("the payloads can be encoded");
            (commit.first, encoded)
        })
        .collect()
}

#[inline(never)]
fn raw(stored: &[Vec<u8>], decode: impl Fn(&[u8]) -> AccountEvent) -> Option<Account> {
    let mut account = None;
    for bytes in stored {
        account::apply(&mut account, &decode(bytes));
    }
    account
}

fn encoded_one_by_one<C: Codec<AccountEvent>>(codec: &C) -> Vec<Vec<u8>> {
    account::events(EVENTS)
        .map(|event| {
            let mut bytes = Vec::new();
            codec.encode(&event, &mut bytes).expect("the payload can be encoded");
            bytes
        })
        .collect()
}

/// A storage of one stream, encoded in memory: a backend without a disk.
struct EncodedStorage<C> {
    codec: C,
    commits: Vec<(u64, EncodedPayloads)>,
}

const COMMITS_PER_PAGE: usize = 256;

impl<C: Codec<AccountEvent>> EventStorage for EncodedStorage<C> {
    type Key = StreamName;
    type Sequence = u64;
    type Payload = AccountEvent;

    async fn put(&self, _: Arc<eventsrc_core::storage::CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        Err(StorageError::new(ErrorKind::Refused, "this storage is read-only"))
    }

    async fn recent(&self, _: &StreamName, _: usize) -> Result<Vec<Head<u64>>, StorageError> {
        Err(StorageError::new(ErrorKind::Refused, "this storage supports only reads of events"))
    }

    fn events(&self, key: &StreamName, _: Option<u64>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let key = key.clone();
        let pages = self.commits.chunks(COMMITS_PER_PAGE).map(move |chunk| {
            let commits = chunk.iter().map(|(first, encoded)| {
                let payloads =
                    EncodedPayloads::decode(&self.codec, encoded.version, &encoded.bytes, &encoded.lengths);
                let payloads = payloads.map_err(|(_, error)| {
                    StorageError::new(ErrorKind::Corrupt, "cannot read the commit").on(&key).because(error)
                })?;
                Ok(Arc::new(account::commit(key.clone(), *first, payloads)))
            });
            Ok(Page::new(commits.collect::<Result<_, StorageError>>()?))
        });
        stream::iter(pages).boxed()
    }
}

impl<C> fmt::Debug for EncodedStorage<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedStorage").finish_non_exhaustive()
    }
}
