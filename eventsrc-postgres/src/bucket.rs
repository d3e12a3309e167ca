//! Buckets: partitions of the table of commits, by a hash of the stream name.
//!
//! The number of the bucket is stored with each commit and is the first column of the primary key, so the hash function
//! never changes. It spreads the streams of a category, and a segment of a scan is a range of buckets.

use std::ops::Range;

use eventsrc_core::StreamName;
use eventsrc_core::storage::Segment;

/// Number of buckets.
pub(crate) const BUCKETS: u16 = 1024;

/// Bucket of a stream: the 64-bit FNV-1a hash of `category/id` in UTF-8, with its two halves combined by exclusive or,
/// modulo 1024. FNV-1a is defined in <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>.
pub(crate) fn bucket(name: &StreamName) -> i16 {
    let hash = fnv_1a(name.as_str().as_bytes());
    ((hash ^ (hash >> 32)) % u64::from(BUCKETS)) as i16
}

/// Buckets of a segment.
pub(crate) fn buckets(segment: Segment) -> Range<i16> {
    let boundary = |index: u32| (u64::from(index) * u64::from(BUCKETS) / u64::from(segment.total())) as i16;
    boundary(segment.index())..boundary(segment.index() + 1)
}

fn fnv_1a(bytes: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(fnv_1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv_1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv_1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_buckets_of_names_never_change() {
        let of = |name: &str| bucket(&name.parse().unwrap());
        assert_eq!([of("user/1"), of("user/2"), of("blob/1"), of("user/Zoë")], [232, 293, 689, 291]);
    }

    #[test]
    fn streams_are_spread_evenly() {
        let mut counts = [0; BUCKETS as usize];
        for id in 0..102_400 {
            counts[bucket(&StreamName::new("user", &id.to_string()).unwrap()) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (50..=150).contains(count)), "{counts:?}");
    }

    #[test]
    fn segments_partition_all_buckets() {
        for total in [1, 2, 3, 7, 1000, 1024, 5000] {
            let mut next = 0;
            for segment in Segment::split(total) {
                let buckets = buckets(segment);
                assert_eq!(buckets.start, next, "{segment:?}");
                next = buckets.end;
            }
            assert_eq!(next, BUCKETS as i16, "{total} segments");
        }
    }
}
