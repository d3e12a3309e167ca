//! Helpers for authors of backends: encoded payloads, timestamps that every store can hold, errors made from panics.
//!
//! To write a backend, start from [`MemoryStorage`](crate::MemoryStorage), implement
//! [`EventStorage`](crate::EventStorage), and run the conformance suite of `eventsrc-testkit`.

pub use crate::clock::truncate_to_microseconds;
pub use crate::codec::contract::common_version;
pub use crate::codec::encoded_payloads::EncodedPayloads;
pub use crate::view::contract::error_from_panic;
