//! Check that all values of a type of events come back as they were stored.

use std::fmt::Debug;

use eventsrc_core::backend::EncodedPayloads;
use eventsrc_core::codec::Codec;
use eventsrc_core::commit::vec1;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestError, TestRunner};

/// Checks that each value of `values` comes back equal from the bytes that `codec` stores. It tries 1,024 values, of which
/// the first that does not is reduced to a small one.
///
/// serde attributes and formats can lose a part of a value silently: `skip_serializing_if` without `default`, `untagged`, and
/// NaN in JSON are examples. A codec refuses such a value when it is put; this test finds it before the code is deployed.
///
/// ```
/// use eventsrc_core::codec::{Json, Postcard};
/// use eventsrc_testkit::assert_round_trips;
/// use proptest::prelude::*;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// enum AccountEvent {
///     Opened { owner: String },
///     Deposited { cents: i64 },
/// }
///
/// let events = || {
///     prop_oneof![
///         any::<String>().prop_map(|owner| AccountEvent::Opened { owner }),
///         any::<i64>().prop_map(|cents| AccountEvent::Deposited { cents }),
///     ]
/// };
/// assert_round_trips(&Json, events());
/// assert_round_trips(&Postcard, events());
/// ```
///
/// # Panics
///
/// If a value is refused by the codec, or comes back as another one. The text shows the value.
pub fn assert_round_trips<T, C>(codec: &C, values: impl Strategy<Value = T>)
where
    T: Clone + Debug + PartialEq,
    C: Codec<T>,
{
    let mut runner = TestRunner::new(Config { cases: 1_024, failure_persistence: None, ..Config::default() });
    let tried = runner.run(&values, |value| {
        let payloads = vec1![value];
        let encoded = EncodedPayloads::encode(codec, &payloads).map_err(|(_, error)| failed(error))?;
        let EncodedPayloads { version, bytes, lengths, .. } = encoded;
        let decoded =
            EncodedPayloads::decode(codec, version, &bytes, &lengths).map_err(|(_, error)| failed(error))?;
        let is_equal = decoded[..] == payloads[..];
        // A value with a NaN does not equal itself, and the codec has compared it bit by bit.
        let equals_itself = payloads == payloads.clone();
        let different = || proptest::test_runner::TestCaseError::fail("it comes back as another value");
        if is_equal || !equals_itself { Ok(()) } else { Err(different()) }
    });
    match tried {
        Ok(()) => {}
        Err(TestError::Fail(reason, value)) => panic!("{value:?} does not round-trip: {reason}"),
        Err(aborted) => panic!("{aborted}"),
    }
}

fn failed(error: impl std::error::Error) -> proptest::test_runner::TestCaseError {
    let (mut text, mut source) = (error.to_string(), error.source());
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    proptest::test_runner::TestCaseError::fail(text)
}

#[cfg(test)]
mod tests {
    use eventsrc_core::codec::{Json, Postcard, Unchecked};
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Order {
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        number: u32,
    }

    fn orders() -> impl Strategy<Value = Order> {
        (any::<Option<String>>(), any::<u32>()).prop_map(|(note, number)| Order { note, number })
    }

    #[test]
    fn values_that_round_trip_pass() {
        assert_round_trips(&Json, orders());
        assert_round_trips(&Postcard, any::<Vec<f64>>());
    }

    #[test]
    #[should_panic(expected = "Order { note: None, number: 0 } does not round-trip")]
    fn a_skipped_field_is_found_in_a_format_without_names() {
        assert_round_trips(&Unchecked(Postcard), orders());
    }

    #[test]
    #[should_panic(expected = "Some(None) does not round-trip: the value would not come back as it is")]
    fn what_the_codec_refuses_is_found() {
        assert_round_trips(&Json, any::<Option<Option<u8>>>());
    }
}
