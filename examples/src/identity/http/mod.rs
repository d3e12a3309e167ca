//! The service over HTTP: commands change streams, questions are answered by the view, and tokens tie the two.

mod answer;
mod body;
mod conditions;
mod groups;
mod health;
mod problem;
mod requests;
mod server;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use eventsrc_core::Synchronizer;
use eventsrc_core::token::TokenCodec;
use tokio::sync::mpsc;

use problem::Problem;
pub use server::Server;

use super::service::Service;
use super::storages::Storages;
use super::views::Questions;

/// What requests are answered with.
pub struct Api<S: Storages, V: Questions> {
    /// Carries out commands.
    pub service: Service<S>,
    /// Answers questions, as new as asked for.
    pub synchronizer: Synchronizer<V>,
    /// Signs tokens, so that what comes back can be trusted.
    pub tokens: TokenCodec,
}

type Shared<S, V> = State<Arc<Api<S, V>>>;

/// How much a request may bring, in bytes; the largest command has three short texts.
const LARGEST_BODY: usize = 16 * 1024;

fn routes<S: Storages, V: Questions>(api: Arc<Api<S, V>>, open: Open) -> Router {
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
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn_with_state(open, to_the_end))
        .with_state(api)
}

/// Held by each request that is being answered; once all are gone, the server is done.
type Open = mpsc::Sender<()>;

/// Answers a request on a task of its own: a caller that hangs up breaks no command off in the middle, and a panic is an
/// answer.
async fn to_the_end(State(open): State<Open>, request: Request, next: Next) -> Response {
    let answering = tokio::spawn(async move {
        let answer = next.run(request).await;
        drop(open);
        answer
    });
    answering.await.unwrap_or_else(|_| Problem::internal("the program broke while answering").into_response())
}
