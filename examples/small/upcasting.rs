//! Events of an older version, read through an upcaster.
//!
//! `cargo run --example upcasting`

use anyhow::{Result, ensure};
use eventsrc_core::codec::{Json, Versioned};
use eventsrc_core::{Consistency, Event, Operation, Query, QueryApi, SaveApi, StreamName, fold_fn};
use eventsrc_sqlite::{Database, SqliteStorage};
use serde::{Deserialize, Serialize};

/// Version 1, as the first release wrote it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct NamedV1 {
    name: String,
}

/// Version 2, the current one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Named {
    first: String,
    last: String,
}

pub(crate) async fn run() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let database = Database::open(directory.path().join("people.db")).await?;
    let ada: StreamName = "person/ada".parse()?;

    // The first release stores version 1.
    let old: SqliteStorage<StreamName, u64, NamedV1> = SqliteStorage::new(&database);
    let named = NamedV1 { name: "Ada Lovelace".into() };
    ensure!(SaveApi::new(old).save(&ada, Operation::if_absent(named)).await?.saved().is_some());

    // The second release writes version 2, and converts version 1 while it reads.
    let codec = Versioned::new(Json, 2).upcast(|old: NamedV1| {
        let (first, last) = old.name.split_once(' ').ok_or("a name of one word")?;
        Ok(Named { first: first.into(), last: last.into() })
    });
    let storage = SqliteStorage::with_codec(&database, codec);
    let last_name = fold_fn(|_, last: &mut Option<String>, event: Event<'_, StreamName, u64, Named>| {
        *last = Some(event.payload.last.clone());
    });
    let (saves, names) = (SaveApi::new(storage.clone()), QueryApi::new(storage, last_name));
    println!("before: {:?}", names.get(&ada, Consistency::LatestEvent).await?);

    let married = Named { first: "Ada".into(), last: "King".into() };
    ensure!(saves.save(&ada, Operation::insert(married)).await?.saved().is_some());
    let history = names.get(&ada, Consistency::LatestEvent).await?;
    println!("after: {history:?}");
    ensure!(names.at_sequence(&ada, 1).await?.value.as_deref() == Some("Lovelace"), "version 1 is readable");
    ensure!(history.as_deref() == Some("King"), "version 2 is readable");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    run().await
}
