//! The routes, and what is common to all requests.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use tokio::sync::mpsc;

use super::api::Api;
use super::problem::Problem;
use super::{groups, health, users};
use crate::identity::storages::Storages;
use crate::identity::views::ViewQueries;

/// Maximum size of a request body in bytes. The largest command has three short texts.
const MAX_BODY: usize = 16 * 1024;

/// Held by each open request. The server has drained once all are dropped.
pub(super) type InFlight = mpsc::Sender<()>;

pub(super) fn routes<S: Storages, V: ViewQueries>(api: Arc<Api<S, V>>, in_flight: InFlight) -> Router {
    let user = get(users::read::<S, V>).patch(users::change::<S, V>).delete(users::delete::<S, V>);
    let member = put(groups::add::<S, V>).delete(groups::remove::<S, V>);
    Router::new()
        .route("/users", get(users::list::<S, V>).post(users::create::<S, V>))
        .route("/users/{id}", user)
        .route("/groups", post(groups::create::<S, V>))
        .route("/groups/{id}", get(groups::read::<S, V>))
        .route("/groups/{id}/members/{user}", member)
        .route("/health", get(health::read::<S, V>))
        .fallback(async || Problem::not_found("there is nothing at this address"))
        .method_not_allowed_fallback(async |method: Method| Problem::method_not_allowed(&method))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(in_flight, run_to_completion))
        .with_state(api)
}

/// Handles a request on its own task: a caller that disconnects does not interrupt its command, and a panic becomes a
/// response.
async fn run_to_completion(State(in_flight): State<InFlight>, request: Request, next: Next) -> Response {
    let handling = tokio::spawn(async move {
        let response = next.run(request).await;
        drop(in_flight);
        response
    });
    handling
        .await
        .unwrap_or_else(|_| Problem::internal("the handler of the request panicked").into_response())
}
