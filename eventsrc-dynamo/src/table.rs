//! Creation of tables for development and tests, and checks of existing tables.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, StreamSpecification,
    StreamViewType, TableDescription, TableStatus,
};
use eventsrc_core::{ErrorKind, StorageError};

use crate::dynamo::Dynamo;
use crate::failure::failure;
use crate::{layout, snapshot_layout};

/// Attribute names of a partition key and a sort key.
type Key = [&'static str; 2];

const EVENTS: Key = [layout::STREAM, layout::NUMBER];
const SNAPSHOTS: Key = [snapshot_layout::KEY, snapshot_layout::SORT_KEY];

impl Dynamo {
    /// Creates the missing tables with on-demand billing, and waits until they are active. The table of events gets a stream
    /// with new images.
    ///
    /// This method is for development and tests. For production, use the templates in the folder `aws` of this crate.
    ///
    /// # Errors
    ///
    /// See [`check_tables`](Self::check_tables); in addition, `Refused` if the permission to create a table is missing.
    pub async fn create_tables(&self) -> Result<(), StorageError> {
        create_one(self, self.events_table(), EVENTS, true).await?;
        create_one(self, self.snapshots_table(), SNAPSHOTS, false).await
    }

    /// Checks that both tables exist and have the right keys.
    ///
    /// # Errors
    ///
    /// `Refused` if a table is missing or has another key, or if the permission to describe it is missing; `Unavailable` if the
    /// service does not answer.
    pub async fn check_tables(&self) -> Result<(), StorageError> {
        for (table, key) in [(self.events_table(), EVENTS), (self.snapshots_table(), SNAPSHOTS)] {
            let Some(description) = describe(self, table).await? else {
                return Err(StorageError::new(ErrorKind::Refused, format!("there is no table {table}")));
            };
            check_key(table, &description, key)?;
        }
        Ok(())
    }
}

async fn create_one(dynamo: &Dynamo, table: &str, key: Key, streamed: bool) -> Result<(), StorageError> {
    if describe(dynamo, table).await?.is_none() {
        let attribute = |name: &str, kind| {
            AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
        };
        let element =
            |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
        let complete = "all required fields are set";
        dynamo.meter().request("create_table");
        let mut create = dynamo
            .client()
            .create_table()
            .table_name(table)
            .attribute_definitions(attribute(key[0], ScalarAttributeType::S).expect(complete))
            .attribute_definitions(attribute(key[1], ScalarAttributeType::N).expect(complete))
            .key_schema(element(key[0], KeyType::Hash).expect(complete))
            .key_schema(element(key[1], KeyType::Range).expect(complete))
            .billing_mode(BillingMode::PayPerRequest);
        if streamed {
            let stream = StreamSpecification::builder().stream_enabled(true);
            let stream = stream.stream_view_type(StreamViewType::NewImage).build().expect(complete);
            create = create.stream_specification(stream);
        }
        match dynamo.answer(create.send()).await {
            Ok(_) => {}
            // Another process has created the table.
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) => {}
            Err(error) => return Err(failure("create", table, error)),
        }
    }
    loop {
        if let Some(description) = describe(dynamo, table).await? {
            check_key(table, &description, key)?;
            if matches!(description.table_status(), None | Some(TableStatus::Active | TableStatus::Updating))
            {
                return Ok(());
            }
        }
        dynamo.clock().sleep(STATUS_POLL_INTERVAL).await;
    }
}

async fn describe(dynamo: &Dynamo, table: &str) -> Result<Option<TableDescription>, StorageError> {
    dynamo.meter().request("describe_table");
    match dynamo.answer(dynamo.client().describe_table().table_name(table).send()).await {
        Ok(described) => Ok(described.table),
        Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {
            Ok(None)
        }
        Err(error) => Err(failure("describe", table, error)),
    }
}

fn check_key(table: &str, description: &TableDescription, key: Key) -> Result<(), StorageError> {
    let mut found: Vec<_> = description
        .key_schema()
        .iter()
        .map(|element| {
            let kind = description
                .attribute_definitions()
                .iter()
                .find(|attribute| attribute.attribute_name() == element.attribute_name())
                .map_or("?", |attribute| attribute.attribute_type().as_str());
            (element.key_type() != &KeyType::Hash, format!("{} ({kind})", element.attribute_name()))
        })
        .collect();
    found.sort();
    let found: Vec<_> = found.into_iter().map(|(_, name)| name).collect();
    let expected = vec![format!("{} (S)", key[0]), format!("{} (N)", key[1])];
    if found == expected {
        return Ok(());
    }
    let what = format!("the table {table} has the key {}, and not {}", found.join(", "), expected.join(", "));
    Err(StorageError::new(ErrorKind::Refused, what))
}

/// Wait between two requests for the status of a new table.
const STATUS_POLL_INTERVAL: Duration = Duration::from_millis(200);
