//! Errors as the caller sees them: problem documents (RFC 9457) that contain no secret.

use std::error::Error;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use eventsrc_core::synchronizer::{AtLeastError, MissingStream, Stale, StaleReason};
use eventsrc_core::token::TokenError;
use eventsrc_core::{ErrorKind, StorageError, StreamName};
use serde::Serialize;

use super::body::Line;
use crate::identity::command::{Failure, Reason};
use crate::identity::text::InvalidText;
use crate::identity::views::InvalidPageStart;

/// The reason why a request was not fulfilled.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// Kind of the problem, for programs.
    kind: &'static str,
    detail: String,
    stale: Option<StaleView>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// A view that is behind a token of the request.
#[derive(Debug, Serialize)]
struct StaleView {
    view: String,
    missing: Vec<MissingPart>,
}

/// A stream whose position in the view is behind the token.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct MissingPart {
    stream: StreamName,
    wanted: u64,
    position: u64,
    why: &'static str,
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into(), stale: None, headers: Vec::new() }
    }

    /// The request breaks a rule of HTTP or of this service.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// The request is well-formed and cannot be carried out.
    pub(super) fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "body", detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    pub(super) fn method_not_allowed(method: &Method) -> Self {
        let detail = format!("{method} is not allowed here; the header Allow lists the allowed methods");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail)
    }

    pub(super) fn precondition_failed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "changed", detail)
    }

    pub(super) fn internal(detail: &'static str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// The failure is transient; the caller can retry after a second.
    fn unavailable(kind: &'static str, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, detail);
        problem.headers.push((RETRY_AFTER, HeaderValue::from_static("1")));
        problem
    }

    /// Logs `error` for the operators of the service. The caller gets a text that says what to do next: `unavailable` if the
    /// failure is transient, `broken` otherwise.
    fn of_storage(error: &StorageError, unavailable: &'static str, broken: &'static str) -> Self {
        log(error);
        match error.kind() {
            ErrorKind::Unavailable => Self::unavailable("unavailable", unavailable),
            _ => Self::internal(broken),
        }
    }

    /// The view cannot be read.
    pub(super) fn of_view(error: &StorageError) -> Self {
        Self::of_storage(error, "the view is unavailable; retry later", "the view cannot be read")
    }

    fn of_stale(stale: &Stale) -> Self {
        let stopped = |missing: &MissingStream| {
            matches!(
                missing.reason,
                StaleReason::Stopped(_)
                    | StaleReason::Quarantined
                    | StaleReason::Unreadable(_)
                    | StaleReason::OtherVersion(_)
            )
        };
        if stale.missing.iter().any(|missing| matches!(missing.reason, StaleReason::Unreadable(_))) {
            log(stale);
        }
        let problem = if stale.missing.is_empty() {
            Self::unavailable("unavailable", "the view did not answer in time")
        } else if stale.missing.iter().any(stopped) {
            Self::unavailable(
                "stale",
                "the view cannot reach the token: it is stopped or of another version, or a stream is in quarantine or unreadable",
            )
        } else {
            let detail = "the view did not reach the token in time; retry later";
            Self::new(StatusCode::GATEWAY_TIMEOUT, "stale", detail)
        };
        let missing =
            stale.missing.iter().map(|MissingStream { stream, wanted, actual, reason }| MissingPart {
                stream: stream.clone(),
                wanted: wanted.number,
                position: actual.map_or(0, |actual| actual.number),
                why: name_of(reason),
            });
        Self { stale: Some(StaleView { view: stale.view.clone(), missing: missing.collect() }), ..problem }
    }
}

fn name_of(reason: &StaleReason) -> &'static str {
    match reason {
        StaleReason::Late => "late",
        StaleReason::NotStored => "not stored",
        StaleReason::Quarantined => "quarantined",
        StaleReason::Unreadable(_) => "unreadable",
        StaleReason::Stopped(_) => "stopped",
        StaleReason::OtherVersion(_) => "another version serves",
        _ => "unknown",
    }
}

