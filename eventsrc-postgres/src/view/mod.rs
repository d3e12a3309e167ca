//! Views in Postgres.

mod applying;
mod classification;
mod code;
mod contract;
mod each;
mod inner;
pub(crate) mod layout;
mod open_transaction;
mod reading;
mod rows;
mod scan_rows;
mod skipping;
mod store;
mod table_names;
mod take_over;
mod transaction;
mod versions;

pub use contract::View;
pub use each::each;
pub use store::PostgresView;
pub use transaction::Transaction;
