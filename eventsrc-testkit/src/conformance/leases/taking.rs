//! Takes that succeed, and takes that are refused.

use eventsrc_core::StorageError;
use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore, NewLease};

use super::super::trial::run_concurrently;
use super::super::violation::{RuleResult, Violation, ensure, ensure_eq};
use super::backend::LeaseBackend;
use super::trial::{LeaseHandle, LeaseTrial, after, new_lease, renewal, renewal_with};

/// A worker takes a free lease.
pub(super) async fn a_free_lease_is_taken<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, lease) = on.lease("a").await?;
    let other = leases.creates("b").await?;
    let taken = leases.takes(&lease, "w").await?;
    leases.has(&[taken, other]).await
}

/// A worker takes over a lease that another worker owns. The store does not check whether the owner is alive.
pub(super) async fn an_owned_lease_is_taken_over<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, mut lease) = on.lease("a").await?;
    for worker in ["v", "w", "x", "v"] {
        lease = leases.takes(&lease, worker).await?;
    }
    Ok(())
}

/// A lease is taken as `leases` returned it, also after a renewal.
pub(super) async fn a_lease_is_taken_as_last_observed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, lease) = on.taken("a", "v").await?;
    let renewed = leases.renews("v", &renewal_with(&lease, after(1))).await?;
    let seen = on.open().await.lease("a").await?;
    ensure_eq!(seen, renewed, "the observed lease, compared with the renewed one");
    leases.takes(&seen, "w").await.map(drop)
}

/// A worker may take a lease that it owns.
pub(super) async fn a_worker_takes_its_own_lease_again<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, first) = on.taken("a", "w").await?;
    let second = leases.takes(&first, "w").await?;
    ensure!(second.counter != first.counter, "the counter did not change: {second:?}");
    Ok(())
}

/// A missing lease is not taken.
pub(super) async fn a_missing_lease_is_not_taken<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, lease) = on.lease("a").await?;
    leases.refuses_take(&Lease { shard: "b".into(), ..lease }, "w").await
}

/// Of 16 workers that take one lease concurrently, one succeeds.
pub(super) async fn of_16_racing_takes_one_succeeds<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    for round in 0..10 {
        let lease = leases.creates(&format!("round {round:02}")).await?;
        one_takes(&vec![leases.clone(); 16], &lease).await?;
    }
    Ok(())
}

/// Of 16 workers that take over one lease concurrently through separate handles, one succeeds.
pub(super) async fn of_16_racing_takes_through_separate_handles_one_succeeds<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let mut handles = Vec::new();
    for _ in 0..16 {
        handles.push(on.open().await);
    }
    let mut lease = handles[0].creates("a").await?;
    for _ in 0..10 {
        lease = one_takes(&handles, &lease).await?;
    }
    Ok(())
}

/// Takes the lease through each handle by a separate worker, concurrently. Expects one take to succeed, and returns
/// its lease.
async fn one_takes<B: LeaseBackend>(handles: &[LeaseHandle<B>], lease: &Lease) -> Result<Lease, Violation> {
    let takes = handles.iter().cloned().enumerate().map(|(at, leases)| {
        let lease = lease.clone();
        async move { leases.store().take(&lease, &format!("worker {at}")).await }
    });
    let answers = run_concurrently(takes.collect::<Vec<_>>()).await?;
    let taken: Vec<_> = answers.into_iter().collect::<Result<Vec<_>, StorageError>>()?;
    let mut taken: Vec<_> = taken.into_iter().flatten().collect();
    ensure_eq!(taken.len(), 1, "the number of takes of {lease:?} that succeeded");
    ensure_eq!(
        handles[0].lease(&lease.shard).await?,
        taken[0],
        "the stored lease, compared with the taken one"
    );
    Ok(taken.remove(0))
}

/// A lease that another worker took after the observation is not taken.
pub(super) async fn a_lease_taken_since_is_not_taken<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, seen) = on.lease("a").await?;
    leases.takes(&seen, "v").await?;
    leases.refuses_take(&seen, "w").await
}

/// A lease that returned to its owner after the observation is not taken.
pub(super) async fn a_lease_that_returned_to_its_owner_is_not_taken<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, seen) = on.taken("a", "u").await?;
    let taken = leases.takes(&seen, "v").await?;
    leases.takes(&taken, "u").await?;
    leases.refuses_take(&seen, "w").await
}

/// A lease that was claimed after the observation is not taken, not even by its next owner.
pub(super) async fn a_lease_claimed_since_is_not_taken<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, seen) = on.taken("a", "v").await?;
    let claimed = leases.claims(&seen, "x").await?;
    leases.refuses_take(&seen, "w").await?;
    leases.refuses_take(&seen, "x").await?;
    leases.takes(&claimed, "x").await.map(drop)
}

/// A lease that was renewed after the observation is not taken.
pub(super) async fn a_lease_renewed_since_is_not_taken<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, seen) = on.taken("a", "v").await?;
    let renewed = leases.renews("v", &renewal(&seen)).await?;
    leases.refuses_take(&seen, "w").await?;
    leases.renews("v", &renewal_with(&renewed, after(1))).await?;
    leases.refuses_take(&renewed, "w").await
}

