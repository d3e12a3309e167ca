//! Calls of PutRecords of which the service puts only some records.

use aws_smithy_runtime_api::client::http::{HttpConnector as _, SharedHttpConnector};
use aws_smithy_runtime_api::http::StatusCode;
use eventsrc_dynamo::aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use eventsrc_dynamo::aws_sdk_dynamodb::error::ConnectorError;
use serde_json::{Value, json};

use super::{Answer, whole};

/// Sends `request` without the records that `places` rejects: of each eight, those whose bit is set. Returns the
/// reply that reports the rejections.
pub(super) async fn put(
    mut request: HttpRequest,
    places: u8,
    http: &SharedHttpConnector,
) -> Result<HttpResponse, ConnectorError> {
    let sent = request.body().bytes().unwrap_or_default();
    let mut sent: Value = serde_json::from_slice(sent).expect("a request is JSON");
    let records = sent["Records"].as_array_mut().expect("it has records");
    let is_rejected = |place: usize| places >> (place % 8) & 1 == 1;
    let all = records.len();
    let mut place = 0;
    records.retain(|_| {
        place += 1;
        !is_rejected(place - 1)
    });
    let (mut reply, said) = if records.is_empty() {
        // The service accepts no request without records.
        (HttpResponse::new(StatusCode::try_from(200).expect("it is one"), "".into()), b"{}".to_vec())
    } else {
        let body = sent.to_string();
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = body.into();
        whole(http.call(request).await?).await?
    };
    if !reply.status().is_success() {
        *reply.body_mut() = said.into();
        return Ok(reply);
    }
    let mut said: Value = serde_json::from_slice(&said).expect("a reply is JSON");
    let mut put = said["Records"].as_array().cloned().unwrap_or_default().into_iter();
    let failed = said["FailedRecordCount"].as_u64().unwrap_or_default();
    let results: Vec<Value> = (0..all)
        .map(|place| if is_rejected(place) { rejected() } else { put.next().unwrap_or_default() })
        .collect();
    said["FailedRecordCount"] = (failed + (0..all).filter(|place| is_rejected(*place)).count() as u64).into();
    said["Records"] = results.into();
    let body = said.to_string();
    reply.headers_mut().insert("content-length", body.len().to_string());
    *reply.body_mut() = body.into();
    Ok(reply)
}

/// The entry of a rejected record in the reply.
fn rejected() -> Value {
    json!({ "ErrorCode": Answer::SHARD_THROTTLED.name(), "ErrorMessage": "Rate exceeded for the shard." })
}
