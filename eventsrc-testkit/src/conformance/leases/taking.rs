//! Leases that are taken, and those that are not.

use eventsrc_core::StorageError;
use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore, NewLease};

use super::super::report::{RuleResult, Violation, ensure, ensure_eq};
use super::super::trial::together;
use super::backend::LeaseBackend;
use super::trial::{LeaseHandle, LeaseTrial, after, moved, new_lease, unmoved};

/// A lease that nobody has is taken by who asks.
pub async fn a_lease_that_nobody_has_is_taken<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, lease) = on.lease("a").await?;
    let other = leases.creates("b").await?;
    let taken = leases.takes(&lease, "w").await?;
    leases.has(&[taken, other]).await
}

/// A lease that somebody has is taken over by who asks: whether the owner lives is not for the store to say.
pub async fn a_lease_that_somebody_has_is_taken_over<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, mut lease) = on.lease("a").await?;
    for worker in ["v", "w", "x", "v"] {
        lease = leases.takes(&lease, worker).await?;
    }
    Ok(())
}

/// A lease that was seen by `leases` is taken, and so is one that was given by `renew`.
pub async fn a_lease_is_taken_as_it_was_seen_last<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, lease) = on.taken("a", "v").await?;
    let renewed = leases.renews("v", &moved(&lease, after(1))).await?;
    let seen = on.open().await.lease("a").await?;
    ensure_eq!(seen, renewed, "what is seen of what was renewed");
    leases.takes(&seen, "w").await.map(drop)
}

/// A worker may take what it owns.
pub async fn a_worker_takes_its_own_lease_again<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, first) = on.taken("a", "w").await?;
    let second = leases.takes(&first, "w").await?;
    ensure!(second.counter != first.counter, "it has another counter: {second:?}");
    Ok(())
}

/// A lease that is not there is not taken.
pub async fn a_lease_that_is_not_there_is_not_taken<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, lease) = on.lease("a").await?;
    leases.takes_not(&Lease { shard: "b".into(), ..lease }, "w").await
}

/// Of 16 workers that take the same lease at once, one does.
pub async fn of_16_takers_one_takes<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    for round in 0..10 {
        let lease = leases.creates(&format!("round {round:02}")).await?;
        one_takes(&vec![leases.clone(); 16], &lease).await?;
    }
    Ok(())
}

/// Of 16 workers that take over the same lease at once, through handles of their own, one does.
pub async fn of_16_takers_through_handles_of_their_own_one_takes<B: LeaseBackend>(
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

/// Takes by a worker of its own through each handle; what the one who took it was given.
async fn one_takes<B: LeaseBackend>(handles: &[LeaseHandle<B>], lease: &Lease) -> Result<Lease, Violation> {
    let takes = handles.iter().cloned().enumerate().map(|(at, leases)| {
        let lease = lease.clone();
        async move { leases.store().take(&lease, &format!("worker {at}")).await }
    });
    let answers = together(takes.collect::<Vec<_>>()).await?;
    let taken: Vec<_> = answers.into_iter().collect::<Result<Vec<_>, StorageError>>()?;
    let mut taken: Vec<_> = taken.into_iter().flatten().collect();
    ensure_eq!(taken.len(), 1, "the number of those who took {lease:?}");
    ensure_eq!(handles[0].lease(&lease.shard).await?, taken[0], "what is there of what was taken");
    Ok(taken.remove(0))
}

/// A lease that somebody else took is not taken any more by who saw it before.
pub async fn a_lease_that_was_taken_is_not_taken<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, seen) = on.lease("a").await?;
    leases.takes(&seen, "v").await?;
    leases.takes_not(&seen, "w").await
}

/// Nor if it came back to the owner that it had.
pub async fn a_lease_that_came_back_to_its_owner_is_not_taken<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, seen) = on.taken("a", "u").await?;
    let taken = leases.takes(&seen, "v").await?;
    leases.takes(&taken, "u").await?;
    leases.takes_not(&seen, "w").await
}

/// A lease that was claimed is not taken any more by who saw it before, not even by the heir.
pub async fn a_lease_that_was_claimed_is_not_taken<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, seen) = on.taken("a", "v").await?;
    let claimed = leases.claims(&seen, "x").await?;
    leases.takes_not(&seen, "w").await?;
    leases.takes_not(&seen, "x").await?;
    leases.takes(&claimed, "x").await.map(drop)
}

/// A lease that was renewed is not taken any more by who saw it before.
pub async fn a_lease_that_was_renewed_is_not_taken<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, seen) = on.taken("a", "v").await?;
    let renewed = leases.renews("v", &unmoved(&seen)).await?;
    leases.takes_not(&seen, "w").await?;
    leases.renews("v", &moved(&renewed, after(1))).await?;
    leases.takes_not(&renewed, "w").await
}

