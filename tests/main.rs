//! All tests of the workspace that need more than one crate, in one binary.

mod behaviours;
mod bridge;
mod conformance;
mod dynamo;
mod feeds;
mod git_history;
mod histories;
mod identity;
mod kinesis;
mod laws;
mod leases;
mod made_by_0_1;
mod postgres;
mod postgres_views;
mod scenarios;
mod servers;
mod small_examples;
mod sqlite;
mod sqlite_views;
mod synchronizer;
mod views;
