//! Names of streams, and positions of events in them.

mod name;
mod sequence;

pub use name::{InvalidStreamName, StreamKey, StreamName};
pub use sequence::{Sequence, Zone, ZonedSequence};
