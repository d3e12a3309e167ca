//! Releases and handovers.

use eventsrc_core::lease::{Checkpoint, Lease};

use super::super::violation::{RuleResult, ensure, ensure_eq};
use super::backend::LeaseBackend;
use super::trial::{LeaseTrial, after, checkpoints, owners, renewal, renewal_with};

/// A released lease has no owner, and any worker may take it.
pub(super) async fn a_released_lease_has_no_owner<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let released = leases.releases("v", &renewal(&held)).await?;
    ensure_eq!(owners(&released), (None, None), "the owner and the next owner");
    ensure!(released.counter != held.counter, "the counter did not change: {released:?}");
    leases.takes(&released, "w").await.map(drop)
}

/// A released lease goes to its next owner, which holds it from then on.
pub(super) async fn a_released_lease_goes_to_its_next_owner<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.claims(&held, "w").await?;
    let held = leases.renews("v", &renewal(&held)).await?;
    let released = leases.releases("v", &renewal_with(&held, after(1))).await?;
    ensure_eq!(owners(&released), (Some("w"), None), "the owner and the next owner");
    ensure!(released.counter != held.counter, "the counter did not change: {released:?}");
    leases.refuses_renewal("v", &renewal(&held)).await?;
    let renewed = leases.renews("w", &renewal(&released)).await?;
    ensure_eq!(renewed.checkpoint, after(1), "the checkpoint that the next owner gets");
    Ok(())
}

/// A release honours a claim that the owner has not seen yet.
pub(super) async fn a_lease_with_an_unseen_claim_goes_to_its_next_owner<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.claims(&held, "w").await?;
    let released = leases.releases("v", &renewal_with(&held, after(1))).await?;
    ensure_eq!(owners(&released), (Some("w"), None), "the owner and the next owner");
    ensure_eq!(released.checkpoint, after(1), "the checkpoint");
    leases.renews("w", &renewal(&released)).await.map(drop)
}

/// The old owner may claim a lease back from the new one, so the owner can change any number of times.
pub(super) async fn a_lease_changes_owners_any_number_of_times<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, mut held) = on.taken("a", "v").await?;
    for (number, [owner, next_owner]) in (1..).zip([["v", "w"], ["w", "v"], ["v", "x"], ["x", "v"]]) {
        let claimed = leases.claims(&held, next_owner).await?;
        let renewed = leases.renews(owner, &renewal_with(&claimed, after(number))).await?;
        held = leases.releases(owner, &renewal(&renewed)).await?;
        ensure_eq!(
            (owners(&held), &held.checkpoint),
            ((Some(next_owner), None), &after(number)),
            "the owners and the checkpoint after the handover"
        );
    }
    Ok(())
}

/// A release stores the new checkpoint exactly, of whatever kind.
pub(super) async fn a_release_stores_the_new_checkpoint<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, mut lease) = on.lease("a").await?;
    for checkpoint in checkpoints().into_iter().rev() {
        let held = leases.takes(&lease, "v").await?;
        lease = leases.releases("v", &renewal_with(&held, checkpoint.clone())).await?;
        ensure_eq!(lease.checkpoint, checkpoint, "the checkpoint");
    }
    Ok(())
}

/// A release without a checkpoint keeps the stored one.
pub(super) async fn a_release_without_a_checkpoint_keeps_the_old_one<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let held = leases.renews("v", &renewal_with(&held, after(1))).await?;
    let released = leases.releases("v", &renewal(&held)).await?;
    ensure_eq!(released.checkpoint, after(1), "the checkpoint");
    Ok(())
}

/// A release changes no other lease.
pub(super) async fn a_release_changes_no_other_lease<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("b", "v").await?;
    let first = leases.creates("a").await?;
    let first = leases.takes(&first, "v").await?;
    let last = leases.creates("c").await?;
    let released = leases.releases("v", &renewal(&held)).await?;
    leases.has(&[first, released, last]).await
}

/// A lease that another worker took over is not released, and its checkpoint does not change.
pub(super) async fn a_lease_taken_over_is_not_released<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let over = leases.takes(&held, "w").await?;
    leases.refuses_release("v", &renewal_with(&held, after(1))).await?;
    leases.refuses_release("v", &renewal_with(&held, Checkpoint::End)).await?;
    leases.takes(&over, "v").await?;
    leases.refuses_release("v", &renewal_with(&held, after(1))).await
}

/// A released lease is not released again.
pub(super) async fn a_lease_is_released_once<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.releases("v", &renewal(&held)).await?;
    leases.refuses_release("v", &renewal_with(&held, after(1))).await
}

/// Only its owner releases a lease.
pub(super) async fn a_lease_of_another_worker_is_not_released<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.refuses_release("w", &renewal(&held)).await?;
    let claimed = leases.claims(&held, "w").await?;
    leases.refuses_release("w", &renewal(&claimed)).await?;
    leases.refuses_release("v", &renewal(&Lease { shard: "b".into(), ..held })).await
}
