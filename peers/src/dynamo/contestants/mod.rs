//! The libraries, one per file.

mod by_hand;
mod dynamo_es;
mod event_store_adapter;
mod ours;

use super::Contestant;

/// All libraries, ours first.
pub(super) const ALL: &[Contestant] = &[
    self::ours::REMEMBERING,
    self::ours::LOADING,
    self::by_hand::CONTESTANT,
    self::dynamo_es::CONTESTANT,
    self::event_store_adapter::CONTESTANT,
];
