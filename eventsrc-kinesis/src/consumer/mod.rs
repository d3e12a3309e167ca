//! Reading all shards of a stream, together with other workers.

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
