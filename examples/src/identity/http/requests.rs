//! What requests say in their headers and addresses.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use eventsrc_core::{CommitId, StreamKey, StreamName, Token};
use uuid::Uuid;

use super::Api;
use super::conditions::Condition;
use super::problem::Problem;
use crate::identity::command::{Command, Failure, Reason};
use crate::identity::storages::Storages;
use crate::identity::views::{Found, Questions};

/// The tokens that an answer has to be at least as new as.
const AT_LEAST: HeaderName = HeaderName::from_static("eventsrc-at-least");
/// The caller's own id of a command.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// How long to wait, among other things (RFC 7240).
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// How long a question waits for the view unless it says so itself.
const WAIT: Duration = Duration::from_secs(1);
/// How long it waits at most, whatever it says.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

impl<S: Storages, V: Questions> Api<S, V> {
    /// A command as the request describes it.
    pub(super) fn command(&self, headers: &HeaderMap) -> Result<Command, Problem> {
        let command = match idempotency_key(headers)? {
            Some(id) => Command::new(CommitId(id)),
            None => self.service.command(),
        };
        Ok(command.having_seen(&self.at_least(headers)?))
    }

    /// A command on what there is, carried out only if that is as the request says.
    pub(super) fn command_on<K: StreamKey>(&self, headers: &HeaderMap, key: &K) -> Result<Command, Problem> {
        let command = self.command(headers)?;
        Ok(match Condition::if_match(headers)?.and_then(|condition| condition.sequences(key)) {
            Some(sequences) => command.only_at(sequences),
            None => command,
        })
    }

    /// What `question` makes of the view, once it has all that the request has seen.
    pub(super) async fn ask<T, R>(
        &self,
        headers: &HeaderMap,
        question: impl Fn(std::sync::Arc<[StreamName]>) -> R,
    ) -> Result<T, Problem>
    where
        R: Future<Output = Found<T>>,
    {
        Ok(self.synchronizer.at_least(&self.at_least(headers)?, wait(headers), question).await?)
    }

    /// All tokens of the request, joined.
    fn at_least(&self, headers: &HeaderMap) -> Result<Token, Problem> {
        let mut all = Token::default();
        for value in headers.get_all(AT_LEAST) {
            let value = value.to_str().map_err(|_| Problem::malformed("a token is plain text"))?;
            for text in value.split(',').map(str::trim).filter(|text| !text.is_empty()) {
                all = all.join(&self.tokens.decode(text)?);
            }
        }
        Ok(all)
    }
}

/// A UUID, with or without the quotes that the draft of the header asks for.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<Uuid>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.trim().trim_matches('"').parse().ok());
    id.map(Some).ok_or_else(|| Problem::malformed("an Idempotency-Key is a UUID"))
}

/// `Prefer: wait=5` waits for five seconds. A preference that is not understood is passed over, as the standard says.
fn wait(headers: &HeaderMap) -> Duration {
    let preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let waits = preferences.flat_map(|text| text.split(',')).filter_map(|preference| {
        let (name, seconds) = preference.split(';').next()?.split_once('=')?;
        let is_wait = name.trim().eq_ignore_ascii_case("wait");
        is_wait.then(|| seconds.trim().trim_matches('"').parse().ok())?
    });
    waits.map(Duration::from_secs).next().map_or(WAIT, |wait| wait.min(LONGEST_WAIT))
}

/// What an address names; whatever is no id names nothing.
pub(super) fn named<K: StreamKey>(category: &str, id: &str) -> Result<K, Problem> {
    K::from_parts(category, id).ok_or_else(|| Problem::not_found(format!("there is no {category} {id:?}")))
}

/// A command on something that is not there, and was meant for whatever is, is one whose condition is not met.
pub(super) fn refused(headers: &HeaderMap, failure: Failure) -> Problem {
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
    fn a_wait_is_read_where_there_is_one_and_bounded() {
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
