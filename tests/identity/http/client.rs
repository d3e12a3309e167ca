//! A real HTTP client.

use std::net::SocketAddr;

use eventsrc_core::CommitId;
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

type Bytes = std::collections::VecDeque<u8>;

/// A client of one server with persistent connections.
#[derive(Debug, Clone)]
pub(super) struct Client {
    address: SocketAddr,
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
}

/// A request that is not sent yet.
#[derive(Debug, Clone)]
pub(super) struct PendingRequest<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// The reply to a request.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        Self { address, http }
    }

    pub(super) fn get(&self, path: impl Into<String>) -> PendingRequest<'_> {
        self.ask(Method::GET, path)
    }

    pub(super) fn post(&self, path: impl Into<String>, body: &Value) -> PendingRequest<'_> {
        self.ask(Method::POST, path).json(body)
    }

    pub(super) fn put(&self, path: impl Into<String>) -> PendingRequest<'_> {
        self.ask(Method::PUT, path)
    }

    pub(super) fn patch(&self, path: impl Into<String>, body: &Value) -> PendingRequest<'_> {
        self.ask(Method::PATCH, path).json(body)
    }

    pub(super) fn delete(&self, path: impl Into<String>) -> PendingRequest<'_> {
        self.ask(Method::DELETE, path)
    }

    pub(super) fn ask(&self, method: Method, path: impl Into<String>) -> PendingRequest<'_> {
        PendingRequest { client: self, method, path: path.into(), headers: Vec::new(), body: Vec::new() }
    }
}

impl PendingRequest<'_> {
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Requires an answer at least as new as these replies: one header for each.
    pub(super) fn at_least<'r>(self, replies: impl IntoIterator<Item = &'r Reply>) -> Self {
        replies.into_iter().fold(self, |asked, reply| asked.header("eventsrc-at-least", reply.token()))
    }

    pub(super) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the request once.
    pub(super) async fn send(self) -> Reply {
        let uri = format!("http://{}{}", self.client.address, self.path);
        self.try_send().await.unwrap_or_else(|error| panic!("{uri}: {error:?}"))
    }

    /// Sends the request once. The connection may be refused or cut.
    pub(super) async fn try_send(self) -> Result<Reply, hyper_util::client::legacy::Error> {
        let uri = format!("http://{}{}", self.client.address, self.path);
        let mut request = Request::builder().method(self.method).uri(uri);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body.into())).expect("a test makes well-formed requests");
        let (parts, body) = self.client.http.request(request).await?.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// Sends the command with an idempotency key until it is carried out or refused, as callers do.
    pub(super) async fn carry_out(self) -> Reply {
        let CommitId(id) = Randomness::from_system().commit_id(SystemClock.now());
        let asked = self.header("idempotency-key", id.to_string());
        loop {
            let reply = asked.clone().send().await;
            if reply.status != 503 {
                return reply;
            }
        }
    }
}

impl Reply {
    /// The same reply, if it has this status.
    #[track_caller]
    pub(super) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}: {}", String::from_utf8_lossy(&self.body));
        self
    }

    #[track_caller]
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("there is no {name} in {self:?}"));
        value.to_str().unwrap()
    }

    #[track_caller]
    pub(super) fn token(&self) -> &str {
        self.header("eventsrc-token")
    }

    #[track_caller]
    pub(super) fn tag(&self) -> &str {
        self.header("etag")
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        let text = || String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", text()))
    }

    /// The id in the reply.
    #[track_caller]
    pub(super) fn id(&self) -> String {
        self.json()["id"].as_str().unwrap().to_owned()
    }
}
