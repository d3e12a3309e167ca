//! Queries: values made by folding a stream.

pub(crate) mod api;
pub(crate) mod fold;

pub use api::{Consistency, Contramapped, Mapped, Query, QueryApi, SnapshotPolicy};
pub use fold::{Fold, FoldFn, fold_fn};
