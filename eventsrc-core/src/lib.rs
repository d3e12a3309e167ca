//! eventsrc: event sourcing with CQRS projections, as a library.
//!
//! The way of the data, and the order in which to read: an [`Operation`] decides which events to save, a [`SaveApi`]
//! saves them in an [`EventStorage`], a [`Query`] folds them into values, and a [`Token`] ties what was written to
//! what is read next. [`MemoryStorage`] and [`MemorySnapshots`] are the reference backends.

mod clock;
mod codec;
mod commit;
mod error;
mod feed;
mod fold;
mod lease;
mod operation;
mod page;
mod query;
mod rebuild;
mod retry;
mod save;
mod sequence;
mod snapshot;
mod storage;
mod stream;
mod synchronizer;
mod token;
mod view;

pub use either::Either;
pub use jiff::Timestamp;
pub use vec1::{Vec1, vec1};

pub use clock::{Clock, Randomness, SystemClock, to_microseconds};
pub use codec::{Codec, CodecError, Encoded, Json, Packed, Postcard, Verbatim, Versioned, version_of_all};
pub use commit::{Commit, CommitId, Event, Head, Metadata};
pub use error::{ErrorKind, StorageError};
pub use feed::{
    Acknowledgement, Change, ChangeFeed, Delivery, PollFeed, PollSettings, Published, ScanFeed, Subscription,
};
pub use fold::{Fold, FoldFn, fold_fn};
pub use lease::{
    Checkpoint, Lease, LeasePlan, LeaseStore, LeaseWatch, MemoryLeases, NewLease, Renewal, ShardPlace,
    Sighting,
};
pub use operation::{Decision, Known, Operation, Unmet};
pub use page::Page;
pub use query::{Consistency, Contramapped, Mapped, Query, QueryApi, SnapshotPolicy};
pub use rebuild::{Progress, Rebuild, RebuildError, RebuildSettings, Rebuilt};
pub use retry::{Pace, RetryPolicy};
pub use save::{Context, Decider, Outcome, SaveApi, SaveError, SaveSettings, Saved};
pub use sequence::{Sequence, Zone, ZonedSequence};
pub use snapshot::{MemorySnapshots, NoSnapshots, Snapshot, SnapshotAt, SnapshotMode, SnapshotStorage};
pub use storage::{
    Beside, Calls, CommitOf, Conflict, Counted, EventStorage, HeadsOf, MapKey, MapSequence, MemoryStorage,
    Merged, PageOf, Put, PutOf, ScanStorage, Segment,
};
pub use stream::{InvalidStreamName, StreamKey, StreamName};
pub use synchronizer::{
    AtLeastError, Breaker, FollowError, Missing, RepairError, RetryPace, Stale, State, Status, Surroundings,
    Swept, Synchronizer, SynchronizerSettings, TakeOverError, Waiting, Why,
};
pub use token::{Token, TokenCodec, TokenError, TokenKey};
pub use view::{
    Applied, Batch, BatchOf, CatchUp, Digest, InvalidViewName, MemoryView, Move, Place, Poison, Run, Skip,
    VersionedStore, ViewDefinition, ViewError, ViewStore, panicked,
};
