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

pub use clock::{Clock, Randomness, SystemClock, truncate_to_microseconds};
pub use codec::{
    Codec, CodecError, EncodedPayloads, Json, Postcard, RawCodec, RawPayload, Versioned, common_version,
};
pub use commit::{Commit, CommitId, Event, Head, Metadata};
pub use error::{ErrorKind, StorageError};
pub use feed::{
    Acknowledgement, Change, ChangeFeed, Delivery, NotifyingStorage, PollFeed, PollSettings, ScanFeed,
    Subscription,
};
pub use fold::{Fold, FoldFn, fold_fn};
pub use lease::{
    Checkpoint, Lease, LeaseObservation, LeasePlan, LeaseStore, LeaseWatch, MemoryLeases, NewLease, Renewal,
    ShardPosition,
};
pub use operation::{Decision, Known, Operation, PreconditionFailed};
pub use page::Page;
pub use query::{Consistency, Contramapped, Mapped, Query, QueryApi, SnapshotPolicy};
pub use rebuild::{Rebuild, RebuildError, RebuildProgress, RebuildReport, RebuildSettings};
pub use retry::{Backoff, RetryPolicy};
pub use save::{Context, Decider, Outcome, SaveApi, SaveError, SaveSettings, Saved};
pub use sequence::{Sequence, Zone, ZonedSequence};
pub use snapshot::{MemorySnapshots, NoSnapshots, Snapshot, SnapshotAt, SnapshotMode, SnapshotStorage};
pub use storage::{
    CallCounts, CommitOf, Conflict, CountingStorage, EitherStorage, EventStorage, HeadsOf, MapKey,
    MapSequence, MemoryStorage, Merged, PageOf, Put, PutOf, ScanStorage, Segment,
};
pub use stream::{InvalidStreamName, StreamKey, StreamName};
pub use synchronizer::{
    AtLeastError, BackoffSettings, CircuitBreaker, Environment, FollowError, MissingStream, RepairError,
    Stale, StaleReason, StallReason, StalledStream, SweepReport, Synchronizer, SynchronizerSettings,
    SynchronizerState, SynchronizerStatus, TakeOverError,
};
pub use token::{Token, TokenCodec, TokenError, TokenKey, TokenPosition};
pub use view::{
    Applied, Batch, BatchOf, CatchUp, CommitRun, InvalidViewName, MemoryView, PositionChange,
    QuarantinedCommit, SkippedCommits, StreamPosition, TakeOver, VersionedStore, ViewDefinition, ViewDigest,
    ViewError, ViewStore, error_from_panic,
};
