//! Records on a bus, and decoders that read changes from them.

mod aggregated;
pub(crate) mod contract;
mod either;
mod envelope;
#[cfg(test)]
pub(crate) mod user;

pub use aggregated::{AggregatedRecord, AggregatedRecordBuilder, InvalidSubRecord, NotAggregated, SubRecord};
pub use contract::{Decoded, Decoder, Record};
pub use either::EitherDecoder;
pub use envelope::{Envelope, partition_key};
