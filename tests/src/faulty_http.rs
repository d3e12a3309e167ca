//! The SDK's own HTTP client, with lost requests and replies.

mod answer;
mod injected;
mod rejected;
mod tables;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_smithy_http_client::Builder;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use eventsrc_dynamo::aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use eventsrc_dynamo::aws_sdk_dynamodb::config::{ConfigBag, RuntimeComponents, RuntimeComponentsBuilder};
use eventsrc_dynamo::aws_sdk_dynamodb::error::{BoxError, ConnectorError};
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub use answer::Answer;
pub use injected::InjectedHttp;
pub use tables::{FaultyTables, once, quickly};

/// A fault of one request to the service, or of its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpFault {
    /// The connection breaks before the request is sent.
    NotSent,
    /// The service executes the request, and the connection breaks before its reply.
    ReplyLost,
    /// The service executes the request, and its reply does not come in time.
    ReplyLate,
    /// The service executes the request, and only this many hundredths of the reply's body arrive.
    Truncated(u8),
    /// The service executes the request, and answers that it failed.
    FailedAfter,
    /// The service answers this, and does nothing.
    Answered(Answer),
    /// The service puts only some of the records, and reports that the throughput of the shard is exceeded.
    /// Of each eight records it puts those whose bit is not set.
    SomeRejected(u8),
}

impl HttpFault {
    /// Transient faults of a service and a network. A retry can succeed.
    pub const ANY_TIME: [Self; 9] = [
        Self::NotSent,
        Self::ReplyLost,
        Self::ReplyLate,
        Self::Truncated(50),
        Self::FailedAfter,
        Self::Answered(Answer::INTERNAL_ERROR),
        Self::Answered(Answer::THROTTLED),
        Self::Answered(Answer::RATE_EXCEEDED),
        Self::Answered(Answer::TRANSACTION_CONFLICT),
    ];

    /// Transient faults of DynamoDB Streams.
    pub const OF_TABLE_STREAMS: [Self; 9] = [
        Self::NotSent,
        Self::ReplyLost,
        Self::ReplyLate,
        Self::Truncated(50),
        Self::FailedAfter,
        Self::Answered(Answer::INTERNAL_ERROR),
        Self::Answered(Answer::RATE_EXCEEDED),
        Self::Answered(Answer::LIMIT_EXCEEDED),
        Self::Answered(Answer::EXPIRED_ITERATOR),
    ];

    /// Transient faults of Kinesis.
    pub const OF_KINESIS: [Self; 10] = [
        Self::NotSent,
        Self::ReplyLost,
        Self::ReplyLate,
        Self::Truncated(50),
        Self::FailedAfter,
        Self::Answered(Answer::KINESIS_FAILURE),
        Self::Answered(Answer::SHARD_THROTTLED),
        Self::Answered(Answer::LIMIT_EXCEEDED),
        Self::Answered(Answer::EXPIRED_ITERATOR),
        Self::SomeRejected(1),
    ];

    /// True if the service executes the request despite the fault.
    pub fn is_done(self) -> bool {
        !matches!(self, Self::NotSent | Self::Answered(_) | Self::SomeRejected(_))
    }

    fn name(self) -> &'static str {
        match self {
            Self::NotSent => "not sent",
            Self::ReplyLost => "replies lost",
            Self::ReplyLate => "replies late",
            Self::Truncated(_) => "replies cut off",
            Self::FailedAfter => "done and said to have failed",
            Self::Answered(answer) => answer.name(),
            Self::SomeRejected(_) => "puts of which some records were rejected",
        }
    }

    /// True if the fault can happen to a request of this operation.
    fn applies_to(self, operation: &str) -> bool {
        match self {
            Self::Answered(answer) => answer.answers(operation),
            Self::SomeRejected(_) => operation == "PutRecords",
            _ => true,
        }
    }
}

/// The SDK's own HTTP client, except that requests and replies are lost and the service fails, by a seed or a
/// script.
///
/// It does not support TLS. Clones share faults and counts.
#[derive(Clone)]
pub struct FaultyHttp(Arc<Inner>);

struct Inner {
    http: SharedHttpClient,
    operation: Option<&'static str>,
    script: Mutex<VecDeque<Option<HttpFault>>>,
    meanwhile: Mutex<Option<BoxFuture<'static, ()>>>,
    rates: Mutex<Vec<(HttpFault, f64)>>,
    draws: Mutex<StdRng>,
    injected: Mutex<InjectedHttp>,
    requests: AtomicU64,
    expired: AtomicU64,
}

impl FaultyHttp {
    /// No faults but those of the [script](Self::script).
    pub fn scripted() -> Self {
        Self::new(0, Vec::new(), None)
    }

    /// No faults but those of the script, which applies only to requests of this operation.
    pub fn scripted_for(operation: &'static str) -> Self {
        Self::new(0, Vec::new(), Some(operation))
    }

    /// Each of [`HttpFault::ANY_TIME`] occurs at this rate. The point at which a reply is cut off is random
    /// as well.
    pub fn random(seed: u64, rate: f64) -> Self {
        Self::drawn(seed, &HttpFault::ANY_TIME, rate)
    }

    /// Each of these faults occurs at this rate in the requests to which it can happen.
    pub fn drawn(seed: u64, faults: &[HttpFault], rate: f64) -> Self {
        Self::new(seed, faults.iter().map(|fault| (*fault, rate)).collect(), None)
    }

