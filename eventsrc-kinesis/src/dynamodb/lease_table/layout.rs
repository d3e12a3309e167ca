//! The layout of lease items, and the expressions that change them. No other file names their attributes.
//!
//! The layout is that of the Kinesis Client Library (2.x and 3.x). During a handover, `leaseOwner` is the next owner, and
//! `checkpointOwner` is the current owner until it has finished. One counter counts renewals and changes of the owner. Other
//! attributes of an item are left unchanged.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use eventsrc_core::Timestamp;
use eventsrc_core::lease::{Checkpoint, Lease, NewLease, ShardPosition};
use eventsrc_dynamo::aws_sdk_dynamodb;

pub(super) type Item = HashMap<String, AttributeValue>;

/// Partition key: the id of the shard.
pub(super) const SHARD: &str = "leaseKey";
/// Owner, or the next owner during a handover.
const OWNER: &str = "leaseOwner";
/// Current owner during a handover.
const CHECKPOINT_OWNER: &str = "checkpointOwner";
const COUNTER: &str = "leaseCounter";
/// Number of changes of the owner since the last checkpoint.
const SWITCHES: &str = "ownerSwitchesSinceCheckpoint";
const CHECKPOINT: &str = "checkpoint";
const PART: &str = "checkpointSubSequenceNumber";
const PARENTS: &str = "parentShardId";
/// Kind of the row, since version 3.5 of the library, which stores rows of several kinds in one table.
const KIND: &str = "entityType";
/// Attribute of this crate: a checkpoint, and its time in microseconds since 1970. The time is ignored after a worker of the
/// library has changed the checkpoint.
const TIME: &str = "checkpointTime";

const TRIM_HORIZON: &str = "TRIM_HORIZON";
const LATEST: &str = "LATEST";
const AT: &str = "AT_TIMESTAMP";
const END: &str = "SHARD_END";

/// Error of an attribute that is missing or has an unexpected type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the attribute {0:?} is missing or has the wrong type")]
pub(super) struct Unreadable(&'static str);

/// Item of a new lease without an owner.
pub(super) fn new_item(lease: &NewLease) -> Item {
    let mut item = Item::from([
        (SHARD.to_owned(), text(&lease.shard)),
        (COUNTER.to_owned(), number(0)),
        (SWITCHES.to_owned(), number(0)),
    ]);
    if !lease.parents.is_empty() {
        item.insert(PARENTS.to_owned(), AttributeValue::Ss(lease.parents.clone()));
    }
    let CheckpointAttributes { checkpoint, part, time } = CheckpointAttributes::of(&lease.checkpoint);
    item.extend([(CHECKPOINT.to_owned(), text(&checkpoint)), (PART.to_owned(), number(part))]);
    item.extend(time.map(|time| (TIME.to_owned(), AttributeValue::S(time))));
    item
}

/// Reads the lease of an item. Returns `None` for a row of another kind.
pub(super) fn lease(item: &Item) -> Result<Option<Lease>, Unreadable> {
    let is_other_kind = item.get(KIND).is_some_and(|kind| kind.as_s().map(String::as_str) != Ok("LEASE"));
    let Some(counter) = item.get(COUNTER).filter(|_| !is_other_kind) else { return Ok(None) };
    // The library uses signed 64-bit counters.
    let counter = counter.as_n().ok().and_then(|digits| digits.parse::<i64>().ok()?.try_into().ok());
    let counter = counter.ok_or(Unreadable(COUNTER))?;
    let (lease_owner, checkpoint_owner) = (string(item, OWNER)?, string(item, CHECKPOINT_OWNER)?);
    let checkpoint = checkpoint(item)?;
    let (owner, next_owner) = match (lease_owner, checkpoint_owner) {
        // The library keeps the owner of a shard that has ended.
        _ if checkpoint == Checkpoint::End => (None, None),
        (Some(next_owner), Some(owner)) => (Some(owner), Some(next_owner)),
        // A lease without `leaseOwner` is free, even if it has a `checkpointOwner`.
        (owner, _) => (owner, None),
    };
    let parents = match item.get(PARENTS) {
        None => Vec::new(),
        Some(parents) => parents.as_ss().map_err(|_| Unreadable(PARENTS))?.clone(),
    };
    Ok(Some(Lease {
        shard: string(item, SHARD)?.ok_or(Unreadable(SHARD))?,
        parents,
        owner,
        next_owner,
        counter,
        heartbeat: counter,
        checkpoint,
    }))
}

fn checkpoint(item: &Item) -> Result<Checkpoint, Unreadable> {
    let checkpoint = string(item, CHECKPOINT)?.ok_or(Unreadable(CHECKPOINT))?;
    let time = string(item, TIME)?;
    let time = time.and_then(|time| {
        let (_, microseconds) = time.split_once(' ').filter(|(owner, _)| *owner == checkpoint)?;
        Timestamp::from_microsecond(microseconds.parse().ok()?).ok()
    });
    Ok(match (&*checkpoint, time) {
        (TRIM_HORIZON, _) => Checkpoint::TrimHorizon,
        (LATEST, _) => Checkpoint::Latest,
        (AT, Some(time)) => Checkpoint::At(time),
        // The library keeps the time in its configuration. An earlier start only repeats records.
        (AT, None) => Checkpoint::TrimHorizon,
        (END, _) => Checkpoint::End,
        (_, time) => {
            let part = match item.get(PART) {
                None => Some(0),
                Some(part) => part.as_n().ok().and_then(|digits| digits.parse().ok()),
            };
            let part = part.ok_or(Unreadable(PART))?;
            Checkpoint::After(ShardPosition { sequence_number: checkpoint.into(), part, time })
        }
    })
}

/// A conditional update of an item: condition expression, update expression, and the values in both.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) condition: String,
    pub(super) update: String,
    pub(super) values: Item,
}

