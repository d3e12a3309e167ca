//! Storages of writers.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use anyhow::{Result, bail};
use eventsrc_dynamo::Dynamo;
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_test_servers as servers;

use crate::dynamo::config;

/// The storage of a writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// An SQLite file.
    File(PathBuf),
    /// The table `events` of an access key.
    Dynamo {
        /// The address of the service.
        endpoint: String,
        /// The access key, which selects the database.
        access_key: String,
    },
}

impl Location {
    /// Tables of the shared DynamoDB Local, in a database whose name begins with `name`.
    ///
    /// # Errors
    ///
    /// If they cannot be created.
    pub async fn new_tables(name: &str) -> Result<Self> {
        let server = servers::dynamo().await;
        let place = Self::Dynamo { endpoint: server.endpoint(), access_key: server.access_key(name) };
        place.dynamo()?.create_tables().await?;
        Ok(place)
    }

    /// The argument that names this location to a writer.
    pub fn argument(&self) -> OsString {
        match self {
            Self::File(file) => file.into(),
            Self::Dynamo { endpoint, access_key } => format!("{endpoint}/{access_key}").into(),
        }
    }

    /// The location named by an argument of a writer.
    pub fn told(argument: &OsStr) -> Self {
        let tables = argument.to_str().filter(|text| text.starts_with("http://"));
        match tables.and_then(|text| text.rsplit_once('/')) {
            Some((endpoint, access_key)) => {
                Self::Dynamo { endpoint: endpoint.into(), access_key: access_key.into() }
            }
            None => Self::File(argument.into()),
        }
    }

    pub(super) fn dynamo(&self) -> Result<Dynamo> {
        let Self::Dynamo { endpoint, access_key } = self else { bail!("{self:?} is no DynamoDB") };
        Ok(Dynamo::new(Client::from_conf(config(endpoint, access_key).build()), "events"))
    }
}
