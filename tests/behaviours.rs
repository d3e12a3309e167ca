//! What saves and queries promise, on the reference backends.

mod directory;
mod queries;
mod retries;
mod saves;
mod warm;
