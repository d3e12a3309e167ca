//! A client of the DynamoDB protocol whose signatures are invalid.

use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

type Bytes = std::collections::VecDeque<u8>;

/// The tables of an access key id at a server.
pub(super) struct Tables {
    endpoint: String,
    authorization: String,
    http: Client<HttpConnector, Full<Bytes>>,
}

impl Tables {
    pub(super) fn new(endpoint: &str, key: &str) -> Self {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={key}/20300101/eu-west-1/dynamodb/aws4_request, \
             SignedHeaders=host;x-amz-target, Signature=none"
        );
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { endpoint: endpoint.to_owned(), authorization, http }
    }

    pub(super) async fn create(&self, table: &str) {
        let request = json!({
            "TableName": table,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
        });
        self.ask("CreateTable", &request).await;
    }

    pub(super) async fn names(&self) -> Vec<String> {
        let answer = self.ask("ListTables", &json!({})).await;
        serde_json::from_value(answer["TableNames"].clone()).unwrap()
    }

    pub(super) async fn put(&self, table: &str, id: &str) {
        self.ask("PutItem", &json!({ "TableName": table, "Item": { "id": { "S": id } } })).await;
    }

    /// Number of items in `table`.
    pub(super) async fn count(&self, table: &str) -> u64 {
        let answer = self.ask("Scan", &json!({ "TableName": table, "ConsistentRead": true })).await;
        answer["Count"].as_u64().unwrap()
    }

    async fn ask(&self, operation: &str, request: &Value) -> Value {
        let request = Request::post(&self.endpoint)
            .header("authorization", &self.authorization)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .body(Full::new(request.to_string().into_bytes().into()))
            .unwrap();
        let response = self.http.request(request).await.unwrap();
        let status = response.status();
        let answer = response.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{operation}: {status}: {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).unwrap()
    }
}

/// Two access key ids at one server do not see the tables of each other.
pub(super) async fn each_key_has_tables_of_its_own(endpoint: &str, keys: [&str; 2]) {
    let [first, second] = keys.map(|key| Tables::new(endpoint, key));
    first.create("kept").await;
    assert_eq!(second.names().await, [""; 0]);
    second.create("kept").await;
    second.put("kept", "ada").await;
    assert_eq!((first.names().await, second.names().await), (vec!["kept".into()], vec!["kept".into()]));
    assert_eq!((first.count("kept").await, second.count("kept").await), (0, 1));
}
