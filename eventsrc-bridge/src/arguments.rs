//! The command line.

use clap::{Parser, ValueEnum};
use eventsrc_core::codec::RawCodec;

/// Carries what eventsrc stores in a table of DynamoDB onto a stream of Kinesis, from which any number of services read. Region,
/// credentials and endpoints are those of the AWS SDK's configuration.
///
/// Any number of these share the work, in any number of processes, and take over from each other.
#[derive(Debug, Parser)]
#[command(name = "eventsrc-bridge")]
pub(crate) struct Arguments {
    /// The table of events, whose stream has to bring new images
    #[arg(long, value_name = "NAME")]
    pub(crate) table: String,
    /// The stream of Kinesis
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: String,
    /// The table by which several of these share the work, with the names of the Kinesis Client Library [default: the table of
    /// events, and `-bridge`]
    #[arg(long, value_name = "NAME")]
    pub(crate) leases: Option<String>,
    /// What the payloads of events are stored as
    #[arg(long, value_enum, default_value_t = Payloads::Text)]
    pub(crate) payloads: Payloads,
    /// Create the table of leases and the stream if they are not there, the stream with so many shards; for development
    #[arg(long, value_name = "SHARDS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) create: Option<u32>,
}

/// What the payloads of events are stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Payloads {
    /// JSON, which is the default of eventsrc, or other text
    Text,
    /// What a binary codec wrote, such as postcard
    Binary,
}

impl Payloads {
    pub(crate) fn codec(self) -> RawCodec {
        match self {
            Self::Text => RawCodec::TEXT,
            Self::Binary => RawCodec::BINARY,
        }
    }
}