/// Leases that were renewed together after the observation are not taken.
pub(super) async fn leases_renewed_together_since_are_not_taken<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let leases = on.open().await;
    let mut held = Vec::new();
    for shard in ["a", "b", "c"] {
        let lease = leases.creates(shard).await?;
        held.push(leases.takes(&lease, "v").await?);
    }
    let seen = leases.leases().await?;
    leases.store().renew("v", &held.iter().map(renewal).collect::<Vec<_>>()).await?;
    for lease in &seen {
        leases.refuses_take(lease, "w").await?;
    }
    Ok(())
}

/// A lease that was released after the observation is not taken.
pub(super) async fn a_lease_released_since_is_not_taken<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, seen) = on.taken("a", "v").await?;
    let released = leases.releases("v", &renewal(&seen)).await?;
    leases.refuses_take(&seen, "w").await?;
    leases.takes(&released, "w").await.map(drop)
}

/// A lease that was free at the observation, and was taken and released since, is not taken.
pub(super) async fn a_lease_that_is_free_again_is_not_taken<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, seen) = on.lease("a").await?;
    let taken = leases.takes(&seen, "v").await?;
    leases.releases("v", &renewal(&taken)).await?;
    leases.refuses_take(&seen, "w").await
}

/// Of a renewal by the owner and a concurrent take by another worker, exactly one succeeds.
pub(super) async fn of_a_racing_renewal_and_take_one_succeeds<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (owner, taker) = (on.open().await, on.open().await);
    for round in 0..30 {
        let lease = owner.creates(&format!("round {round:02}")).await?;
        let held = owner.takes(&lease, "v").await?;
        let (renewal, seen) = (renewal(&held), held);
        let (renewing, taking) = (owner.clone(), taker.clone());
        let renew = async move {
            let renewed = renewing.store().renew("v", &[renewal]).await?;
            Ok::<_, StorageError>(renewed.into_iter().flatten().next())
        };
        let take = async move { taking.store().take(&seen, "w").await };
        let (renew, take) = (tokio::spawn(renew), tokio::spawn(take));
        let joined = |panic| Violation::new(format!("a task panicked: {panic}"));
        let (renewed, taken) = (renew.await.map_err(joined)??, take.await.map_err(joined)??);
        ensure!(
            renewed.is_some() != taken.is_some(),
            "exactly one call must succeed in round {round}: renewed {renewed:?}, taken {taken:?}"
        );
        ensure_eq!(Some(owner.lease(&lease.shard).await?), renewed.or(taken), "the lease in round {round}");
    }
    Ok(())
}

/// Each take gives the lease a counter that it never had before.
pub(super) async fn a_taken_lease_has_a_new_counter<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, mut lease) = on.lease("a").await?;
    let mut counters = vec![lease.counter];
    for worker in ["v", "v", "w", "v", "x"] {
        lease = leases.takes(&lease, worker).await?;
        ensure!(!counters.contains(&lease.counter), "the counter {} is one of {counters:?}", lease.counter);
        counters.push(lease.counter);
    }
    Ok(())
}

/// A claimed lease that is taken has no next owner.
pub(super) async fn a_taken_lease_has_no_next_owner<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    for worker in ["owner", "next owner", "other"] {
        let (leases, lease) = on.taken(worker, "owner").await?;
        let claimed = leases.claims(&lease, "next owner").await?;
        leases.takes(&claimed, worker).await?;
    }
    Ok(())
}

/// A taken lease keeps its checkpoint.
pub(super) async fn a_taken_lease_keeps_its_checkpoint<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    let new =
        NewLease { parents: vec!["p".into(), "q".into()], checkpoint: Checkpoint::Latest, ..new_lease("a") };
    leases.store().create(&[new]).await?;
    let mut taken = leases.takes(&leases.lease("a").await?, "v").await?;
    ensure_eq!(taken.checkpoint, Checkpoint::Latest, "the initial checkpoint");
    for (number, worker) in (1..).zip(["v", "w", "v"]) {
        let owner = taken.owner.clone().unwrap_or_default();
        let renewed = leases.renews(&owner, &renewal_with(&taken, after(number))).await?;
        taken = leases.takes(&renewed, worker).await?;
        ensure_eq!(taken.checkpoint, after(number), "the checkpoint of the lease that {worker} took");
    }
    taken.parents.sort();
    ensure_eq!(taken.parents, ["p", "q"], "the parents");
    Ok(())
}

/// A take whose answer was lost can be repeated.
pub(super) async fn a_repeated_take_returns_the_lease<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, free) = on.lease("a").await?;
    let taken = leases.takes(&free, "v").await?;
    ensure_eq!(leases.takes(&free, "v").await?, taken, "the lease that a repeated take returns");
    let claimed = leases.claims(&taken, "w").await?;
    let over = leases.takes(&claimed, "w").await?;
    ensure_eq!(leases.takes(&claimed, "w").await?, over, "the lease that a repeated take-over returns");
    leases.renews("w", &renewal(&over)).await.map(drop)
}

/// A repeated take returns `None` if another worker took the lease since, or released it.
pub(super) async fn a_repeated_take_of_a_lost_lease_returns_none<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, free) = on.lease("a").await?;
    let taken = leases.takes(&free, "v").await?;
    let over = leases.takes(&taken, "w").await?;
    leases.refuses_take(&free, "v").await?;
    leases.releases("w", &renewal(&over)).await?;
    leases.refuses_take(&taken, "w").await
}
