//! The `identity` example, played twice.
