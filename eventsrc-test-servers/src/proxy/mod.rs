//! A proxy in front of a server, whose connections fail on request of a test.
//!
//! The proxy forwards bytes, so it works in front of any TCP server. In front of a Postgres, it also parses the protocol,
//! and can cut a connection right before a statement is delivered or after the server has answered it:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use eventsrc_test_servers as servers;
//! use eventsrc_test_servers::proxy::{Moment, Proxy, is_commit};
//!
//! let server = servers::postgres().await;
//! let proxy = Proxy::before_postgres(server.address()).await?;
//! let url = proxy.url(&server.database("sample").await);
//! proxy.cut_once(Moment::Answered, is_commit);
//! // The next transaction through `url` is committed, and its client sees an error.
//! # Ok(())
//! # }
//! ```

mod connection;
mod faults;
mod lane;
mod listener;
mod postgres;
mod protocol;

pub use faults::{Injected, Moment, Way};
pub use listener::Proxy;
pub use postgres::is_commit;
