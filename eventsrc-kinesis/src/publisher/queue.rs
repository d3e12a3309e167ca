//! The queue of messages to publish, which keeps the order of each partition key.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::shards::ShardMap;
use crate::record::AggregatedRecordBuilder;

/// An encoded change with its partition key and the hash of the key.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) key: Arc<str>,
    pub(super) hash: u128,
    pub(super) data: Arc<[u8]>,
}

/// Limits of one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) records: usize,
    pub(super) bytes: usize,
    /// Maximum size of an aggregated record, in bytes; `None` to aggregate nothing.
    pub(super) aggregate: Option<usize>,
}

/// A record of a call: messages of one shard, in order.
#[derive(Debug)]
pub(super) struct RecordEntry {
    shard: Option<String>,
    messages: Vec<Message>,
    aggregate: Option<AggregatedRecordBuilder>,
}

impl RecordEntry {
    fn new(shard: Option<&str>, message: &Message, limits: Limits) -> Self {
        let mut entry = Self {
            // A message whose shard is unknown is not aggregated.
            aggregate: limits.aggregate.filter(|_| shard.is_some()).map(AggregatedRecordBuilder::new),
            shard: shard.map(str::to_owned),
            messages: Vec::new(),
        };
        if !entry.try_add(message) {
            entry.aggregate = None;
            entry.messages.push(message.clone());
        }
        entry
    }

    /// Adds a message if it fits into the aggregated record.
    fn try_add(&mut self, message: &Message) -> bool {
        let Some(aggregate) = &mut self.aggregate else { return false };
        let fits = aggregate.add(&message.key, message.data.to_vec()).is_ok();
        if fits {
            self.messages.push(message.clone());
        }
        fits
    }

    /// Partition key of the record.
    pub(super) fn key(&self) -> &str {
        &self.messages[0].key
    }

    /// Data of the record. A single message is a plain record, so that readers without support for aggregation read it.
    pub(super) fn take_data(&mut self) -> Vec<u8> {
        match self.aggregate.take() {
            Some(aggregate) if self.messages.len() > 1 => aggregate.into_bytes(),
            _ => self.messages[0].data.to_vec(),
        }
    }
}

/// Messages to publish. Messages of one key are in order.
#[derive(Debug)]
pub(super) struct Queue(VecDeque<Message>);

