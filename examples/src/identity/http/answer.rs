//! Answers: a value, what it is as new as, and by what it is recognised.

use axum::http::header::{CACHE_CONTROL, ETAG, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use eventsrc_core::token::TokenCodec;
use eventsrc_core::{Saved, StreamKey, Token};
use serde::Serialize;

use super::Api;
use super::body::Line;
use super::conditions::{Condition, Tag};
use super::problem::Problem;
use crate::identity::storages::Storages;
use crate::identity::views::Questions;

/// What an answer was built from, signed.
const TOKEN: HeaderName = HeaderName::from_static("eventsrc-token");

/// What an answer says besides its value.
pub(super) struct Answer<'a> {
    pub(super) tokens: &'a TokenCodec,
    pub(super) tag: Tag,
    pub(super) token: Token,
}

impl Answer<'_> {
    /// Something was made: where it is, and what.
    pub(super) fn created(self, location: String, value: &impl Serialize) -> Result<Response, Problem> {
        let mut response = (StatusCode::CREATED, Line(value)).into_response();
        response.headers_mut().insert(LOCATION, plain(location)?);
        self.sign(response)
    }

    /// Something was changed, and there is no more to say.
    pub(super) fn done(self, status: StatusCode) -> Result<Response, Problem> {
        self.sign(status.into_response())
    }

    /// What was asked for; only that it has not changed, if it is among what the caller has.
    pub(super) fn read(self, known: Option<&Condition>, value: &impl Serialize) -> Result<Response, Problem> {
        let mut response = match known {
            Some(known) if known.names(&self.tag) => StatusCode::NOT_MODIFIED.into_response(),
            _ => Line(value).into_response(),
        };
        // A cache does not know how new the next caller wants it.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        self.sign(response)
    }

    fn sign(self, mut response: Response) -> Result<Response, Problem> {
        let headers = response.headers_mut();
        headers.insert(ETAG, plain(self.tag.quoted())?);
        headers.insert(TOKEN, plain(self.tokens.encode(&self.token)?)?);
        Ok(response)
    }
}

impl<S: Storages, V: Questions> Api<S, V> {
    /// The answer to a command that was carried out on the stream of `key`.
    pub(super) fn saved<K: StreamKey>(&self, key: &K, saved: &Saved) -> Answer<'_> {
        Answer { tokens: &self.tokens, tag: Tag::of(key, saved.sequence), token: saved.token.clone() }
    }
}

/// A token of one stream, whose sequence was read from the storage or from the view: so it is stored.
pub(super) fn seen<K: StreamKey>(key: &K, sequence: u64) -> Token {
    Token::claimed(key, sequence).expect("the ids are UUIDs, and a category has no slash").vouched()
}

fn plain(text: String) -> Result<HeaderValue, Problem> {
    text.try_into().map_err(|_| Problem::internal("the answer does not fit its header"))
}
