//! The small examples, run as they are.

use axum::body::Bytes;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, Request, StatusCode};
use eventsrc_test_servers as servers;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;

#[path = "../examples/small"]
#[expect(dead_code, reason = "each has a main function of its own")]
mod small {
    pub(super) mod counter;
    pub(super) mod custom_backend;
    pub(super) mod etag;
    pub(super) mod postgres_view;
    pub(super) mod snapshot;
    pub(super) mod upcasting;
}

#[tokio::test]
async fn the_counter_counts() {
    small::counter::run().await.unwrap();
}

#[tokio::test]
async fn events_of_an_older_version_are_upcast() {
    small::upcasting::run().await.unwrap();
}

#[tokio::test]
async fn a_snapshot_saves_reads() {
    small::snapshot::run().await.unwrap();
}

#[tokio::test]
async fn a_custom_backend_saves() {
    small::custom_backend::run().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_on_postgres_reads_its_own_writes() {
    let url = servers::postgres().await.database("small").await;
    // Twice: the second run finds the tables and rows of the first.
    for _ in 0..2 {
        small::postgres_view::run(&url).await.unwrap();
    }
}

#[tokio::test]
async fn an_etag_makes_a_write_conditional() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let notes = format!("http://{}/notes/1", listener.local_addr().unwrap());
    tokio::spawn(small::etag::run(listener));
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let put = async |tag: Option<&str>, text: &'static str| {
        let mut request = Request::put(&notes);
        if let Some(tag) = tag {
            request = request.header(IF_MATCH, tag);
        }
        client.request(request.body(text.into()).unwrap()).await.unwrap()
    };
    let tag = |headers: &HeaderMap| headers[ETAG].to_str().unwrap().to_owned();

    let created = put(None, "milk").await;
    assert_eq!((created.status(), &*tag(created.headers())), (StatusCode::OK, "\"1\""));
    assert_eq!(put(None, "bread").await.status(), StatusCode::PRECONDITION_FAILED, "the note exists");
    let changed = put(Some("\"1\""), "milk, bread").await;
    assert_eq!((changed.status(), &*tag(changed.headers())), (StatusCode::OK, "\"2\""));
    assert_eq!(put(Some("\"1\""), "eggs").await.status(), StatusCode::PRECONDITION_FAILED, "the tag is old");

    let read = client.request(Request::get(&notes).body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(tag(read.headers()), "\"2\"");
    assert_eq!(read.into_body().collect().await.unwrap().to_bytes(), "milk, bread");
}
