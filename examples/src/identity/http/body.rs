//! The body of a response.

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// JSON with a line break at its end, so that the prompt of a terminal starts on a new line.
#[derive(Debug)]
pub(super) struct Line<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Line<T> {
    fn into_response(self) -> Response {
        let json = serde_json::to_string(&self.0).expect("the keys of a response are strings");
        ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], json + "\n").into_response()
    }
}
