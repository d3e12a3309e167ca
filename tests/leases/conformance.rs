//! Every rule of the contract of leases.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eventsrc_core::lease::MemoryLeases;
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_kinesis::dynamodb::LeaseTable;
use eventsrc_postgres::{Postgres, PostgresLeases};
use eventsrc_test_servers as servers;
use eventsrc_testkit::conformance::{self, LeaseBackend};
use eventsrc_tests::dynamo::config;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_every_rule_of_leases() {
    keeps_every_rule("memory", Memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_keeps_every_rule_of_leases() {
    let url = servers::postgres().await.database("leases").await;
    keeps_every_rule("postgres", InPostgres { url, groups: AtomicUsize::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dynamo_keeps_every_rule_of_leases() {
    let server = servers::dynamo().await;
    let (endpoint, access_key) = (server.endpoint(), server.access_key("leases"));
    keeps_every_rule("dynamo", InDynamo { endpoint, access_key, tables: AtomicUsize::default() }).await;
}

/// The same rules on tables of an implementation other than DynamoDB Local.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_implementation_of_dynamo_keeps_every_rule_of_leases() {
    let server = servers::ministack().await;
    let (endpoint, access_key) = (server.endpoint(), server.access_key());
    keeps_every_rule("ministack", InDynamo { endpoint, access_key, tables: AtomicUsize::default() }).await;
}

async fn keeps_every_rule<B: LeaseBackend>(name: &str, backend: B) {
    let report = conformance::leases(&Arc::new(backend)).await;
    println!("leases in {name}: {} of {} rules kept", report.kept(), report.rows().len());
    report.assert_kept();
    assert_eq!(report.kept(), report.rows().len());
}

struct Memory;

impl LeaseBackend for Memory {
    type Store = Arc<MemoryLeases>;
    type Location = MemoryLeases;

    async fn create(&self) -> MemoryLeases {
        MemoryLeases::default()
    }

    async fn open(&self, place: &MemoryLeases) -> Self::Store {
        Arc::new(place.clone())
    }
}

/// Several groups in one database. Each handle has its own connections.
struct InPostgres {
    url: String,
    groups: AtomicUsize,
}

impl LeaseBackend for InPostgres {
    type Store = PostgresLeases;
    type Location = String;

    async fn create(&self) -> String {
        format!("group {}", self.groups.fetch_add(1, Ordering::Relaxed))
    }

    async fn open(&self, group: &String) -> PostgresLeases {
        let postgres = Postgres::connect(&self.url).await.expect("the server takes connections");
        PostgresLeases::new(&postgres, group)
    }
}

/// Several tables in one DynamoDB. Each handle has its own client.
struct InDynamo {
    endpoint: String,
    access_key: String,
    tables: AtomicUsize,
}

impl LeaseBackend for InDynamo {
    type Store = LeaseTable;
    type Location = String;

    async fn create(&self) -> String {
        let table = format!("leases-{}", self.tables.fetch_add(1, Ordering::Relaxed));
        self.open(&table).await.create_table().await.expect("the table can be created");
        table
    }

    async fn open(&self, table: &String) -> LeaseTable {
        LeaseTable::new(Client::from_conf(config(&self.endpoint, &self.access_key).build()), table)
    }
}