    fn new(seed: u64, rates: Vec<(HttpFault, f64)>, operation: Option<&'static str>) -> Self {
        Self(Arc::new(Inner {
            http: Builder::new().build_http(),
            operation,
            script: Mutex::default(),
            meanwhile: Mutex::default(),
            rates: Mutex::new(rates),
            draws: Mutex::new(StdRng::seed_from_u64(seed)),
            injected: Mutex::default(),
            requests: AtomicU64::default(),
            expired: AtomicU64::default(),
        }))
    }

    /// Sets the faults of the next requests, in this order; `None` is a request without a fault. Replaces an
    /// earlier script.
    pub fn script(&self, faults: impl IntoIterator<Item = Option<HttpFault>>) {
        *locked(&self.0.script) = faults.into_iter().collect();
    }

    /// Sets the fault of the next request.
    pub fn next(&self, fault: HttpFault) {
        self.script([Some(fault)]);
    }

    /// Runs `work` after the next fault is injected, before its caller gets the error and can retry.
    pub fn meanwhile(&self, work: impl Future<Output = ()> + Send + 'static) {
        *locked(&self.0.meanwhile) = Some(Box::pin(work));
    }

    /// Injects no more faults.
    pub fn calm(&self) {
        locked(&self.0.rates).clear();
        self.script([]);
    }

    /// The faults that were injected so far.
    pub fn injected(&self) -> InjectedHttp {
        locked(&self.0.injected).clone()
    }

    /// Number of requests, including those that were not sent and the retries of the SDK.
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Number of iterators that the service itself rejected as expired.
    pub fn expired(&self) -> u64 {
        self.0.expired.load(Ordering::Relaxed)
    }

    fn fault(&self, operation: &str) -> Option<HttpFault> {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        if self.0.operation.is_some_and(|only| operation != only) {
            return None;
        }
        let drawn = || self.draw().filter(|fault| fault.applies_to(operation));
        let fault = locked(&self.0.script).pop_front().unwrap_or_else(drawn)?;
        locked(&self.0.injected).add(fault.name());
        Some(fault)
    }

    fn draw(&self) -> Option<HttpFault> {
        let rates = locked(&self.0.rates);
        let mut draws = locked(&self.0.draws);
        let mut drawn = draws.random::<f64>();
        let (fault, _) = rates.iter().find(|(_, rate)| {
            drawn -= rate;
            drawn < 0.0
        })?;
        Some(match fault {
            HttpFault::Truncated(_) => HttpFault::Truncated(draws.random_range(0..100)),
            // The first record is always rejected: the ones after it must not be stored before it.
            HttpFault::SomeRejected(_) => HttpFault::SomeRejected(draws.random_range(0..128) * 2 + 1),
            other => *other,
        })
    }

    async fn exchange(
        &self,
        http: &SharedHttpConnector,
        request: HttpRequest,
    ) -> Result<HttpResponse, ConnectorError> {
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let (service, operation) = target.split_once('.').unwrap_or_default();
        let Some(fault) = self.fault(operation) else { return self.listen(http.call(request).await?).await };
        let broken = || ConnectorError::io(io::Error::from(io::ErrorKind::ConnectionReset).into());
        if let HttpFault::SomeRejected(places) = fault {
            return rejected::put(request, places, http).await;
        }
        let reply = if fault.is_done() { Some(whole(http.call(request).await?).await?) } else { None };
        let work = locked(&self.0.meanwhile).take();
        if let Some(work) = work {
            work.await;
        }
        match (fault, reply) {
            (HttpFault::ReplyLate, _) => {
                Err(ConnectorError::timeout(io::Error::from(io::ErrorKind::TimedOut).into()))
            }
            (HttpFault::Truncated(hundredths), Some((mut reply, body))) => {
                let end = body.len() * usize::from(hundredths) / 100;
                *reply.body_mut() = body[..end].into();
                Ok(reply)
            }
            (HttpFault::FailedAfter, _) if service.starts_with("Kinesis") => {
                Ok(Answer::KINESIS_FAILURE.response())
            }
            (HttpFault::FailedAfter, _) => Ok(Answer::INTERNAL_ERROR.response()),
            (HttpFault::Answered(answer), _) => Ok(answer.response()),
            _ => Err(broken()),
        }
    }

    /// Passes a reply of the service on, and counts it if it rejects an iterator.
    async fn listen(&self, reply: HttpResponse) -> Result<HttpResponse, ConnectorError> {
        if reply.status().is_success() {
            return Ok(reply);
        }
        let (mut reply, body) = whole(reply).await?;
        if String::from_utf8_lossy(&body).contains(Answer::EXPIRED_ITERATOR.name()) {
            self.0.expired.fetch_add(1, Ordering::Relaxed);
        }
        *reply.body_mut() = body.into();
        Ok(reply)
    }
}

/// A reply after its body has arrived completely, and the body.
async fn whole(mut reply: HttpResponse) -> Result<(HttpResponse, Vec<u8>), ConnectorError> {
    let body = reply.take_body().collect().await.map_err(ConnectorError::io)?;
    Ok((reply, body.to_bytes().into()))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpClient for FaultyHttp {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let http = self.0.http.http_connector(settings, components);
        SharedHttpConnector::new(FaultyConnector { faulty: self.clone(), http })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        HttpClient::validate_base_client_config(&self.0.http, components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        HttpClient::validate_final_config(&self.0.http, components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.http.connector_metadata()
    }
}

#[derive(Debug)]
struct FaultyConnector {
    faulty: FaultyHttp,
    http: SharedHttpConnector,
}

impl HttpConnector for FaultyConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (faulty, http) = (self.faulty.clone(), self.http.clone());
        HttpConnectorFuture::new(async move { faulty.exchange(&http, request).await })
    }
}

impl fmt::Debug for FaultyHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyHttp").field("injected", &self.injected()).finish_non_exhaustive()
    }
}
