//! Requests to DynamoDB whose answers are lost, or that are.

use eventsrc_core::ErrorKind;
use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use eventsrc_kinesis::dynamodb::LeaseTable;
use eventsrc_test_servers as servers;
use eventsrc_tests::dynamo::config;
use eventsrc_tests::faulty_http::{FaultyHttp, HttpFault, once, quickly};

use super::{after, create, moved, take, unmoved};

/// The same leases, by one that nothing goes wrong with and one that something does.
struct Both {
    beneath: LeaseTable,
    through: LeaseTable,
    faulty: FaultyHttp,
}

impl Both {
    /// Requests that fail are sent again as `retries` says.
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
async fn a_call_that_meets_itself_is_done_once() {
    let both = Both::new(quickly()).await;
    // A reply that was cut off is not one that the SDK sends a request again for.
    for fault in [HttpFault::ReplyLost, HttpFault::ReplyLate, HttpFault::FailedAfter] {
        let shard = format!("{fault:?}");
        let free =
            create(&both.through, &[&shard]).await.into_iter().find(|lease| lease.shard == shard).unwrap();
        both.faulty.next(fault);
        let held = both.through.take(&free, "v").await.unwrap().expect("it took it");
        assert_eq!(held, both.now(&shard).await, "taken: {fault:?}");
        both.faulty.next(fault);
        let renewed = both.through.renew("v", &[moved(&held, after("17", 0, None))]).await.unwrap();
        let renewed = renewed[0].clone().expect("it holds it");
        assert_eq!((renewed.counter, &renewed), (held.counter + 1, &both.now(&shard).await), "{fault:?}");
        both.faulty.next(fault);
        assert!(both.through.claim(&renewed, "w").await.unwrap(), "claimed: {fault:?}");
        both.faulty.next(fault);
        let ended = both.through.renew("v", &[moved(&renewed, Checkpoint::End)]).await.unwrap();
        assert_eq!(ended, [Some(both.now(&shard).await)], "ended: {fault:?}");
        both.faulty.next(fault);
        both.through.remove(std::slice::from_ref(&shard)).await.unwrap();
        assert!(both.beneath.leases().await.unwrap().iter().all(|lease| lease.shard != shard));
    }
    assert_eq!(both.faulty.injected().kinds(), 3, "{}", both.faulty.injected());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_whose_answer_was_lost_is_made_again() {
    let both = Both::new(once()).await;
    let held = both.taken("a").await;
    let faults = [HttpFault::ReplyLost, HttpFault::FailedAfter, HttpFault::Truncated(50), HttpFault::NotSent];
    for (number, fault) in (1..).zip(faults) {
        let before = both.now("a").await;
        both.faulty.next(fault);
        let renewal = moved(&held, after(&number.to_string(), 0, None));
        let error = both.through.renew("v", std::slice::from_ref(&renewal)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert_eq!(both.now("a").await != before, fault.is_done(), "{fault:?}");
        // The caller was never told of any of it.
        let renewed = both.through.renew("v", &[renewal]).await.unwrap();
        assert_eq!(renewed, [Some(both.now("a").await)], "{fault:?}");
        assert_eq!(renewed[0].as_ref().unwrap().checkpoint, after(&number.to_string(), 0, None));
    }
    // Somebody else takes over, and what was renewed before counts no more.
    let over = take(&both.beneath, &both.now("a").await, "w").await;
    assert_eq!(both.through.renew("v", &[unmoved(&held)]).await.unwrap(), [None]);
    take(&both.beneath, &over, "v").await;
    assert_eq!(
        both.through.renew("v", &[unmoved(&held)]).await.unwrap(),
        [None],
        "it was won back elsewhere"
    );
    assert!(!both.through.release("v", &unmoved(&held)).await.unwrap());
}

/// A lease that cannot be renewed for a long time does not keep the pulses of others from moving.
#[tokio::test(flavor = "multi_thread")]
async fn others_go_on_beside_a_lease_that_cannot_be_renewed() {
    let both = Both::new(once()).await;
    let held = [both.taken("a").await, both.taken("b").await];
    let renewals = held.each_ref().map(unmoved);
    for round in 0..8 {
        let before = [both.now("a").await, both.now("b").await];
        both.faulty.next(HttpFault::NotSent);
        both.through.renew("v", &renewals).await.unwrap_err();
        let moved = [both.now("a").await, both.now("b").await]
            .iter()
            .zip(&before)
            .filter(|(now, before)| now.heartbeat != before.heartbeat)
            .count();
        assert_eq!(moved, 1, "in round {round} one of both was renewed");
    }
    let renewed = both.through.renew("v", &renewals).await.unwrap();
    assert_eq!(renewed, [Some(both.now("a").await), Some(both.now("b").await)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_whose_renewal_was_lost_is_given_up() {
    let both = Both::new(once()).await;
    let held = both.taken("a").await;
    both.faulty.next(HttpFault::ReplyLost);
    both.through.renew("v", &[unmoved(&held)]).await.unwrap_err();
    assert!(both.beneath.claim(&held, "w").await.unwrap());
    assert!(both.through.release("v", &moved(&held, after("17", 0, None))).await.unwrap());
    let now = both.now("a").await;
    assert_eq!(
        (now.owner.as_deref(), now.next_owner, now.checkpoint),
        (Some("w"), None, after("17", 0, None))
    );
}
