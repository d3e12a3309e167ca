//! The parts of the deployment on AWS.

use clap::ValueEnum;

/// The part of the deployment on AWS that a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    /// All parts, with the scenario, or with the service if --serve is given
    All,
    /// The service over HTTP: commands to DynamoDB, queries to the view
    Api,
    /// The bridge from DynamoDB to Kinesis
    Bridge,
    /// The synchronizer from Kinesis to the view
    Synchronizer,
}
