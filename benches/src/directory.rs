//! Claims of unique names on one directory stream, whose folded value serves the commands for all names.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use eventsrc_core::commit::Vec1;
use eventsrc_core::storage::Put;
use eventsrc_core::{
    Commit, CommitId, Decider, EventStorage, MemoryStorage, Metadata, StreamName, Timestamp,
};
use eventsrc_core::{Decision, Operation, Outcome, Snapshot};
use eventsrc_examples::identity::{AllClaims, DirectoryEvent, DirectoryKey, Entry};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use crate::measure::paired;
use crate::table::{Bar, Row};
use crate::{Benchmark, no_child};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "directory",
    about: "a claim of a unique name in a directory of a hundred thousand and of a million names, compared with a thousand",
    run,
    child: no_child,
};

const SMALLEST: u64 = 1_000;

fn run(_: &Path) -> Result<Vec<Row>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut rows = Vec::new();
    for names in [100_000, 1_000_000] {
        let mut large = Directory::of(&runtime, names)?;
        let mut small = Directory::of(&runtime, SMALLEST)?;
        let paired =
            paired::compare(|units| large.claim(&runtime, units), |units| small.claim(&runtime, units))?;
        let nanoseconds = |seconds| seconds * 1e9;
        rows.push(
            Row::new(
                format!("a claim in a directory of {names} names, against one of {SMALLEST}"),
                "ns/claim",
                nanoseconds(paired.ours),
                nanoseconds(paired.reference),
            )
            .by_pairs(paired.speed.inverse())
            .bar(Bar::AtMost(1.5)),
        );
    }
    Ok(rows)
}

type Storage = Arc<MemoryStorage<DirectoryKey, u64, DirectoryEvent>>;

/// A directory, and the decider that claims and releases one name in it, so that its size stays the same.
struct Directory {
    decider: Decider<Storage, AllClaims>,
    owner: StreamName,
}

impl Directory {
    /// Creates a directory with this number of names.
    fn of(runtime: &Runtime, names: u64) -> Result<Self> {
        let storage = Storage::default();
        let owner: StreamName = "user/0".parse()?;
        let mut first = 1;
        while first <= names {
            let last = (first + 999).min(names);
            let payloads = (first..=last).map(|number| {
                Ok(DirectoryEvent::Claimed {
                    entry: entry(number)?,
                    owner: format!("user/{number}").parse()?,
                })
            });
            let commit = Commit {
                key: DirectoryKey,
                first,
                previous: None,
                time: Timestamp::UNIX_EPOCH,
                metadata: Metadata::new(CommitId(Uuid::from_u128(first.into()))),
                payloads: Vec1::try_from_vec(payloads.collect::<Result<_>>()?)?.into(),
            };
            if !matches!(runtime.block_on(storage.put(Arc::new(commit)))?, Put::Stored) {
                bail!("the names of the directory cannot be stored");
            }
            first = last + 1;
        }
        let directory = Self { decider: Decider::new(storage, AllClaims), owner };
        runtime.block_on(directory.decider.read(&DirectoryKey, |_| ()))?;
        Ok(directory)
    }

    /// Claims a new name and releases it, in turns.
    fn claim(&mut self, runtime: &Runtime, units: u64) -> Result<()> {
        let wanted = entry(0)?;
        runtime.block_on(async {
            for _ in 0..units {
                let (entry, owner) = (wanted.clone(), self.owner.clone());
                let operation = Operation::<_, (), Snapshot<u64, _>>::new(
                    move |known: &Snapshot<u64, eventsrc_examples::identity::Claims>| {
                        let claim = known.value.as_ref().and_then(|claims| claims.on(&entry));
                        Decision::save(match claim {
                            Some(claim) => DirectoryEvent::Released { entry: entry.clone(), claim: claim.at },
                            None => DirectoryEvent::Claimed { entry: entry.clone(), owner: owner.clone() },
                        })
                    },
                );
                let outcome = self.decider.save(&DirectoryKey, operation).await?;
                if !matches!(outcome, Outcome::Saved(_)) {
                    bail!("the claim was not saved: {outcome:?}");
                }
            }
            Ok(())
        })
    }
}

fn entry(number: u64) -> Result<Entry> {
    Ok(Entry::Email(format!("name-{number}@example.org").parse()?))
}
