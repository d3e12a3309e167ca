//! A note over HTTP: `ETag` is the sequence, `If-Match` makes a write conditional.
//!
//! `cargo run --example etag`, then `curl -i http://127.0.0.1:8080/notes/1 -X PUT -d milk`

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, serve};
use eventsrc_core::query::FoldFn;
use eventsrc_core::{
    Event, MemoryStorage, Operation, Outcome, Query, QueryApi, SaveApi, StreamName, fold_fn,
};
use tokio::net::TcpListener;

type Storage = Arc<MemoryStorage<StreamName, u64, String>>;
type Text =
    FoldFn<fn(&StreamName, &mut Option<String>, Event<'_, StreamName, u64, String>), StreamName, String>;

struct Notes {
    saves: SaveApi<Storage>,
    texts: QueryApi<Storage, Text>,
}

async fn read(State(notes): State<Arc<Notes>>, Path(id): Path<String>) -> Result<Response, StatusCode> {
    let key = StreamName::new("note", &id).map_err(|_| StatusCode::BAD_REQUEST)?;
    let note = notes.texts.snapshot(&key, eventsrc_core::Consistency::LatestEvent).await;
    let note = note.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let (text, sequence) = note
        .sequence()
        .zip(note.value)
        .map(|(sequence, text)| (text, sequence))
        .ok_or(StatusCode::NOT_FOUND)?;
    Ok(([(ETAG, format!("\"{sequence}\""))], text).into_response())
}

async fn write(
    State(notes): State<Arc<Notes>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    text: String,
) -> Result<Response, StatusCode> {
    let key = StreamName::new("note", &id).map_err(|_| StatusCode::BAD_REQUEST)?;
    let expected = match headers.get(IF_MATCH) {
        Some(tag) => {
            let tag = tag.to_str().ok().and_then(|tag| tag.trim_matches('"').parse().ok());
            Some(tag.ok_or(StatusCode::BAD_REQUEST)?)
        }
        None => None,
    };
    // Without If-Match the note must not exist yet.
    match notes.saves.save(&key, Operation::if_seq(expected, text)).await {
        Ok(Outcome::Saved(saved)) => Ok([(ETAG, format!("\"{}\"", saved.sequence))].into_response()),
        Ok(Outcome::Rejected { .. }) => Err(StatusCode::PRECONDITION_FAILED),
        Ok(Outcome::Unchanged(_) | Outcome::Contended { .. }) | Err(_) => {
            Err(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

/// Serves notes on `listener`.
pub(crate) async fn run(listener: TcpListener) -> anyhow::Result<()> {
    let storage = Storage::default();
    let text: Text = fold_fn(|_, text, event| *text = Some(event.payload.clone()));
    let notes = Notes { saves: SaveApi::new(Arc::clone(&storage)), texts: QueryApi::new(storage, text) };
    let router = Router::new().route("/notes/{id}", get(read).put(write)).with_state(Arc::new(notes));
    Ok(serve(listener, router).await?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("listening on http://{}", listener.local_addr()?);
    run(listener).await
}
