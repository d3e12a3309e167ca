//! Parts for authors of backends: the encoded form of commits, the checks of a put, timestamps that every store can hold,
//! errors made from panics.
//!
//! To write a backend, start from [`MemoryStorage`](crate::MemoryStorage), implement
//! [`EventStorage`](crate::EventStorage), and run the conformance suite of `eventsrc-testkit`.

pub use crate::clock::truncate_to_microseconds;
pub use crate::codec::contract::common_version;
pub use crate::codec::encoded_payloads::EncodedPayloads;
pub use crate::commit::payloads::PayloadsDecoder;
pub use crate::storage::encoded_commit::{EncodedCommit, EncodedHead, check_follows, storable_name};
pub use crate::view::contract::{cause_of, error_from_panic, outside_cause};
