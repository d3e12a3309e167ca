//! A counter in memory: decide on the folded value, append, fold.
//!
//! `cargo run --example counter`

use std::sync::Arc;

use anyhow::{Result, ensure};
use eventsrc_core::{
    Consistency, Decider, Decision, Event, MemoryStorage, Operation, Outcome, Query, Snapshot, StreamName,
    fold_fn,
};

#[derive(Debug, Clone, Copy)]
enum Counted {
    Up,
    Down,
}

/// Counts down, but not below zero.
fn down() -> Operation<Counted, &'static str, Snapshot<u64, i64>> {
    Operation::new(|counter: &Snapshot<u64, i64>| match counter.value {
        Some(value) if value > 0 => Decision::save(Counted::Down),
        _ => Decision::reject("the counter is at zero"),
    })
}

pub(crate) async fn run() -> Result<()> {
    let value =
        fold_fn(|_: &StreamName, value: &mut Option<i64>, event: Event<'_, StreamName, u64, Counted>| {
            *value.get_or_insert(0) += match event.payload {
                Counted::Up => 1,
                Counted::Down => -1,
            };
        });
    let storage = Arc::new(MemoryStorage::<StreamName, u64, Counted>::default());
    let decider = Decider::new(storage, value);

    let visits: StreamName = "counter/visits".parse()?;
    let rejected = decider.save(&visits, down()).await?;
    ensure!(matches!(rejected, Outcome::Rejected { .. }), "an empty counter cannot count down");
    for _ in 0..3 {
        let up = Operation::<_, &str, _>::new(|_: &Snapshot<u64, i64>| Decision::save(Counted::Up));
        ensure!(decider.save(&visits, up).await?.saved().is_some(), "counting up is always possible");
    }
    let down = decider.save(&visits, down()).await?.saved();
    println!("counted down at sequence {:?}", down.map(|saved| saved.sequence));

    let value = decider.query().get(&visits, Consistency::LatestEvent).await?;
    println!("the counter is at {value:?}");
    ensure!(value == Some(2), "three up and one down");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    run().await
}
