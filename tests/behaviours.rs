//! Promises of saves and queries, on the in-memory reference backends.

mod directory;
mod queries;
mod request_costs;
mod retries;
mod saves;
