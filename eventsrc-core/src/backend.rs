//! Parts for authors of backends.
//!
//! Start from [`MemoryStorage`](crate::MemoryStorage), implement [`EventStorage`](crate::EventStorage), and run the conformance
//! suite of `eventsrc-testkit`. What every backend with a codec needs is here.

pub use crate::clock::truncate_to_microseconds;
pub use crate::codec::contract::common_version;
pub use crate::codec::encoded_payloads::EncodedPayloads;
pub use crate::view::contract::error_from_panic;
