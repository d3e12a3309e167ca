//! Decoder of items that do not come from a read, such as items from DynamoDB Streams.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::{Commit, Sequence, StorageError, StreamKey, StreamName};

use crate::chunk;
use crate::layout;
use crate::scan;

/// Decodes items of a table of events, as a [`DynamoStorage`](crate::DynamoStorage) of the same types does. Cheap to clone.
///
/// ```
/// use std::collections::HashMap;
///
/// use eventsrc_core::StreamName;
/// use eventsrc_dynamo::ItemDecoder;
/// use eventsrc_dynamo::aws_sdk_dynamodb::primitives::Blob;
/// use eventsrc_dynamo::aws_sdk_dynamodb::types::AttributeValue;
///
/// let image = HashMap::from([
///     ("k".to_owned(), AttributeValue::S("user/1".into())),
///     ("n".to_owned(), AttributeValue::N("7".into())),
///     ("i".to_owned(), AttributeValue::B(Blob::new([1; 16]))),
///     ("t".to_owned(), AttributeValue::N("1767225600000001".into())),
///     ("p".to_owned(), AttributeValue::S(r#"["Ada Lovelace"]"#.into())),
/// ]);
/// let decoder = ItemDecoder::<StreamName, u64, String>::new();
/// assert_eq!(decoder.key(&image), Some(("user/1".parse()?, 7)));
/// let commit = decoder.decode(image)?.expect("every name is a key of this type");
/// assert_eq!((commit.first, commit.payloads[0].as_str()), (7, "Ada Lovelace"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ItemDecoder<K, S, E, C = Json> {
    codec: Arc<C>,
    types: PhantomData<fn(K, S) -> E>,
}

impl<K, S, E> ItemDecoder<K, S, E> {
    /// Creates a decoder of items with JSON payloads.
    pub fn new() -> Self {
        Self::with_codec(Json)
    }
}

impl<K, S, E, C> ItemDecoder<K, S, E, C> {
    /// Creates a decoder of items whose payloads `codec` encoded.
    pub fn with_codec(codec: C) -> Self {
        Self { codec: Arc::new(codec), types: PhantomData }
    }

    /// Returns the stream and the number of the first event, from an item or from its key alone. Returns `None` if the item is
    /// not from a table of events.
    pub fn key(&self, item: &HashMap<String, AttributeValue>) -> Option<(StreamName, u64)> {
        Some((layout::stream(item).ok()?.parse().ok()?, layout::number(item).ok()?))
    }
}

impl<K: StreamKey, S: Sequence, E, C: Codec<E>> ItemDecoder<K, S, E, C> {
    /// Decodes the commit of a whole item. Returns `None` if its stream has no key of type `K`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the item is unreadable, with the stream and the sequence of the unreadable event.
    pub fn decode(
        &self,
        item: HashMap<String, AttributeValue>,
    ) -> Result<Option<Arc<Commit<K, S, E>>>, StorageError> {
        let commit = chunk::commit(item, scan::key_of, &*self.codec)?;
        Ok(commit.map(|(commit, _)| commit))
    }
}

impl<K, S, E> Default for ItemDecoder<K, S, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, S, E, C> Clone for ItemDecoder<K, S, E, C> {
    fn clone(&self) -> Self {
        Self { codec: Arc::clone(&self.codec), types: PhantomData }
    }
}

impl<K, S, E, C: fmt::Debug> fmt::Debug for ItemDecoder<K, S, E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemDecoder").field("codec", &self.codec).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use eventsrc_core::commit::vec1;
    use eventsrc_core::{CommitId, ErrorKind, Metadata, Timestamp};
    use uuid::Uuid;

    use super::*;
    use crate::commits;

    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    struct User(u32);

    impl StreamKey for User {
        fn category(&self) -> &str {
            "user"
        }

        fn id(&self) -> Cow<'_, str> {
            self.0.to_string().into()
        }

        fn from_parts(category: &str, id: &str) -> Option<Self> {
            (category == "user").then(|| id.parse().ok().map(Self))?
        }
    }

    fn commit<K>(key: K) -> Commit<K, u64, String> {
        Commit {
            key,
            first: 3,
            previous: Some(CommitId(Uuid::from_u128(6))),
            time: Timestamp::from_microsecond(1_767_225_600_000_001).unwrap(),
            metadata: Metadata::new(CommitId(Uuid::from_u128(7))),
            payloads: vec1!["a".to_owned(), "b".repeat(2000)].into(),
        }
    }

    #[test]
    fn an_item_is_decoded_as_its_storage_decodes_it() {
        for compress_from in [None, Some(100)] {
            let item = commits::encode(&commit(User(1)), &Json, compress_from).unwrap().item;
            let decoder = ItemDecoder::new();
            assert_eq!(decoder.key(&item), Some(("user/1".parse().unwrap(), 3)));
            assert_eq!(decoder.decode(item).unwrap().as_deref(), Some(&commit(User(1))));
        }
    }

    #[test]
    fn an_item_with_another_key_type_is_none() {
        let group: StreamName = "group/1".parse().unwrap();
        let item = commits::encode(&commit(group), &Json, None).unwrap().item;
        assert!(ItemDecoder::<User, u64, String>::new().decode(item).unwrap().is_none());
    }

    #[test]
    fn the_error_of_an_unreadable_item_names_its_stream() {
        let mut item = commits::encode(&commit(User(1)), &Json, None).unwrap().item;
        item.remove("t");
        let decoder = ItemDecoder::<User, u64, String>::new();
        assert!(decoder.key(&item).is_some());
        let error = decoder.decode(item).unwrap_err();
        assert_eq!(
            (error.kind(), error.stream(), error.sequence()),
            (ErrorKind::Corrupt, Some("user/1"), Some("3"))
        );
        assert_eq!(decoder.decode(HashMap::new()).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(decoder.key(&HashMap::new()), None);
    }
}
