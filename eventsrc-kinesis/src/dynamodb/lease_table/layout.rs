//! The items of leases: this file alone knows their attributes, which are those of the Kinesis Client Library (2.x and 3.x), and
//! its expressions.
//!
//! There a lease that is handed over has its heir as `leaseOwner` already, and its owner as `checkpointOwner` until it is done.
//! One counter counts renewals and changes of hands. Whatever else an item has is left alone.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use eventsrc_core::Timestamp;
use eventsrc_core::lease::{Checkpoint, Lease, NewLease, ShardPosition};
use eventsrc_dynamo::aws_sdk_dynamodb;

pub(super) type Item = HashMap<String, AttributeValue>;

/// The partition key: the shard.
pub(super) const SHARD: &str = "leaseKey";
const OWNER: &str = "leaseOwner";
const OWNER_UNTIL_DONE: &str = "checkpointOwner";
const COUNTER: &str = "leaseCounter";
/// How often the owner changed without a new checkpoint.
const SWITCHES: &str = "ownerSwitchesSinceCheckpoint";
const CHECKPOINT: &str = "checkpoint";
const PART: &str = "checkpointSubSequenceNumber";
const PARENTS: &str = "parentShardId";
/// What kind of row it is, from 3.5 on: in a table with rows of other kinds.
const KIND: &str = "entityType";
/// Our own: the checkpoint that it belongs to, so that it counts no longer when somebody else moved that one, and microseconds
/// since 1970.
const TIME: &str = "checkpointTime";

const TRIM_HORIZON: &str = "TRIM_HORIZON";
const LATEST: &str = "LATEST";
const AT: &str = "AT_TIMESTAMP";
const END: &str = "SHARD_END";

