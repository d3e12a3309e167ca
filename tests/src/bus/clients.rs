//! Clients of AWS services, with injected faults.

use eventsrc_dynamo::aws_sdk_dynamodb::{self, config::retry::RetryConfig};
use eventsrc_kinesis::aws_sdk_kinesis;
use eventsrc_kinesis::dynamodb::aws_sdk_dynamodbstreams;

use super::Bus;
use crate::faulty_http::{FaultyHttp, HttpFault, InjectedHttp, once, quickly};
use crate::{dynamo, kinesis};

/// Rate of each kind of fault, of all requests to each service.
const FAULTS_OF_EACH_KIND: f64 = 0.005;

/// Faults on the way to the services of AWS.
#[derive(Debug, Clone)]
pub struct BusFaults {
    dynamo: FaultyHttp,
    streams: FaultyHttp,
    kinesis: FaultyHttp,
    retries: RetryConfig,
}

impl BusFaults {
    /// Every kind of fault at a low rate. With an even seed the SDK retries, with an odd one only the caller
    /// does.
    pub fn drawn(seed: u64) -> Self {
        let drawn = |number, faults: &[HttpFault]| {
            FaultyHttp::drawn(seed.wrapping_mul(3).wrapping_add(number), faults, FAULTS_OF_EACH_KIND)
        };
        Self {
            dynamo: drawn(0, &HttpFault::ANY_TIME),
            streams: drawn(1, &HttpFault::OF_TABLE_STREAMS),
            kinesis: drawn(2, &HttpFault::OF_KINESIS),
            retries: if seed.is_multiple_of(2) { quickly() } else { once() },
        }
    }

    /// All requests go through `http`. Only the caller retries.
    pub fn all(http: &FaultyHttp) -> Self {
        let [dynamo, streams, kinesis] = [http, http, http].map(FaultyHttp::clone);
        Self { dynamo, streams, kinesis, retries: once() }
    }

    /// The faults that were injected so far.
    pub fn injected(&self) -> InjectedHttp {
        let mut injected = InjectedHttp::default();
        for http in [&self.dynamo, &self.streams, &self.kinesis] {
            injected += http.injected();
        }
        injected
    }

    /// Number of iterators that Kinesis itself rejected as expired.
    pub fn expired(&self) -> u64 {
        self.kinesis.expired()
    }
}

impl Bus {
    /// A client of DynamoDB.
    pub fn dynamo_client(&self) -> aws_sdk_dynamodb::Client {
        let mut config = dynamo::config(&self.dynamo, &self.access_key);
        if let Some(faults) = &self.faults {
            config = config.http_client(faults.dynamo.clone()).retry_config(faults.retries.clone());
        }
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// A client of the streams of DynamoDB.
    pub fn streams_client(&self) -> aws_sdk_dynamodbstreams::Client {
        let shared = dynamo::config(&self.dynamo, &self.access_key).build();
        let mut config = aws_sdk_dynamodbstreams::Config::builder()
            .behavior_version(aws_sdk_dynamodbstreams::config::BehaviorVersion::latest())
            .region(shared.region().cloned())
            .endpoint_url(&self.dynamo)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(aws_sdk_dynamodbstreams::config::Credentials::new(
                &self.access_key,
                "secret",
                None,
                None,
                "tests",
            ));
        if let Some(faults) = &self.faults {
            config = config.http_client(faults.streams.clone()).retry_config(faults.retries.clone());
        }
        aws_sdk_dynamodbstreams::Client::from_conf(config.build())
    }

    /// A client of Kinesis.
    pub fn kinesis_client(&self) -> aws_sdk_kinesis::Client {
        let mut config = kinesis::config(&self.kinesis);
        if let Some(faults) = &self.faults {
            config = config.http_client(faults.kinesis.clone()).retry_config(faults.retries.clone());
        }
        aws_sdk_kinesis::Client::from_conf(config.build())
    }
}
