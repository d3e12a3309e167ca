//! Assignment of partition keys to shards.

use std::ops::RangeInclusive;

use md5::{Digest, Md5};

/// Open shards of a stream, each with its range of partition key hashes.
#[derive(Debug, Clone, Default)]
pub(super) struct ShardMap(Vec<(RangeInclusive<u128>, String)>);

impl ShardMap {
    pub(super) fn new(shards: impl IntoIterator<Item = (RangeInclusive<u128>, String)>) -> Self {
        Self(shards.into_iter().collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if the shard is known to be open.
    pub(super) fn contains(&self, shard: &str) -> bool {
        self.0.iter().any(|(_, id)| id == shard)
    }

    /// Shard of this hash; `None` if it is unknown.
    pub(super) fn shard(&self, hash: u128) -> Option<&str> {
        self.0.iter().find(|(range, _)| range.contains(&hash)).map(|(_, shard)| shard.as_str())
    }

    /// True if the shard is known and its range contains this hash.
    pub(super) fn owns(&self, shard: &str, hash: u128) -> bool {
        self.0.iter().any(|(range, id)| id == shard && range.contains(&hash))
    }
}

/// Hash by which Kinesis assigns a partition key to a shard: its MD5 as a number.
pub(super) fn hash(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_the_shard_whose_range_contains_its_md5() {
        // RFC 1321: the digest of "abc".
        assert_eq!(hash("abc"), 0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72);
        let half = 1 << 127;
        let map = ShardMap::new([(0..=half - 1, "low".to_owned()), (half..=u128::MAX, "high".to_owned())]);
        assert_eq!(map.shard(hash("abc")), Some("high"));
        assert!(map.owns("high", half) && !map.owns("low", half) && !map.owns("gone", half));
    }
}