/// Nor one that was renewed with others.
pub async fn leases_that_were_renewed_together_are_not_taken<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let leases = on.open().await;
    let mut held = Vec::new();
    for shard in ["a", "b", "c"] {
        let lease = leases.creates(shard).await?;
        held.push(leases.takes(&lease, "v").await?);
    }
    let seen = leases.leases().await?;
    leases.store().renew("v", &held.iter().map(unmoved).collect::<Vec<_>>()).await?;
    for lease in &seen {
        leases.takes_not(lease, "w").await?;
    }
    Ok(())
}

/// A lease that was given up is not taken any more by who saw it before.
pub async fn a_lease_that_was_released_is_not_taken<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, seen) = on.taken("a", "v").await?;
    let released = leases.releases("v", &unmoved(&seen)).await?;
    leases.takes_not(&seen, "w").await?;
    leases.takes(&released, "w").await.map(drop)
}

/// Nor one that was free when it was seen, and free again since.
pub async fn a_lease_that_is_free_again_is_not_taken<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, seen) = on.lease("a").await?;
    let taken = leases.takes(&seen, "v").await?;
    leases.releases("v", &unmoved(&taken)).await?;
    leases.takes_not(&seen, "w").await
}

/// Of an owner that renews and a worker that takes over, at once, one has its way.
pub async fn of_a_renewal_and_a_take_at_once_one_comes_true<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (owner, taker) = (on.open().await, on.open().await);
    for round in 0..30 {
        let lease = owner.creates(&format!("round {round:02}")).await?;
        let held = owner.takes(&lease, "v").await?;
        let (renewal, seen) = (unmoved(&held), held);
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
            "one of both in round {round}: renewed {renewed:?}, taken {taken:?}"
        );
        ensure_eq!(Some(owner.lease(&lease.shard).await?), renewed.or(taken), "the lease in round {round}");
    }
    Ok(())
}

/// Whenever a lease is taken, its counter is one that it never had.
pub async fn what_is_taken_has_another_counter<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, mut lease) = on.lease("a").await?;
    let mut counters = vec![lease.counter];
    for worker in ["v", "v", "w", "v", "x"] {
        lease = leases.takes(&lease, worker).await?;
        ensure!(!counters.contains(&lease.counter), "{} is not one of {counters:?}", lease.counter);
        counters.push(lease.counter);
    }
    Ok(())
}

/// Who takes a lease that was claimed owns it, and nobody is its heir.
pub async fn what_is_taken_has_no_heir<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    for worker in ["owner", "heir", "other"] {
        let (leases, lease) = on.taken(worker, "owner").await?;
        let claimed = leases.claims(&lease, "heir").await?;
        leases.takes(&claimed, worker).await?;
    }
    Ok(())
}

/// Who takes a lease goes on from its checkpoint.
pub async fn what_is_taken_keeps_its_checkpoint<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    let new =
        NewLease { parents: vec!["p".into(), "q".into()], checkpoint: Checkpoint::Latest, ..new_lease("a") };
    leases.store().create(&[new]).await?;
    let mut taken = leases.takes(&leases.lease("a").await?, "v").await?;
    ensure_eq!(taken.checkpoint, Checkpoint::Latest, "the checkpoint that it had from the beginning");
    for (number, worker) in (1..).zip(["v", "w", "v"]) {
        let owner = taken.owner.clone().unwrap_or_default();
        let renewed = leases.renews(&owner, &moved(&taken, after(number))).await?;
        taken = leases.takes(&renewed, worker).await?;
        ensure_eq!(taken.checkpoint, after(number), "the checkpoint of what {worker} took");
    }
    taken.parents.sort();
    ensure_eq!(taken.parents, ["p", "q"], "its parents");
    Ok(())
}

/// A take whose answer was lost can be made again.
pub async fn a_take_made_again_gives_the_lease<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, free) = on.lease("a").await?;
    let taken = leases.takes(&free, "v").await?;
    ensure_eq!(leases.takes(&free, "v").await?, taken, "what is taken again");
    let claimed = leases.claims(&taken, "w").await?;
    let over = leases.takes(&claimed, "w").await?;
    ensure_eq!(leases.takes(&claimed, "w").await?, over, "what is taken over again");
    leases.renews("w", &unmoved(&over)).await.map(drop)
}

/// It gives nothing if somebody else has the lease by now, or nobody.
pub async fn a_take_made_again_gives_nothing_that_is_lost<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, free) = on.lease("a").await?;
    let taken = leases.takes(&free, "v").await?;
    let over = leases.takes(&taken, "w").await?;
    leases.takes_not(&free, "v").await?;
    leases.releases("w", &unmoved(&over)).await?;
    leases.takes_not(&taken, "w").await
}