/// An attribute is not as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the attribute {0:?} is missing, or none of its kind")]
pub(super) struct Unreadable(&'static str);

/// The item of a lease that nobody has.
pub(super) fn new_item(lease: &NewLease) -> Item {
    let mut item = Item::from([
        (SHARD.to_owned(), text(&lease.shard)),
        (COUNTER.to_owned(), number(0)),
        (SWITCHES.to_owned(), number(0)),
    ]);
    if !lease.parents.is_empty() {
        item.insert(PARENTS.to_owned(), AttributeValue::Ss(lease.parents.clone()));
    }
    let Checkpointed { checkpoint, part, time } = Checkpointed::of(&lease.checkpoint);
    item.extend([(CHECKPOINT.to_owned(), text(&checkpoint)), (PART.to_owned(), number(part))]);
    item.extend(time.map(|time| (TIME.to_owned(), AttributeValue::S(time))));
    item
}

/// The lease of an item; `None` if it is a row of another kind.
pub(super) fn lease(item: &Item) -> Result<Option<Lease>, Unreadable> {
    let of_another_kind = item.get(KIND).is_some_and(|kind| kind.as_s().map(String::as_str) != Ok("LEASE"));
    let Some(counter) = item.get(COUNTER).filter(|_| !of_another_kind) else { return Ok(None) };
    // The library counts in 63 bits.
    let counter = counter.as_n().ok().and_then(|digits| digits.parse::<i64>().ok()?.try_into().ok());
    let counter = counter.ok_or(Unreadable(COUNTER))?;
    let (first, second) = (string(item, OWNER)?, string(item, OWNER_UNTIL_DONE)?);
    let checkpoint = checkpoint(item)?;
    let (owner, next_owner) = match (first, second) {
        // The library keeps the owner of a shard that ended.
        _ if checkpoint == Checkpoint::End => (None, None),
        (Some(next_owner), Some(owner)) => (Some(owner), Some(next_owner)),
        // Without an owner it is free, whoever has not finished.
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
        let (_, microseconds) = time.split_once(' ').filter(|(of, _)| *of == checkpoint)?;
        Timestamp::from_microsecond(microseconds.parse().ok()?).ok()
    });
    Ok(match (&*checkpoint, time) {
        (TRIM_HORIZON, _) => Checkpoint::TrimHorizon,
        (LATEST, _) => Checkpoint::Latest,
        (AT, Some(time)) => Checkpoint::At(time),
        // The library has the time in its configuration. To begin earlier does no harm.
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

/// A change of an item, as the service takes it: what it has to be, what it becomes, and the values that stand in both.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) condition: String,
    pub(super) update: String,
    pub(super) values: Item,
}

/// The condition under which a lease is made.
pub(super) const IS_NEW: &str = "attribute_not_exists(leaseKey)";

/// The key of a lease.
pub(super) fn key(shard: &str) -> Item {
    Item::from([(SHARD.to_owned(), text(shard))])
}

/// The condition under which a lease is removed, and its values.
pub(super) fn has_ended() -> (&'static str, Item) {
    ("attribute_exists(leaseCounter) AND checkpoint = :end", Item::from([(":end".to_owned(), text(END))]))
}

/// Makes `worker` the owner of what is as it was seen.
pub(super) fn take(seen: &Lease, worker: &str) -> Change {
    let mut change = Change::new(seen.counter, worker);
    change.requires("checkpoint <> :end");
    change.value(":end", text(END));
    match (&seen.owner, &seen.next_owner) {
        (None, _) => change.requires("attribute_not_exists(leaseOwner)"),
        (Some(owner), None) => {
            change.requires("leaseOwner = :owner AND attribute_not_exists(checkpointOwner)");
            change.value(":owner", text(owner));
        }
        (Some(owner), Some(next_owner)) => {
            change.requires("leaseOwner = :heir AND checkpointOwner = :owner");
            change.value(":owner", text(owner));
            change.value(":heir", text(next_owner));
        }
    }
    change.sets("leaseOwner = :worker");
    if seen.owner.as_deref().is_some_and(|owner| owner != worker) {
        change
            .sets("ownerSwitchesSinceCheckpoint = if_not_exists(ownerSwitchesSinceCheckpoint, :zero) + :one");
        change.value(":zero", number(0));
        change.value(":one", number(1));
    }
    change.update.push_str(" REMOVE checkpointOwner");
    change
}

/// Makes `worker` the heir of `owner`.
pub(super) fn claim(owner: &str, worker: &str) -> Change {
    Change {
        condition:
            "attribute_exists(leaseCounter) AND leaseOwner = :owner AND attribute_not_exists(checkpointOwner)"
                .to_owned(),
        update: "SET leaseOwner = :worker, checkpointOwner = :owner".to_owned(),
        values: Item::from([(":owner".to_owned(), text(owner)), (":worker".to_owned(), text(worker))]),
    }
}

/// Renews what `worker` owns with this counter.
pub(super) fn renew(counter: u64, worker: &str, checkpoint: Option<&Checkpoint>) -> Change {
    let mut change = Change::new(counter, worker);
    change.requires(
        "(checkpointOwner = :worker OR (leaseOwner = :worker AND attribute_not_exists(checkpointOwner)))",
    );
    let removed =
        if checkpoint == Some(&Checkpoint::End) { &["leaseOwner", "checkpointOwner"][..] } else { &[] };
    change.brings(checkpoint, removed);
    change
}

/// Hands over what `worker` owns with this counter, to its heir if it has one, or to nobody.
pub(super) fn release(counter: u64, worker: &str, has_heir: bool, checkpoint: Option<&Checkpoint>) -> Change {
    let mut change = Change::new(counter, worker);
    if has_heir {
        change.requires("checkpointOwner = :worker AND attribute_exists(leaseOwner)");
    } else {
        change.requires("leaseOwner = :worker AND attribute_not_exists(checkpointOwner)");
    }
    let removed = match (checkpoint, has_heir) {
        (Some(Checkpoint::End), _) => &["leaseOwner", "checkpointOwner"][..],
        (_, true) => &["checkpointOwner"],
        (_, false) => &["leaseOwner"],
    };
    change.brings(checkpoint, removed);
    change
}

impl Change {
    /// A change of a lease with this counter, to the next one.
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

    fn requires(&mut self, condition: &str) {
        self.condition.push_str(" AND ");
        self.condition.push_str(condition);
    }

    fn sets(&mut self, update: &str) {
        self.update.push_str(", ");
        self.update.push_str(update);
    }

    fn value(&mut self, name: &str, value: AttributeValue) {
        self.values.insert(name.to_owned(), value);
    }

    /// A new checkpoint, if there is one, and attributes that are removed.
    fn brings(&mut self, checkpoint: Option<&Checkpoint>, removed: &[&str]) {
        let mut removed = removed.to_vec();
        if let Some(checkpoint) = checkpoint {
            let Checkpointed { checkpoint, part, time } = Checkpointed::of(checkpoint);
            self.sets("checkpoint = :checkpoint, checkpointSubSequenceNumber = :part");
            self.sets("ownerSwitchesSinceCheckpoint = :zero");
            self.value(":checkpoint", text(&checkpoint));
            self.value(":part", number(part));
            self.value(":zero", number(0));
            match time {
                Some(time) => {
                    self.sets("checkpointTime = :time");
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

/// A checkpoint as it lies in its attributes.
struct Checkpointed {
    checkpoint: String,
    part: u64,
    time: Option<String>,
}

impl Checkpointed {
    fn of(checkpoint: &Checkpoint) -> Self {
        let (checkpoint, part, time) = match checkpoint {
            Checkpoint::TrimHorizon => (TRIM_HORIZON, 0, None),
            Checkpoint::Latest => (LATEST, 0, None),
            Checkpoint::At(time) => (AT, 0, Some(time)),
            Checkpoint::After(place) => (&*place.sequence_number, place.part, place.time.as_ref()),
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

    /// A lease as the Kinesis Client Library stores it, with what it keeps for itself.
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
    fn rows_of_other_kinds_are_none() {
        for kind in ["STREAM", "LEADER", "WORKER_METRIC_STATS", "CLIENT_VERSION_MIGRATION"] {
            let mut item = sample();
            item.insert("entityType".into(), text(kind));
            assert_eq!(lease(&item), Ok(None));
        }
        assert_eq!(lease(&Item::from([("leaseKey".into(), text("a"))])), Ok(None));
    }

    #[test]
    fn leases_that_are_damaged_are_told() {
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
        assert!(matches!(damaged("checkpointSubSequenceNumber", None), Ok(Some(_))), "0 is what is meant");
    }

    #[test]
    fn a_shard_that_ended_has_no_owner_whatever_the_library_keeps() {
        let mut item = sample();
        item.insert("checkpoint".into(), text("SHARD_END"));
        let lease = lease(&item).unwrap().unwrap();
        assert_eq!((lease.owner, lease.next_owner, lease.checkpoint), (None, None, Checkpoint::End));
    }

    #[test]
    fn a_lease_without_an_owner_is_free_whoever_has_not_finished() {
        let mut item = sample();
        item.remove("leaseOwner");
        let lease = lease(&item).unwrap().unwrap();
        assert_eq!((lease.owner, lease.next_owner), (None, None));
    }

    #[test]
    fn a_time_counts_for_its_own_checkpoint_alone() {
        let time = Timestamp::from_microsecond(1_767_225_600_000_001).unwrap();
        let new = |checkpoint| NewLease { shard: "a".into(), parents: Vec::new(), checkpoint };
        let at = new_item(&new(Checkpoint::At(time)));
        assert_eq!(at["checkpointTime"], text("AT_TIMESTAMP 1767225600000001"));
        assert_eq!(checkpoint(&at), Ok(Checkpoint::At(time)));
        let place = ShardPosition { sequence_number: "17".into(), part: 2, time: Some(time) };
        let mut after = new_item(&new(Checkpoint::After(place.clone())));
        assert_eq!(checkpoint(&after), Ok(Checkpoint::After(place)));
        // The library moves the checkpoint, and leaves the time alone.
        after.insert("checkpoint".into(), text("18"));
        let moved = ShardPosition { sequence_number: "18".into(), part: 2, time: None };
        assert_eq!(checkpoint(&after), Ok(Checkpoint::After(moved)));
        after.insert("checkpoint".into(), text("AT_TIMESTAMP"));
        assert_eq!(checkpoint(&after), Ok(Checkpoint::TrimHorizon), "which is earlier than any time");
    }
}
