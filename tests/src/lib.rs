//! Parts that tests and reliability runs share; see `main.rs` next to this folder for the tests.

pub mod bus;
pub mod dynamo;
pub mod faulty_http;
pub mod git_kills;
pub mod git_repository;
pub mod kills;
pub mod kinesis;
pub mod ledgers;
pub mod rolling_migration;
pub mod seeded_bugs;
pub mod view_kills;

pub use eventsrc_test_servers::HANG;

/// The chapters of the guide, whose code must compile and run.
#[cfg(doctest)]
pub mod guide {
    #[doc = include_str!("../../docs/guide/src/01-first-stream.md")]
    pub struct Chapter01;
    #[doc = include_str!("../../docs/guide/src/02-decisions.md")]
    pub struct Chapter02;
    #[doc = include_str!("../../docs/guide/src/03-views.md")]
    pub struct Chapter03;
    #[doc = include_str!("../../docs/guide/src/04-reading-your-own-writes.md")]
    pub struct Chapter04;
    #[doc = include_str!("../../docs/guide/src/05-changing-events.md")]
    pub struct Chapter05;
    #[doc = include_str!("../../docs/guide/src/06-rebuilding.md")]
    pub struct Chapter06;
    #[doc = include_str!("../../docs/guide/src/07-testing.md")]
    pub struct Chapter07;
    #[doc = include_str!("../../docs/guide/src/08-running-it.md")]
    pub struct Chapter08;
    #[doc = include_str!("../../docs/guide/src/09-dynamodb-and-kinesis.md")]
    pub struct Chapter09;
    #[doc = include_str!("../../docs/guide/src/10-a-new-backend.md")]
    pub struct Chapter10;
    #[doc = include_str!("../../docs/guide/src/11-coming-from-cqrs-es.md")]
    pub struct Chapter11;
    #[doc = include_str!("../../docs/guide/src/12-coming-from-marten-or-axon.md")]
    pub struct Chapter12;
}
