//! Requests to DynamoDB that are lost, or whose replies are.

use eventsrc_core::ErrorKind;
use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use eventsrc_kinesis::dynamodb::LeaseTable;
use eventsrc_test_servers as servers;
use eventsrc_tests::dynamo::config;
use eventsrc_tests::faulty_http::{FaultyHttp, HttpFault, once, quickly};

use super::{after, create, moved, take, unmoved};

/// Two stores of the same leases: one without faults and one with injected faults.
struct Stores {
    beneath: LeaseTable,
    through: LeaseTable,
    faulty: FaultyHttp,
}

impl Stores {
    /// `retries` says how failed requests are sent again.
    async fn new(retries: RetryConfig) -> Self {
        let server = servers::dynamo().await;
        let (endpoint, access_key) = (server.endpoint(), server.access_key("lost"));
        let own = RetryPartition::custom("leases").token_bucket(TokenBucket::unlimited()).build();
        let config = || config(&endpoint, &access_key).retry_partition(own.clone());
        let beneath = LeaseTable::new(Client::from_conf(config().build()), "leases");
        beneath.create_table().await.unwrap();
        let faulty = FaultyHttp::scripted();
        let through = config().http_client(faulty.clone()).retry_config(retries).build();
        Self { beneath, through: LeaseTable::new(Client::from_conf(through), "leases"), faulty }
    }

    async fn taken(&self, shard: &str) -> Lease {
        let all = create(&self.through, &[shard]).await;
        take(&self.through, all.iter().find(|lease| lease.shard == shard).unwrap(), "v").await
    }

    async fn now(&self, shard: &str) -> Lease {
        let all = self.beneath.leases().await.unwrap();
        all.into_iter().find(|lease| lease.shard == shard).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_meets_itself_has_one_effect() {
    let stores = Stores::new(quickly()).await;
    // The SDK does not retry after a truncated reply.
    for fault in [HttpFault::ReplyLost, HttpFault::ReplyLate, HttpFault::FailedAfter] {
        let shard = format!("{fault:?}");
        let free =
            create(&stores.through, &[&shard]).await.into_iter().find(|lease| lease.shard == shard).unwrap();
        stores.faulty.next(fault);
        let held = stores.through.take(&free, "v").await.unwrap().expect("it took it");
        assert_eq!(held, stores.now(&shard).await, "taken: {fault:?}");
        stores.faulty.next(fault);
        let renewed = stores.through.renew("v", &[moved(&held, after("17", 0, None))]).await.unwrap();
        let renewed = renewed[0].clone().expect("it holds it");
        assert_eq!((renewed.counter, &renewed), (held.counter + 1, &stores.now(&shard).await), "{fault:?}");
        stores.faulty.next(fault);
        assert!(stores.through.claim(&renewed, "w").await.unwrap(), "claimed: {fault:?}");
        stores.faulty.next(fault);
        let ended = stores.through.renew("v", &[moved(&renewed, Checkpoint::End)]).await.unwrap();
        assert_eq!(ended, [Some(stores.now(&shard).await)], "ended: {fault:?}");
        stores.faulty.next(fault);
        stores.through.remove(std::slice::from_ref(&shard)).await.unwrap();
        assert!(stores.beneath.leases().await.unwrap().iter().all(|lease| lease.shard != shard));
    }
    assert_eq!(stores.faulty.injected().kinds(), 3, "{}", stores.faulty.injected());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_whose_reply_was_lost_is_repeated() {
    let stores = Stores::new(once()).await;
    let held = stores.taken("a").await;
    let faults = [HttpFault::ReplyLost, HttpFault::FailedAfter, HttpFault::Truncated(50), HttpFault::NotSent];
    for (number, fault) in (1..).zip(faults) {
        let before = stores.now("a").await;
        stores.faulty.next(fault);
        let renewal = moved(&held, after(&number.to_string(), 0, None));
        let error = stores.through.renew("v", std::slice::from_ref(&renewal)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert_eq!(stores.now("a").await != before, fault.is_done(), "{fault:?}");
        // The caller was not told of any of these renewals.
        let renewed = stores.through.renew("v", &[renewal]).await.unwrap();
        assert_eq!(renewed, [Some(stores.now("a").await)], "{fault:?}");
        assert_eq!(renewed[0].as_ref().unwrap().checkpoint, after(&number.to_string(), 0, None));
    }
    // Another worker takes over, and earlier renewals have no effect any more.
    let over = take(&stores.beneath, &stores.now("a").await, "w").await;
    assert_eq!(stores.through.renew("v", &[unmoved(&held)]).await.unwrap(), [None]);
    take(&stores.beneath, &over, "v").await;
    assert_eq!(
        stores.through.renew("v", &[unmoved(&held)]).await.unwrap(),
        [None],
        "it was won back elsewhere"
    );
    assert!(!stores.through.release("v", &unmoved(&held)).await.unwrap());
}

/// A lease that cannot be renewed for a long time does not stop the heartbeats of the other leases.
#[tokio::test(flavor = "multi_thread")]
async fn other_leases_are_renewed_despite_one_that_cannot_be() {
    let stores = Stores::new(once()).await;
    let held = [stores.taken("a").await, stores.taken("b").await];
    let renewals = held.each_ref().map(unmoved);
    for round in 0..8 {
        let before = [stores.now("a").await, stores.now("b").await];
        stores.faulty.next(HttpFault::NotSent);
        stores.through.renew("v", &renewals).await.unwrap_err();
        let moved = [stores.now("a").await, stores.now("b").await]
            .iter()
            .zip(&before)
            .filter(|(now, before)| now.heartbeat != before.heartbeat)
            .count();
        assert_eq!(moved, 1, "in round {round} one of stores was renewed");
    }
    let renewed = stores.through.renew("v", &renewals).await.unwrap();
    assert_eq!(renewed, [Some(stores.now("a").await), Some(stores.now("b").await)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_whose_renewal_was_lost_is_given_up() {
    let stores = Stores::new(once()).await;
    let held = stores.taken("a").await;
    stores.faulty.next(HttpFault::ReplyLost);
    stores.through.renew("v", &[unmoved(&held)]).await.unwrap_err();
    assert!(stores.beneath.claim(&held, "w").await.unwrap());
    assert!(stores.through.release("v", &moved(&held, after("17", 0, None))).await.unwrap());
    let now = stores.now("a").await;
    assert_eq!(
        (now.owner.as_deref(), now.next_owner, now.checkpoint),
        (Some("w"), None, after("17", 0, None))
    );
}
