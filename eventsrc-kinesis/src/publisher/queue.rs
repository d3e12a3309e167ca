//! What is to be put onto a stream, in the order in which it has to arrive.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::shards::ShardMap;
use crate::record::AggregatedRecordBuilder;

/// Something to be put onto a stream.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) key: Arc<str>,
    pub(super) hash: u128,
    pub(super) data: Arc<[u8]>,
}

/// How large a call may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) records: usize,
    pub(super) bytes: usize,
    /// How large a record of several messages may be; if there are to be any.
    pub(super) aggregate: Option<usize>,
}

/// A record of a call: messages of one shard, in order.
#[derive(Debug)]
pub(super) struct Entry {
    shard: Option<String>,
    messages: Vec<Message>,
    aggregate: Option<AggregatedRecordBuilder>,
}

impl Entry {
    fn new(shard: Option<&str>, message: &Message, limits: Limits) -> Self {
        let mut entry = Self {
            // Nothing joins a message whose shard is not known.
            aggregate: limits.aggregate.filter(|_| shard.is_some()).map(AggregatedRecordBuilder::new),
            shard: shard.map(str::to_owned),
            messages: Vec::new(),
        };
        if !entry.join(message) {
            entry.aggregate = None;
            entry.messages.push(message.clone());
        }
        entry
    }

    fn join(&mut self, message: &Message) -> bool {
        let Some(aggregate) = &mut self.aggregate else { return false };
        let joins = aggregate.add(&message.key, message.data.to_vec()).is_ok();
        if joins {
            self.messages.push(message.clone());
        }
        joins
    }

    /// What it is put under.
    pub(super) fn key(&self) -> &str {
        &self.messages[0].key
    }

    /// What is put; a message by itself as it is, to be read by those who know nothing of aggregates.
    pub(super) fn take_data(&mut self) -> Vec<u8> {
        match self.aggregate.take() {
            Some(aggregate) if self.messages.len() > 1 => aggregate.into_bytes(),
            _ => self.messages[0].data.to_vec(),
        }
    }
}

/// Messages that wait, each before all later ones of its key.
#[derive(Debug)]
pub(super) struct Queue(VecDeque<Message>);

impl Queue {
    pub(super) fn new(messages: impl IntoIterator<Item = Message>) -> Self {
        Self(messages.into_iter().collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes out what goes into the next call. No key is in two records of it, because the service does not say in which order
    /// it stores the records of a call.
    pub(super) fn next_call(&mut self, limits: Limits, shards: &ShardMap) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut places: HashMap<Arc<str>, usize> = HashMap::new();
        let mut bytes = 0;
        while let Some(message) = self.0.front() {
            bytes += message.key.len() + message.data.len() + OVERHEAD;
            if bytes > limits.bytes && !entries.is_empty() {
                break;
            }
            let shard = shards.shard(message.hash);
            let known = places.get(&message.key).copied();
            let latest =
                || entries.iter().rposition(|entry| shard.is_some() && entry.shard.as_deref() == shard);
            let place = match known.or_else(latest) {
                Some(place) if entries[place].join(message) => place,
                _ if known.is_some() || entries.len() == limits.records => break,
                _ => {
                    entries.push(Entry::new(shard, message, limits));
                    entries.len() - 1
                }
            };
            places.insert(Arc::clone(&message.key), place);
            self.0.pop_front();
        }
        entries
    }

    /// Takes back what is not where it belongs: the messages of records that failed, for which there is no shard, and those of a
    /// record that came to a shard that is not theirs, because shards were split or merged meanwhile. True if there is nothing to be
    /// taken back.
    pub(super) fn take_back(&mut self, call: Vec<(Entry, Option<String>)>, shards: &ShardMap) -> bool {
        let mut back = Vec::new();
        for (entry, shard) in call {
            let is_alone = entry.messages.len() == 1;
            let arrived = |message: &Message| {
                shard.as_ref().is_some_and(|shard| is_alone || shards.takes(shard, message.hash))
            };
            // All of a key, or none: the first of them must not come after the last.
            let missing: HashSet<Arc<str>> = entry
                .messages
                .iter()
                .filter(|message| !arrived(message))
                .map(|message| Arc::clone(&message.key))
                .collect();
            back.extend(entry.messages.into_iter().filter(|message| missing.contains(&message.key)));
        }
        let is_through = back.is_empty();
        for message in back.into_iter().rev() {
            self.0.push_front(message);
        }
        is_through
    }
}

/// What a message takes of a call besides its key and its data, at most, in bytes.
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
        /// Whatever fails, the last of each key to arrive are all of them in order: nothing is lost or inverted.
        #[test]
        fn of_each_key_all_arrive_in_order(
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
                queue.take_back(sent, &shards);
            }
            for (key, numbers) in arrived {
                let expected: Vec<_> =
                    messages.iter().filter(|message| message.key == key).map(number).collect();
                prop_assert_eq!(numbers, expected);
            }
        }
    }

    #[test]
    fn what_came_to_a_shard_that_is_not_its_own_is_put_again() {
        let keys: Vec<u8> = (0..20).collect();
        let whole = ShardMap::new([(0..=u128::MAX, "whole".to_owned())]);
        let mut queue = Queue::new(keys.iter().map(|&key| message(key, usize::from(key), 1)));
        let call = queue.next_call(Limits { aggregate: Some(10_000), bytes: 100_000, ..LIMITS }, &whole);
        assert_eq!(call.len(), 1);
        // Meanwhile the shard was split, and the record went to the lower half.
        queue.take_back(call.into_iter().map(|entry| (entry, Some("low".to_owned()))).collect(), &halves());
        let expected = keys.iter().filter(|&&key| halves().shard(message(key, 0, 1).hash) == Some("high"));
        let left: Vec<_> = queue.0.iter().map(number).collect();
        assert_eq!(left, expected.map(|&key| usize::from(key)).collect::<Vec<_>>());
        assert!(!left.is_empty() && left.len() < keys.len());
    }
}
