//! Promises of saves and queries, on the in-memory reference backends.

mod contention;
mod directory;
mod idempotent_commands;
mod migration;
mod queries;
mod request_costs;
mod retries;
mod saves;
mod slow;
mod stale_knowledge;
