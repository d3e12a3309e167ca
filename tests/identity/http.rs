//! The service over HTTP, with a real client on a real socket, on each kind of view.

mod bad_input;
mod client;
mod conditions;
pub(super) mod processes;
mod questions;
mod readme;
mod served;
mod staleness;
mod tokens;

use client::Client;
use served::Served;

/// Runs each `async fn(Served)` on a view in memory, in SQLite and in Postgres.
macro_rules! on_each_view {
    ($($promise:ident),* $(,)?) => { $(
        mod $promise {
            use crate::identity::http::served::Served;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_memory() {
                super::$promise(Served::in_memory().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                super::$promise(Served::on_sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                super::$promise(Served::on_postgres().await).await;
            }
        }
    )* };
}
use on_each_view;

/// Runs each `async fn(Served, Synchronizer<impl ViewQueries>)` on the same views without a feed.
macro_rules! on_each_view_without_feed {
    ($($promise:ident),* $(,)?) => { $(
        mod $promise {
            use crate::identity::http::served::Served;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_memory() {
                let (served, synchronizer) = Served::in_memory_without_feed().await;
                super::$promise(served, synchronizer).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                let (served, synchronizer) = Served::on_sqlite_without_feed().await;
                super::$promise(served, synchronizer).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                let (served, synchronizer) = Served::on_postgres_without_feed().await;
                super::$promise(served, synchronizer).await;
            }
        }
    )* };
}
use on_each_view_without_feed;
