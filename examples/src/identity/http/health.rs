//! Whether the view is being kept, and how far behind it is.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use eventsrc_core::State as Keeping;
use serde_json::json;

use super::Shared;
use super::problem::Problem;
use crate::identity::storages::Storages;
use crate::identity::views::Questions;

/// 503 if the view does not move on. Streams in quarantine are listed: they alone stand still.
pub(super) async fn read<S: Storages, V: Questions>(State(api): Shared<S, V>) -> Result<Response, Problem> {
    let status = api.synchronizer.status().await?;
    let (state, runs) = match status.state {
        Keeping::Running if status.trouble.is_empty() => ("running", true),
        Keeping::Running => ("in trouble", false),
        Keeping::Stopped => ("stopped", false),
        Keeping::Broken { .. } => ("broken", false),
    };
    // Why a stream stands still may quote what is in it, which is not for everybody.
    let quarantined = status.quarantined.iter().map(|poison| {
        json!({"stream": poison.stream, "sequence": poison.sequence, "since": poison.time.to_string()})
    });
    let body = json!({
        "view": status.view.to_string(),
        "state": state,
        "lag_events": status.lag_events,
        "lag_seconds": status.lag.as_secs_f64(),
        "waiting": status.waiting.len(),
        "quarantined": Vec::from_iter(quarantined),
    });
    let code = if runs { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((code, Json(body)).into_response())
}
