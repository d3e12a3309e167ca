//! Views in a file.

mod contract;
mod digest;
pub(crate) mod inline;
mod inner;
mod rows;
mod scan_rows;
mod store;
mod take_over;
mod versions;

pub use contract::View;
pub use store::SqliteView;
