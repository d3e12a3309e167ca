//! The headers and paths of requests.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use eventsrc_core::{CommitId, StreamKey, StreamName, Token};
use uuid::Uuid;

use super::api::Api;
use super::conditions::Condition;
use super::problem::Problem;
use crate::identity::command::{Command, Failure, Reason};
use crate::identity::storages::Storages;
use crate::identity::views::{ViewQueries, ViewResult};

/// Header with tokens: the response must be at least as new as all of them.
const AT_LEAST: HeaderName = HeaderName::from_static("eventsrc-at-least");
/// Header with the id that the caller gave the command.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Header with preferences, such as the wait (RFC 7240).
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Default wait of a query for the view.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);
/// Maximum wait of a query, whatever the request prefers.
const MAX_WAIT: Duration = Duration::from_secs(10);

impl<S: Storages, V: ViewQueries> Api<S, V> {
    /// Creates the command of a request from its headers.
    pub(super) fn command(&self, headers: &HeaderMap) -> Result<Command, Problem> {
        let command = match idempotency_key(headers)? {
            Some(id) => Command::new(CommitId(id)),
            None => self.service.command(),
        };
        Ok(command.having_seen(&self.at_least(headers)?))
    }

    /// Creates a command on an existing stream, which is carried out only if the stream meets the `If-Match` of the
    /// request.
    pub(super) fn command_on<K: StreamKey>(&self, headers: &HeaderMap, key: &K) -> Result<Command, Problem> {
        let command = self.command(headers)?;
        Ok(match Condition::if_match(headers)?.and_then(|condition| condition.sequences(key)) {
            Some(sequences) => command.only_at(sequences),
            None => command,
        })
    }

    /// Returns the result of `query` on the view, once the view has every commit of the request's tokens.
    pub(super) async fn query<T, R>(
        &self,
        headers: &HeaderMap,
        query: impl Fn(std::sync::Arc<[StreamName]>) -> R,
    ) -> Result<T, Problem>
    where
        R: Future<Output = ViewResult<T>>,
    {
        Ok(self.synchronizer.at_least(&self.at_least(headers)?, wait(headers), query).await?)
    }

    /// Returns the join of all tokens of the request.
    fn at_least(&self, headers: &HeaderMap) -> Result<Token, Problem> {
        let mut all = Token::default();
        for value in headers.get_all(AT_LEAST) {
            let value = value.to_str().map_err(|_| Problem::malformed("a token must be ASCII text"))?;
            for text in value.split(',').map(str::trim).filter(|text| !text.is_empty()) {
                all = all.join(&self.tokens.decode(text)?);
            }
        }
        Ok(all)
    }
}

/// Reads the `Idempotency-Key`: a UUID, with or without the quotes that the draft of the header requires.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<Uuid>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.trim().trim_matches('"').parse().ok());
    id.map(Some).ok_or_else(|| Problem::malformed("the Idempotency-Key must be a UUID"))
}

/// Reads the wait: `Prefer: wait=5` is five seconds. Unknown preferences are ignored, as RFC 7240 requires.
fn wait(headers: &HeaderMap) -> Duration {
    let preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let waits = preferences.flat_map(|text| text.split(',')).filter_map(|preference| {
        let (name, seconds) = preference.split(';').next()?.split_once('=')?;
        let is_wait = name.trim().eq_ignore_ascii_case("wait");
        is_wait.then(|| seconds.trim().trim_matches('"').parse().ok())?
    });
    waits.map(Duration::from_secs).next().map_or(DEFAULT_WAIT, |wait| wait.min(MAX_WAIT))
}

/// Parses an id of a path. A malformed id is answered like an id that does not exist.
pub(super) fn id_from_path<K: StreamKey>(category: &str, id: &str) -> Result<K, Problem> {
    K::from_parts(category, id).ok_or_else(|| Problem::not_found(format!("there is no {category} {id:?}")))
}

/// Converts a failure. A command on a missing user or group with `If-Match: *` fails by its condition.
pub(super) fn rejected(headers: &HeaderMap, failure: Failure) -> Problem {
    if let Failure::Rejected(reasons) = &failure
        && let Reason::NoUser(_) | Reason::NoGroup(_) = reasons.first()
        && let Ok(Some(Condition::Anything)) = Condition::if_match(headers)
    {
        return Problem::precondition_failed(failure.to_string());
    }
    failure.into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_wait_is_read_and_bounded() {
        for (value, seconds) in [
            ("wait=5", 5),
            ("respond-async, WAIT = \"0\"", 0),
            ("return=minimal; wait=3, wait=2; x", 2),
            ("wait=99999", 10),
            ("wait=-1", 1),
            ("wait", 1),
            ("", 1),
        ] {
            let headers = HeaderMap::from_iter([(PREFER, HeaderValue::from_static(value))]);
            assert_eq!(wait(&headers), Duration::from_secs(seconds), "{value:?}");
        }
    }
}
