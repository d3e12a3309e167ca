//! Queries: values folded from one stream, at the latest event, a sequence or a time, or as a history. A [`QueryApi`]
//! applies a [`Fold`] to the events of a storage, and may start from a snapshot.

pub(crate) mod api;
pub(crate) mod fold;
mod write_behind;

pub use api::{Consistency, Contramapped, Mapped, Query, QueryApi, SnapshotPolicy};
pub use fold::{Fold, FoldFn, fold_fn};