/// Writes an error with its causes to standard error.
fn log(error: &dyn Error) {
    let mut text = format!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}\n  because: {cause}");
        source = cause.source();
    }
    eprintln!("{text}");
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match &failure {
            Failure::Rejected(reasons) => {
                let (status, kind) = match reasons.first() {
                    Reason::Taken(_) => (StatusCode::CONFLICT, "taken"),
                    Reason::Overtaken => (StatusCode::CONFLICT, "overtaken"),
                    Reason::Member(_) => (StatusCode::CONFLICT, "member"),
                    Reason::NoUser(_) | Reason::NoGroup(_) | Reason::NoMember(_) => {
                        (StatusCode::NOT_FOUND, "not-found")
                    }
                    Reason::Precondition(_) => (StatusCode::PRECONDITION_FAILED, "changed"),
                    Reason::SpentCommand => (StatusCode::UNPROCESSABLE_ENTITY, "spent-key"),
                };
                Self::new(status, kind, failure.to_string())
            }
            Failure::Busy { .. } => Self::unavailable("busy", format!("{failure}; send the command again")),
            Failure::Unknown(error) => Self::of_storage(
                &error.source,
                "the command may be carried out in part; send it again with the same Idempotency-Key",
                "the command may be carried out in part, and its stream cannot be used",
            ),
            Failure::Unreadable(error) => Self::of_storage(
                error,
                "the storage is unavailable; retry later",
                "the storage cannot be read",
            ),
        }
    }
}

impl From<AtLeastError> for Problem {
    fn from(error: AtLeastError) -> Self {
        match &error {
            AtLeastError::Stale(stale) => Self::of_stale(stale),
            AtLeastError::Storage(error) => Self::of_view(error),
            _ => Self::internal("the view cannot be read"),
        }
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        Self::of_storage(&error, "the storage is unavailable; retry later", "the storage cannot be read")
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "token", error.to_string())
    }
}

impl From<InvalidText> for Problem {
    fn from(error: InvalidText) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "text", error.to_string())
    }
}

impl From<InvalidPageStart> for Problem {
    fn from(error: InvalidPageStart) -> Self {
        Self::malformed(error.to_string())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), "body", rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), "query", rejection.body_text())
    }
}

/// Body of a problem document.
#[derive(Debug, Serialize)]
struct Document {
    #[serde(rename = "type")]
    kind: String,
    title: Option<&'static str>,
    status: u16,
    detail: String,
    #[serde(flatten)]
    stale: Option<StaleView>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            kind: format!("urn:eventsrc:{}", self.kind),
            title: self.status.canonical_reason(),
            status: self.status.as_u16(),
            detail: self.detail,
            stale: self.stale,
        };
        let mut response = (self.status, Line(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use eventsrc_core::stream::Zone;
    use eventsrc_core::synchronizer::SynchronizerState;
    use eventsrc_core::token::TokenPosition;

    use super::*;

    #[test]
    fn a_stale_view_is_retryable_or_not_and_its_errors_stay_secret() {
        let secret = Arc::new(StorageError::new(ErrorKind::Unavailable, "a secret"));
        for (reason, status, why) in [
            (StaleReason::Late, 504, "late"),
            (StaleReason::NotStored, 504, "not stored"),
            (StaleReason::Quarantined, 503, "quarantined"),
            (StaleReason::Unreadable(secret), 503, "unreadable"),
            (StaleReason::Stopped(SynchronizerState::Stopped), 503, "stopped"),
        ] {
            let stream = "user/1".parse().unwrap();
            let at = |number| TokenPosition { number, zone: Zone::default() };
            let missing = vec![MissingStream { stream, wanted: at(3), actual: Some(at(2)), reason }];
            let stale = Stale { view: "identity v1".into(), waited: Duration::ZERO, missing };
            let problem = Problem::from(AtLeastError::from(stale));
            assert_eq!(problem.status, status);
            assert_eq!(problem.headers.len(), usize::from(status == 503), "only a 503 has Retry-After");
            let stream = "user/1".parse().unwrap();
            let expected = MissingPart { stream, wanted: 3, position: 2, why };
            assert_eq!(problem.stale.as_ref().unwrap().missing, [expected]);
            assert!(!format!("{problem:?}").contains("secret"));
        }
    }
}