/// Condition of the creation of a lease.
pub(super) const IS_NEW: &str = "attribute_not_exists(leaseKey)";

/// Key of the item of a lease.
pub(super) fn key(shard: &str) -> Item {
    Item::from([(SHARD.to_owned(), text(shard))])
}

/// Condition of the removal of a lease, and the values in it.
pub(super) fn has_ended() -> (&'static str, Item) {
    ("attribute_exists(leaseCounter) AND checkpoint = :end", Item::from([(":end".to_owned(), text(END))]))
}

/// Makes `worker` the owner of a lease that has not changed since it was read.
pub(super) fn take(lease: &Lease, worker: &str) -> Change {
    let mut change = Change::new(lease.counter, worker);
    change.require("checkpoint <> :end");
    change.value(":end", text(END));
    match (&lease.owner, &lease.next_owner) {
        (None, _) => change.require("attribute_not_exists(leaseOwner)"),
        (Some(owner), None) => {
            change.require("leaseOwner = :owner AND attribute_not_exists(checkpointOwner)");
            change.value(":owner", text(owner));
        }
        (Some(owner), Some(next_owner)) => {
            change.require("leaseOwner = :next_owner AND checkpointOwner = :owner");
            change.value(":owner", text(owner));
            change.value(":next_owner", text(next_owner));
        }
    }
    change.set("leaseOwner = :worker");
    if lease.owner.as_deref().is_some_and(|owner| owner != worker) {
        change
            .set("ownerSwitchesSinceCheckpoint = if_not_exists(ownerSwitchesSinceCheckpoint, :zero) + :one");
        change.value(":zero", number(0));
        change.value(":one", number(1));
    }
    change.update.push_str(" REMOVE checkpointOwner");
    change
}

/// Makes `worker` the next owner of a lease of `owner`.
pub(super) fn claim(owner: &str, worker: &str) -> Change {
    Change {
        condition:
            "attribute_exists(leaseCounter) AND leaseOwner = :owner AND attribute_not_exists(checkpointOwner)"
                .to_owned(),
        update: "SET leaseOwner = :worker, checkpointOwner = :owner".to_owned(),
        values: Item::from([(":owner".to_owned(), text(owner)), (":worker".to_owned(), text(worker))]),
    }
}

/// Renews a lease that `worker` owns and that has this counter.
pub(super) fn renew(counter: u64, worker: &str, checkpoint: Option<&Checkpoint>) -> Change {
    let mut change = Change::new(counter, worker);
    change.require(
        "(checkpointOwner = :worker OR (leaseOwner = :worker AND attribute_not_exists(checkpointOwner)))",
    );
    let removed =
        if checkpoint == Some(&Checkpoint::End) { &["leaseOwner", "checkpointOwner"][..] } else { &[] };
    change.set_checkpoint(checkpoint, removed);
    change
}

