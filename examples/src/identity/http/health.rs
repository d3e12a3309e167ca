//! Whether the view is being kept, and how far behind it is.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use eventsrc_core::StreamName;
use eventsrc_core::synchronizer::SynchronizerState as Keeping;
use serde::Serialize;

use super::Shared;
use super::body::Line;
use super::problem::Problem;
use crate::identity::storages::Storages;
use crate::identity::views::Questions;

/// How the view is.
#[derive(Debug, Serialize)]
struct Health {
    view: String,
    state: &'static str,
    lag_events: u64,
    lag_seconds: f64,
    waiting: usize,
    quarantined: Vec<Quarantined>,
}

/// A stream that stands still. Why it does may quote what is in it, which is not for everybody.
#[derive(Debug, Serialize)]
struct Quarantined {
    stream: StreamName,
    sequence: u64,
    since: String,
}

/// 503 if the view does not move on. Streams in quarantine are listed: they alone stand still.
pub(super) async fn read<S: Storages, V: Questions>(State(api): Shared<S, V>) -> Result<Response, Problem> {
    let status = api.synchronizer.status().await.map_err(|error| Problem::of_view(&error))?;
    let (state, runs) = match status.state {
        Keeping::Running if status.last_errors.is_empty() => ("running", true),
        Keeping::Running => ("in trouble", false),
        Keeping::Stopped => ("stopped", false),
        Keeping::Broken { .. } => ("broken", false),
    };
    let quarantined = status.quarantined.into_iter().map(|poison| Quarantined {
        stream: poison.stream,
        sequence: poison.sequence,
        since: poison.time.to_string(),
    });
    let health = Health {
        view: status.view.to_string(),
        state,
        lag_events: status.lag_events,
        lag_seconds: status.lag.as_secs_f64(),
        waiting: status.stalled.len(),
        quarantined: quarantined.collect(),
    };
    let code = if runs { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((code, Line(health)).into_response())
}