impl Queue {
    pub(super) fn new(messages: impl IntoIterator<Item = Message>) -> Self {
        Self(messages.into_iter().collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes the messages of the next call. No key is in two records of it, because the service does not guarantee the
    /// order in which it stores the records of one call.
    pub(super) fn next_call(&mut self, limits: Limits, shards: &ShardMap) -> Vec<RecordEntry> {
        let mut entries: Vec<RecordEntry> = Vec::new();
        let mut entry_of_key: HashMap<Arc<str>, usize> = HashMap::new();
        let mut bytes = 0;
        while let Some(message) = self.0.front() {
            bytes += message.key.len() + message.data.len() + OVERHEAD;
            if bytes > limits.bytes && !entries.is_empty() {
                break;
            }
            let shard = shards.shard(message.hash);
            let known = entry_of_key.get(&message.key).copied();
            let latest =
                || entries.iter().rposition(|entry| shard.is_some() && entry.shard.as_deref() == shard);
            let index = match known.or_else(latest) {
                Some(index) if entries[index].try_add(message) => index,
                _ if known.is_some() || entries.len() == limits.records => break,
                _ => {
                    entries.push(RecordEntry::new(shard, message, limits));
                    entries.len() - 1
                }
            };
            entry_of_key.insert(Arc::clone(&message.key), index);
            self.0.pop_front();
        }
        entries
    }

    /// Puts failed messages back at the front of the queue. Returns true if no message failed.
    ///
    /// A message failed if its record has no shard, or if its aggregated record is on a shard to which its key does not
    /// belong, because shards were split or merged meanwhile.
    pub(super) fn requeue_failed(
        &mut self,
        call: Vec<(RecordEntry, Option<String>)>,
        shards: &ShardMap,
    ) -> bool {
        let mut failed = Vec::new();
        for (entry, shard) in call {
            let is_alone = entry.messages.len() == 1;
            let arrived = |message: &Message| {
                shard.as_ref().is_some_and(|shard| is_alone || shards.owns(shard, message.hash))
            };
            // All messages of a key are put again, so that none arrives after a later one.
            let missing: HashSet<Arc<str>> = entry
                .messages
                .iter()
                .filter(|message| !arrived(message))
                .map(|message| Arc::clone(&message.key))
                .collect();
            failed.extend(entry.messages.into_iter().filter(|message| missing.contains(&message.key)));
        }
        let all_arrived = failed.is_empty();
        for message in failed.into_iter().rev() {
            self.0.push_front(message);
        }
        all_arrived
    }
}

/// Upper bound of the size of a message in a call without its key and data, in bytes.
const OVERHEAD: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::shards::hash;
    use super::*;

    const LIMITS: Limits = Limits { records: 5, bytes: 2000, aggregate: Some(500) };

    fn message(key: u8, number: usize, size: usize) -> Message {
        let key: Arc<str> = format!("stream/{key}").into();
        let data = format!("{number:0size$}").into_bytes();
        Message { hash: hash(&key), key, data: data.into() }
    }

    fn halves() -> ShardMap {
        let half = 1 << 127;
        ShardMap::new([(0..=half - 1, "low".to_owned()), (half..=u128::MAX, "high".to_owned())])
    }

    fn number(message: &Message) -> usize {
        std::str::from_utf8(&message.data).unwrap().parse().unwrap()
    }

    proptest! {
        #[test]
        fn all_messages_of_a_key_arrive_once_and_in_order_whatever_fails(
            messages in prop::collection::vec((0u8..6, 1usize..400), 1..60),
            failures in prop::collection::vec(any::<bool>(), 200),
            aggregates in any::<bool>(),
        ) {
            let limits = Limits { aggregate: LIMITS.aggregate.filter(|_| aggregates), ..LIMITS };
            let messages: Vec<_> =
                messages.iter().enumerate().map(|(number, (key, size))| message(*key, number, *size)).collect();
            let mut queue = Queue::new(messages.clone());
            let (shards, mut failures) = (halves(), failures.into_iter());
            let mut arrived: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
            while !queue.is_empty() {
                let call = queue.next_call(limits, &shards);
                prop_assert!(!call.is_empty() && call.len() <= limits.records);
                let mut keys = HashSet::new();
                for entry in &call {
                    let own: HashSet<_> = entry.messages.iter().map(|message| &message.key).collect();
                    prop_assert!(own.into_iter().all(|key| keys.insert(key)), "a key is in two records");
                }
                let sent: Vec<_> = call
                    .into_iter()
                    .map(|entry| {
                        let shard = entry.shard.clone().filter(|_| !failures.next().unwrap_or(false));
                        if shard.is_some() {
                            for message in &entry.messages {
                                arrived.entry(Arc::clone(&message.key)).or_default().push(number(message));
                            }
                        }
                        (entry, shard)
                    })
                    .collect();
                queue.requeue_failed(sent, &shards);
            }
            for (key, numbers) in arrived {
                let expected: Vec<_> =
                    messages.iter().filter(|message| message.key == key).map(number).collect();
                prop_assert_eq!(numbers, expected);
            }
        }
    }

    #[test]
    fn messages_on_the_wrong_shard_are_put_again() {
        let keys: Vec<u8> = (0..20).collect();
        let whole = ShardMap::new([(0..=u128::MAX, "whole".to_owned())]);
        let mut queue = Queue::new(keys.iter().map(|&key| message(key, usize::from(key), 1)));
        let call = queue.next_call(Limits { aggregate: Some(10_000), bytes: 100_000, ..LIMITS }, &whole);
        assert_eq!(call.len(), 1);
        // The shard was split meanwhile, and the record is on the lower half.
        let sent = call.into_iter().map(|entry| (entry, Some("low".to_owned()))).collect();
        queue.requeue_failed(sent, &halves());
        let expected = keys.iter().filter(|&&key| halves().shard(message(key, 0, 1).hash) == Some("high"));
        let left: Vec<_> = queue.0.iter().map(number).collect();
        assert_eq!(left, expected.map(|&key| usize::from(key)).collect::<Vec<_>>());
        assert!(!left.is_empty() && left.len() < keys.len());
    }
}