/// Releases a lease that `worker` owns and that has this counter: to the next owner if it has one, otherwise to no owner.
pub(super) fn release(
    counter: u64,
    worker: &str,
    has_next_owner: bool,
    checkpoint: Option<&Checkpoint>,
) -> Change {
    let mut change = Change::new(counter, worker);
    if has_next_owner {
        change.require("checkpointOwner = :worker AND attribute_exists(leaseOwner)");
    } else {
        change.require("leaseOwner = :worker AND attribute_not_exists(checkpointOwner)");
    }
    let removed = match (checkpoint, has_next_owner) {
        (Some(Checkpoint::End), _) => &["leaseOwner", "checkpointOwner"][..],
        (_, true) => &["checkpointOwner"],
        (_, false) => &["leaseOwner"],
    };
    change.set_checkpoint(checkpoint, removed);
    change
}

impl Change {
    /// Starts a change of a lease that has this counter; the change increments the counter.
    fn new(counter: u64, worker: &str) -> Self {
        Self {
            condition: "leaseCounter = :counter".to_owned(),
            update: "SET leaseCounter = :next".to_owned(),
            values: Item::from([
                (":counter".to_owned(), number(counter)),
                (":next".to_owned(), number(counter + 1)),
                (":worker".to_owned(), text(worker)),
            ]),
        }
    }

    fn require(&mut self, condition: &str) {
        self.condition.push_str(" AND ");
        self.condition.push_str(condition);
    }

    fn set(&mut self, update: &str) {
        self.update.push_str(", ");
        self.update.push_str(update);
    }

    fn value(&mut self, name: &str, value: AttributeValue) {
        self.values.insert(name.to_owned(), value);
    }

    /// Sets the checkpoint, if there is a new one, and removes the attributes `removed`.
    fn set_checkpoint(&mut self, checkpoint: Option<&Checkpoint>, removed: &[&str]) {
        let mut removed = removed.to_vec();
        if let Some(checkpoint) = checkpoint {
            let CheckpointAttributes { checkpoint, part, time } = CheckpointAttributes::of(checkpoint);
            self.set("checkpoint = :checkpoint, checkpointSubSequenceNumber = :part");
            self.set("ownerSwitchesSinceCheckpoint = :zero");
            self.value(":checkpoint", text(&checkpoint));
            self.value(":part", number(part));
            self.value(":zero", number(0));
            match time {
                Some(time) => {
                    self.set("checkpointTime = :time");
                    self.value(":time", AttributeValue::S(time));
                }
                None => removed.push(TIME),
            }
        }
        if !removed.is_empty() {
            self.update.push_str(" REMOVE ");
            self.update.push_str(&removed.join(", "));
        }
    }
}

/// Values of the attributes of a checkpoint.
struct CheckpointAttributes {
    checkpoint: String,
    part: u64,
    time: Option<String>,
}

impl CheckpointAttributes {
    fn of(checkpoint: &Checkpoint) -> Self {
        let (checkpoint, part, time) = match checkpoint {
            Checkpoint::TrimHorizon => (TRIM_HORIZON, 0, None),
            Checkpoint::Latest => (LATEST, 0, None),
            Checkpoint::At(time) => (AT, 0, Some(time)),
            Checkpoint::After(position) => {
                (&*position.sequence_number, position.part, position.time.as_ref())
            }
            Checkpoint::End => (END, 0, None),
        };
        let time = time.map(|time| format!("{checkpoint} {}", time.as_microsecond()));
        Self { checkpoint: checkpoint.to_owned(), part, time }
    }
}

