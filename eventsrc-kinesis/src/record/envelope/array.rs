//! Reading JSON payloads in one pass.

use std::fmt;
use std::marker::PhantomData;

use eventsrc_core::commit::Vec1;
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads the payloads of a JSON array. Returns `None` if the array is empty or unreadable.
pub(super) fn read<E: DeserializeOwned>(array: &str) -> Option<Vec1<E>> {
    serde_json::from_str::<Payloads<E>>(array).ok().map(|payloads| payloads.0)
}

/// Payloads of an array. Most commits have one payload and stay in memory for a while, and a `Vec` would allocate room for
/// four.
struct Payloads<E>(Vec1<E>);

impl<'de, E: Deserialize<'de>> Deserialize<'de> for Payloads<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PayloadsVisitor(PhantomData))
    }
}

struct PayloadsVisitor<E>(PhantomData<E>);

impl<'de, E: Deserialize<'de>> Visitor<'de> for PayloadsVisitor<E> {
    type Value = Payloads<E>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of payloads")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let first = array.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let mut payloads = Vec1::with_capacity(first, 1);
        while let Some(payload) = array.next_element()? {
            payloads.push(payload);
        }
        Ok(Payloads(payloads))
    }
}
