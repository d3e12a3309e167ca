//! The command line.

use clap::{Parser, ValueEnum};
use eventsrc_core::codec::RawCodec;

/// Copies commits of eventsrc from the stream of a DynamoDB table to a Kinesis stream that any number of services read.
///
/// Region, credentials and endpoints come from the configuration of the AWS SDK. Several instances share the work by leases,
/// and take over the work of an instance that dies.
#[derive(Debug, Parser)]
#[command(name = "eventsrc-bridge")]
pub(crate) struct Arguments {
    /// Table of events; its stream must have new images
    #[arg(long, value_name = "NAME")]
    pub(crate) table: String,
    /// Kinesis stream that receives the commits
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: String,
    /// Table of leases, in the layout of the Kinesis Client Library [default: the name of the table of events with `-bridge`]
    #[arg(long, value_name = "NAME")]
    pub(crate) leases: Option<String>,
    /// Form of the stored payloads
    #[arg(long, value_enum, default_value_t = Payloads::Text)]
    pub(crate) payloads: Payloads,
    /// Create the table of leases, and the stream with this number of shards, if they are missing; for development
    #[arg(long, value_name = "SHARDS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) create: Option<u32>,
}

/// Form of the stored payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Payloads {
    /// JSON, the default of eventsrc, or other text
    Text,
    /// Bytes of a binary codec such as postcard
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