fn string(item: &Item, name: &'static str) -> Result<Option<String>, Unreadable> {
    item.get(name).map(|value| value.as_s().cloned().map_err(|_| Unreadable(name))).transpose()
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lease item of the Kinesis Client Library, with attributes that this crate does not know.
    fn sample() -> Item {
        Item::from([
            ("leaseKey".into(), text("shardId-000000000002")),
            ("leaseOwner".into(), text("new worker")),
            ("checkpointOwner".into(), text("old worker")),
            ("leaseCounter".into(), number(42)),
            ("ownerSwitchesSinceCheckpoint".into(), number(1)),
            ("checkpoint".into(), text("49590338271490256608559692538361571095921575989136588898")),
            ("checkpointSubSequenceNumber".into(), number(3)),
            ("parentShardId".into(), AttributeValue::Ss(vec!["shardId-000000000000".into()])),
            ("startingHashKey".into(), text("0")),
            ("endingHashKey".into(), text("170141183460469231731687303715884105727")),
            ("throughputKBps".into(), AttributeValue::N("1.5".into())),
            ("pendingCheckpointState".into(), AttributeValue::B(vec![1].into())),
        ])
    }

    #[test]
    fn a_lease_of_the_client_library_is_read() {
        let number = "49590338271490256608559692538361571095921575989136588898";
        let expected = Lease {
            shard: "shardId-000000000002".into(),
            parents: vec!["shardId-000000000000".into()],
            owner: Some("old worker".into()),
            next_owner: Some("new worker".into()),
            counter: 42,
            heartbeat: 42,
            checkpoint: Checkpoint::After(ShardPosition {
                sequence_number: number.into(),
                part: 3,
                time: None,
            }),
        };
        assert_eq!(lease(&sample()), Ok(Some(expected)));
        let mut item = sample();
        item.insert("entityType".into(), text("LEASE"));
        assert!(matches!(lease(&item), Ok(Some(_))));
    }

    #[test]
    fn rows_of_other_kinds_are_not_leases() {
        for kind in ["STREAM", "LEADER", "WORKER_METRIC_STATS", "CLIENT_VERSION_MIGRATION"] {
            let mut item = sample();
            item.insert("entityType".into(), text(kind));
            assert_eq!(lease(&item), Ok(None));
        }
        assert_eq!(lease(&Item::from([("leaseKey".into(), text("a"))])), Ok(None));
    }

    #[test]
    fn damaged_leases_are_errors() {
        let damaged = |name: &str, value: Option<AttributeValue>| {
            let mut item = sample();
            item.remove(name);
            item.extend(value.map(|value| (name.to_owned(), value)));
            lease(&item)
        };
        assert_eq!(damaged("checkpoint", None), Err(Unreadable("checkpoint")));
        assert_eq!(damaged("leaseCounter", Some(text("1"))), Err(Unreadable("leaseCounter")));
        assert_eq!(
            damaged("leaseCounter", Some(AttributeValue::N("-1".into()))),
            Err(Unreadable("leaseCounter"))
        );
        assert_eq!(damaged("leaseOwner", Some(number(1))), Err(Unreadable("leaseOwner")));
        assert_eq!(damaged("parentShardId", Some(text("a"))), Err(Unreadable("parentShardId")));
        assert!(matches!(damaged("checkpointSubSequenceNumber", None), Ok(Some(_))), "the default is 0");
    }

    #[test]
    fn a_shard_that_has_ended_has_no_owner() {
        let mut item = sample();
        item.insert("checkpoint".into(), text("SHARD_END"));
        let lease = lease(&item).unwrap().unwrap();
        assert_eq!((lease.owner, lease.next_owner, lease.checkpoint), (None, None, Checkpoint::End));
    }

    #[test]
    fn a_lease_without_an_owner_is_free_despite_a_checkpoint_owner() {
        let mut item = sample();
        item.remove("leaseOwner");
        let lease = lease(&item).unwrap().unwrap();
        assert_eq!((lease.owner, lease.next_owner), (None, None));
    }

    #[test]
    fn a_time_is_ignored_after_its_checkpoint_has_changed() {
        let time = Timestamp::from_microsecond(1_767_225_600_000_001).unwrap();
        let new = |checkpoint| NewLease { shard: "a".into(), parents: Vec::new(), checkpoint };
        let at = new_item(&new(Checkpoint::At(time)));
        assert_eq!(at["checkpointTime"], text("AT_TIMESTAMP 1767225600000001"));
        assert_eq!(checkpoint(&at), Ok(Checkpoint::At(time)));
        let position = ShardPosition { sequence_number: "17".into(), part: 2, time: Some(time) };
        let mut after = new_item(&new(Checkpoint::After(position.clone())));
        assert_eq!(checkpoint(&after), Ok(Checkpoint::After(position)));
        // A worker of the library changes the checkpoint, and leaves the time unchanged.
        after.insert("checkpoint".into(), text("18"));
        let changed = ShardPosition { sequence_number: "18".into(), part: 2, time: None };
        assert_eq!(checkpoint(&after), Ok(Checkpoint::After(changed)));
        after.insert("checkpoint".into(), text("AT_TIMESTAMP"));
        assert_eq!(
            checkpoint(&after),
            Ok(Checkpoint::TrimHorizon),
            "the oldest record is earlier than any time"
        );
    }
}
