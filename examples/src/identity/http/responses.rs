//! Responses with a signed token and an entity tag.

use axum::http::header::{CACHE_CONTROL, ETAG, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use eventsrc_core::token::TokenCodec;
use eventsrc_core::{Saved, StreamKey, Token};
use serde::Serialize;

use super::api::Api;
use super::body::Line;
use super::conditions::{Condition, Tag};
use super::problem::Problem;
use crate::identity::storages::Storages;
use crate::identity::views::ViewQueries;

/// Header with the signed token of the response.
const TOKEN: HeaderName = HeaderName::from_static("eventsrc-token");

/// The headers of a response, to which a status and a body are added.
pub(super) struct Signed<'a> {
    pub(super) tokens: &'a TokenCodec,
    pub(super) tag: Tag,
    pub(super) token: Token,
}

impl Signed<'_> {
    /// Responds that `value` was created at `location`.
    pub(super) fn created(self, location: String, value: &impl Serialize) -> Result<Response, Problem> {
        let mut response = (StatusCode::CREATED, Line(value)).into_response();
        response.headers_mut().insert(LOCATION, header(location)?);
        self.sign(response)
    }

    /// Responds with a status and no body.
    pub(super) fn empty(self, status: StatusCode) -> Result<Response, Problem> {
        self.sign(status.into_response())
    }

    /// Responds with `value`, or with 304 if `known`, the caller's `If-None-Match`, names its tag.
    pub(super) fn value(
        self,
        known: Option<&Condition>,
        value: &impl Serialize,
    ) -> Result<Response, Problem> {
        let mut response = match known {
            Some(known) if known.names(&self.tag) => StatusCode::NOT_MODIFIED.into_response(),
            _ => Line(value).into_response(),
        };
        // A cache cannot know which state the next caller has seen.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        self.sign(response)
    }

    fn sign(self, mut response: Response) -> Result<Response, Problem> {
        let headers = response.headers_mut();
        headers.insert(ETAG, header(self.tag.quoted())?);
        headers.insert(TOKEN, header(self.tokens.encode(&self.token)?)?);
        Ok(response)
    }
}

impl<S: Storages, V: ViewQueries> Api<S, V> {
    /// Headers of the response to a command that was saved to the stream of `key`.
    pub(super) fn saved<K: StreamKey>(&self, key: &K, saved: &Saved) -> Signed<'_> {
        Signed { tokens: &self.tokens, tag: Tag::of(key, saved.sequence), token: saved.token.clone() }
    }
}

/// Returns the token of one stream. `sequence` was read from the storage or from the view, so it is stored and the token
/// can be trusted.
pub(super) fn stored_token<K: StreamKey>(key: &K, sequence: u64) -> Token {
    Token::claimed(key, sequence).expect("the ids are UUIDs, and a category has no slash").vouched()
}

fn header(text: String) -> Result<HeaderValue, Problem> {
    text.try_into().map_err(|_| Problem::internal("the value does not fit its header"))
}
