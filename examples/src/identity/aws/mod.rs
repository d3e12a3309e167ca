//! `identity` on AWS: streams in DynamoDB, whose events travel through Kinesis to a view in Postgres.

mod bus;
mod config;
mod deployment;
mod streams;

pub(super) use config::AwsConfig;
pub(super) use deployment::{Deployment, run_part};
pub use streams::InDynamo;
