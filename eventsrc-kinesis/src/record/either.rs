//! A decoder of two kinds of event streams on one bus.

use eventsrc_core::StreamKey;
use eventsrc_core::feed::Change;
use eventsrc_core::storage::Either::{self, Left, Right};

use super::contract::{Decoded, Decoder};

/// Combines two decoders, for a view that follows two kinds of event streams.
///
/// It matches [`EitherStorage`](eventsrc_core::storage::EitherStorage), which combines two storages. Nest it for three or more
/// kinds. A stream that both key types accept belongs to the left decoder.
///
/// ```
/// use eventsrc_kinesis::record::EitherDecoder;
/// use eventsrc_kinesis::Envelope;
/// # use eventsrc_core::{StreamKey, StreamName};
/// # use eventsrc_kinesis::record::{Decoder, Record};
/// # fn decoder<UserId: StreamKey, GroupId: StreamKey>() -> impl Decoder<Record> {
/// # type UserEvent = String; type GroupEvent = u32;
///
/// let users = Envelope::<UserId, u64, UserEvent>::new();
/// let groups = Envelope::<GroupId, u64, GroupEvent>::new();
/// EitherDecoder::new(users, groups)
/// # }
/// # decoder::<StreamName, StreamName>();
/// ```
#[derive(Debug, Clone)]
pub struct EitherDecoder<L, R> {
    left: L,
    right: R,
}

impl<L, R> EitherDecoder<L, R> {
    /// Combines `left` and `right`.
    pub fn new(left: L, right: R) -> Self {
        Self { left, right }
    }
}

impl<Rec, L, R> Decoder<Rec> for EitherDecoder<L, R>
where
    Rec: Clone,
    L: Decoder<Rec, Payload: Clone>,
    R: Decoder<Rec, Sequence = L::Sequence, Payload: Clone>,
{
    type Key = Either<L::Key, R::Key>;
    type Sequence = L::Sequence;
    type Payload = Either<L::Payload, R::Payload>;

    fn decode(
        &self,
        record: Rec,
        from: u64,
        decoded: &mut Decoded<Self::Key, Self::Sequence, Self::Payload>,
    ) -> u64 {
        let (mut left, mut right) = (Decoded::default(), Decoded::default());
        let last = self.left.decode(record.clone(), from, &mut left);
        self.right.decode(record, from, &mut right);
        // A record that neither decoder can read is reported once, although both report it.
        let has_anything = left.changes.iter().any(|change| matches!(change, Change::Anything));
        right.changes.retain(|change| match change {
            Change::Commit(commit) => !is_key::<L::Key>(&commit.key),
            Change::Stream(key) => !is_key::<L::Key>(key),
            Change::Anything => !has_anything,
        });
        right.anomalies.retain(|anomaly| {
            !left.anomalies.contains(anomaly) && !anomaly.stream().is_some_and(is_key::<L::Key>)
        });
        decoded.changes.extend(left.changes.into_iter().map(|change| change.mapped(Left, Left)));
        decoded.changes.extend(right.changes.into_iter().map(|change| change.mapped(Right, Right)));
        decoded.anomalies.extend(left.anomalies);
        decoded.anomalies.extend(right.anomalies);
        last
    }
}

/// True if the stream of `key` also has a key of type `K`.
fn is_key<K: StreamKey>(key: &impl StreamKey) -> bool {
    K::from_parts(key.category(), &key.id()).is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use eventsrc_core::commit::vec1;
    use eventsrc_core::{Commit, CommitId, Metadata, StreamName, Timestamp};
    use uuid::Uuid;

    use super::*;
    use crate::anomaly::Anomaly;
    use crate::record::user::User;
    use crate::record::{AggregatedRecordBuilder, Envelope, Record};

    /// Streams of users have text payloads; all others have numbers.
    type Both = EitherDecoder<Envelope<User, u64, String>, Envelope<StreamName, u64, u32>>;

    fn commit<K, E>(key: K, payload: E) -> Change<K, u64, E> {
        let metadata = Metadata::new(CommitId(Uuid::from_u128(1)));
        let (time, payloads) = (Timestamp::UNIX_EPOCH, vec1![payload]);
        Change::Commit(Arc::new(Commit {
            key,
            first: 1,
            previous: None,
            time,
            metadata,
            payloads: payloads.into(),
        }))
    }

    fn decode(
        data: Vec<u8>,
        from: u64,
    ) -> (Decoded<Either<User, StreamName>, u64, Either<String, u32>>, u64) {
        let both = Both::new(Envelope::new(), Envelope::new());
        let mut decoded = Decoded::default();
        let last = both.decode(Record { partition_key: "?".into(), data }, from, &mut decoded);
        (decoded, last)
    }

    fn aggregated() -> Vec<u8> {
        let mut aggregate = AggregatedRecordBuilder::new(10_000);
        let ada = commit(User("ada".into()), "Ada".to_owned());
        let order = commit("order/1".parse::<StreamName>().unwrap(), 7u32);
        aggregate.add("user/ada", Envelope::new().encode(&ada).unwrap()).unwrap();
        aggregate.add("order/1", Envelope::new().encode(&order).unwrap()).unwrap();
        aggregate.into_bytes()
    }

    #[test]
    fn each_decoder_reads_its_own_streams() {
        let (decoded, last) = decode(aggregated(), 0);
        let [Change::Commit(ada), Change::Commit(order)] = &decoded.changes[..] else {
            panic!("there are two commits: {decoded:?}")
        };
        assert_eq!((&ada.key, &ada.payloads[0]), (&Left(User("ada".into())), &Left("Ada".into())));
        assert_eq!((order.key.category(), &order.payloads[0]), ("order", &Right(7)));
        // The right decoder accepts streams of users, too, but cannot read their payloads.
        assert_eq!((decoded.anomalies, last), (vec![], 1));
        assert_eq!(decode(aggregated(), 1).0.changes.len(), 1, "only the parts from `from` on");
    }

    #[test]
    fn a_record_that_neither_can_read_is_reported_once() {
        let (decoded, _) = decode(b"?".to_vec(), 0);
        assert!(matches!(&decoded.changes[..], [Change::Anything]), "{decoded:?}");
        assert!(matches!(&decoded.anomalies[..], [Anomaly::Unreadable { stream: None, .. }]), "{decoded:?}");
    }
}
