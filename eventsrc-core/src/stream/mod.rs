//! Names of streams ([`StreamKey`], [`StreamName`]) and sequences of the events in them ([`Sequence`]).

mod name;
mod sequence;

pub use name::{InvalidStreamName, StreamKey, StreamName};
pub use sequence::{Sequence, Zone, ZonedSequence};
