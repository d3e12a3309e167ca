//! What answers are made of.

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// JSON that ends as a line does, so that the next prompt of a terminal stands below it.
#[derive(Debug)]
pub(super) struct Line<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Line<T> {
    fn into_response(self) -> Response {
        let json = serde_json::to_string(&self.0).expect("an answer has texts for keys");
        ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], json + "\n").into_response()
    }
}
