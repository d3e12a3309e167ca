//! What goes wrong, as the caller sees it: a problem document (RFC 9457), without anything secret.

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
use crate::identity::views::InvalidAfter;

/// A request that was not answered as asked.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// What kind of problem it is, for programs.
    kind: &'static str,
    detail: String,
    older: Option<Older>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The view is older than asked for.
#[derive(Debug, Serialize)]
struct Older {
    view: String,
    missing: Vec<Part>,
}

/// A stream that the view does not have as far as asked for.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Part {
    stream: StreamName,
    wanted: u64,
    position: u64,
    why: &'static str,
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into(), older: None, headers: Vec::new() }
    }

    /// The request does not follow the rules of HTTP, or of this service.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// The request is well-formed, and asks for what cannot be.
    pub(super) fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "body", detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    pub(super) fn method_not_allowed(method: &Method) -> Self {
        let detail = format!("{method} cannot be done here; the header Allow says what can");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail)
    }

    pub(super) fn precondition_failed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "changed", detail)
    }

    pub(super) fn internal(detail: &'static str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// It may go well in a second.
    fn unavailable(kind: &'static str, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, detail);
        problem.headers.push((RETRY_AFTER, HeaderValue::from_static("1")));
        problem
    }

    /// What is wrong inside is for those who keep the service; the caller learns what to do next.
    fn of_storage(error: &StorageError, unavailable: &'static str, broken: &'static str) -> Self {
        tell(error);
        match error.kind() {
            ErrorKind::Unavailable => Self::unavailable("unavailable", unavailable),
            _ => Self::internal(broken),
        }
    }

    /// The database of the view, or what is in it.
    pub(super) fn of_view(error: &StorageError) -> Self {
        Self::of_storage(error, "the view is out of reach", "the view cannot be read")
    }

    fn of_stale(stale: &Stale) -> Self {
        let stopped = |missing: &MissingStream| {
            matches!(
                missing.reason,
                StaleReason::Stopped(_) | StaleReason::Quarantined | StaleReason::Unreadable(_)
            )
        };
        if stale.missing.iter().any(|missing| matches!(missing.reason, StaleReason::Unreadable(_))) {
            tell(stale);
        }
        let problem = if stale.missing.is_empty() {
            Self::unavailable("unavailable", "the view did not answer in time")
        } else if stale.missing.iter().any(stopped) {
            Self::unavailable("stale", "the view does not move on, and is older than asked for")
        } else {
            let detail = "the view did not become as new as asked for in time";
            Self::new(StatusCode::GATEWAY_TIMEOUT, "stale", detail)
        };
        let missing = stale.missing.iter().map(|MissingStream { stream, wanted, actual, reason }| Part {
            stream: stream.clone(),
            wanted: wanted.number,
            position: actual.map_or(0, |actual| actual.number),
            why: why_of(reason),
        });
        Self { older: Some(Older { view: stale.view.clone(), missing: missing.collect() }), ..problem }
    }
}

fn why_of(reason: &StaleReason) -> &'static str {
    match reason {
        StaleReason::Late => "late",
        StaleReason::NotStored => "not stored",
        StaleReason::Quarantined => "quarantined",
        StaleReason::Unreadable(_) => "unreadable",
        StaleReason::Stopped(_) => "stopped",
        _ => "unknown",
    }
}

/// Tells those who keep the service, on its standard error.
fn tell(error: &dyn Error) {
    let mut told = format!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        told = format!("{told}\n  because: {cause}");
        source = cause.source();
    }
    eprintln!("{told}");
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
                "the command may be carried out in part: send it again, with the same Idempotency-Key",
                "the command may be carried out in part, and its stream cannot be worked with",
            ),
            Failure::Unreadable(error) => {
                Self::of_storage(error, "the storage is out of reach", "the storage cannot be read")
            }
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
        Self::of_storage(&error, "the storage is out of reach", "the storage cannot be read")
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

impl From<InvalidAfter> for Problem {
    fn from(error: InvalidAfter) -> Self {
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

/// A problem as it is sent.
#[derive(Debug, Serialize)]
struct Document {
    #[serde(rename = "type")]
    kind: String,
    title: Option<&'static str>,
    status: u16,
    detail: String,
    #[serde(flatten)]
    older: Option<Older>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            kind: format!("urn:eventsrc:{}", self.kind),
            title: self.status.canonical_reason(),
            status: self.status.as_u16(),
            detail: self.detail,
            older: self.older,
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
    fn whether_waiting_is_of_use_is_told_and_what_is_wrong_inside_is_not() {
        let secret = Arc::new(StorageError::new(ErrorKind::Unavailable, "a secret"));
        for (reason, status, told) in [
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
            assert_eq!(problem.headers.len(), usize::from(status == 503), "only then there is a later");
            let stream = "user/1".parse().unwrap();
            let expected = Part { stream, wanted: 3, position: 2, why: told };
            assert_eq!(problem.older.as_ref().unwrap().missing, [expected]);
            assert!(!format!("{problem:?}").contains("secret"));
        }
    }
}
