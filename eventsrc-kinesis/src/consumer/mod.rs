//! The consumer: reads the shards of a stream and shares them with other workers by leases.

mod discovery;
mod handle;
mod progress;
mod reader;
mod settings;
mod status;
mod worker;

pub use handle::{Consumer, ConsumerHandle};
pub use settings::{ConsumerEnvironment, ConsumerSettings, InitialPosition};
pub use status::{ConsumerStatus, ShardStatus};
