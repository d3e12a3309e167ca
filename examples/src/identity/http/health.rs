//! The health of the view: its state, its lag and its quarantine.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use eventsrc_core::StreamName;
use eventsrc_core::synchronizer::SynchronizerState;
use serde::Serialize;

use super::api::Shared;
use super::body::Line;
use super::problem::Problem;
use crate::identity::storages::Storages;
use crate::identity::views::ViewQueries;

/// Body of the response.
#[derive(Debug, Serialize)]
struct Health {
    view: String,
    state: &'static str,
    lag_events: u64,
    lag_seconds: f64,
    waiting: usize,
    quarantined: Vec<Quarantined>,
}

/// A stream in quarantine. The error is left out, because it can quote payloads.
#[derive(Debug, Serialize)]
struct Quarantined {
    stream: StreamName,
    sequence: u64,
    since: String,
}

/// Responds with 503 if the synchronizer does not run or has a last error. A stream in quarantine does not change the
/// status, because only that stream stands still.
pub(super) async fn read<S: Storages, V: ViewQueries>(State(api): Shared<S, V>) -> Result<Response, Problem> {
    let status = api.synchronizer.status().await.map_err(|error| Problem::of_view(&error))?;
    let (state, is_healthy) = match status.state {
        SynchronizerState::Running if status.last_errors.is_empty() => ("running", true),
        SynchronizerState::Running => ("failing", false),
        SynchronizerState::Stopped => ("stopped", false),
        SynchronizerState::Broken { .. } => ("broken", false),
    };
    let quarantined = status.quarantined.into_iter().map(|entry| Quarantined {
        stream: entry.stream,
        sequence: entry.sequence,
        since: entry.time.to_string(),
    });
    let health = Health {
        view: status.view.to_string(),
        state,
        lag_events: status.lag_events,
        lag_seconds: status.lag.as_secs_f64(),
        waiting: status.stalled.len(),
        quarantined: quarantined.collect(),
    };
    let code = if is_healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((code, Line(health)).into_response())
}
