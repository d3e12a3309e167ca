//! Leases that are given up, or handed over.

use eventsrc_core::lease::{Checkpoint, Lease};

use super::super::report::{RuleResult, ensure, ensure_eq};
use super::backend::LeaseBackend;
use super::trial::{LeaseTrial, after, checkpoints, hands, moved, unmoved};

/// Nobody has what was given up, and anybody may take it.
pub async fn a_released_lease_has_no_owner<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let released = leases.releases("v", &unmoved(&held)).await?;
    ensure_eq!(hands(&released), (None, None), "who has it");
    ensure!(released.counter != held.counter, "it changed hands: {released:?}");
    leases.takes(&released, "w").await.map(drop)
}

/// What was claimed goes to its heir, who holds it from then on.
pub async fn a_released_lease_goes_to_its_heir<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.claims(&held, "w").await?;
    let held = leases.renews("v", &unmoved(&held)).await?;
    let released = leases.releases("v", &moved(&held, after(1))).await?;
    ensure_eq!(hands(&released), (Some("w"), None), "who has it");
    ensure!(released.counter != held.counter, "it changed hands: {released:?}");
    leases.renews_not("v", &unmoved(&held)).await?;
    let renewed = leases.renews("w", &unmoved(&released)).await?;
    ensure_eq!(renewed.checkpoint, after(1), "the checkpoint that the heir begins after");
    Ok(())
}

/// A claim that the owner has not seen yet counts as well.
pub async fn a_lease_released_unknowingly_goes_to_its_heir<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.claims(&held, "w").await?;
    let released = leases.releases("v", &moved(&held, after(1))).await?;
    ensure_eq!(hands(&released), (Some("w"), None), "who has it");
    ensure_eq!(released.checkpoint, after(1), "its checkpoint");
    leases.renews("w", &unmoved(&released)).await.map(drop)
}

/// An heir may claim again what somebody else claimed from it, and so on: hands change as often as they like.
pub async fn a_lease_changes_hands_any_number_of_times<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, mut held) = on.taken("a", "v").await?;
    for (number, [owner, next_owner]) in (1..).zip([["v", "w"], ["w", "v"], ["v", "x"], ["x", "v"]]) {
        let claimed = leases.claims(&held, next_owner).await?;
        let renewed = leases.renews(owner, &moved(&claimed, after(number))).await?;
        held = leases.releases(owner, &unmoved(&renewed)).await?;
        ensure_eq!(
            (hands(&held), &held.checkpoint),
            ((Some(next_owner), None), &after(number)),
            "what was handed over"
        );
    }
    Ok(())
}

/// A release keeps the checkpoint that it brings, of whatever kind.
pub async fn a_release_keeps_the_new_checkpoint<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, mut lease) = on.lease("a").await?;
    for checkpoint in checkpoints().into_iter().rev() {
        let held = leases.takes(&lease, "v").await?;
        lease = leases.releases("v", &moved(&held, checkpoint.clone())).await?;
        ensure_eq!(lease.checkpoint, checkpoint, "the checkpoint");
    }
    Ok(())
}

/// A release that brings no checkpoint leaves the one that is there.
pub async fn a_release_without_a_checkpoint_keeps_the_old_one<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let held = leases.renews("v", &moved(&held, after(1))).await?;
    let released = leases.releases("v", &unmoved(&held)).await?;
    ensure_eq!(released.checkpoint, after(1), "the checkpoint");
    Ok(())
}

/// Others stay as they are.
pub async fn a_release_changes_no_other_lease<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("b", "v").await?;
    let first = leases.creates("a").await?;
    let first = leases.takes(&first, "v").await?;
    let last = leases.creates("c").await?;
    let released = leases.releases("v", &unmoved(&held)).await?;
    leases.has(&[first, released, last]).await
}

/// What somebody else took over cannot be given up, nor its checkpoint moved.
pub async fn a_lease_that_was_taken_over_is_not_released<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let over = leases.takes(&held, "w").await?;
    leases.releases_not("v", &moved(&held, after(1))).await?;
    leases.releases_not("v", &moved(&held, Checkpoint::End)).await?;
    leases.takes(&over, "v").await?;
    leases.releases_not("v", &moved(&held, after(1))).await
}

/// What was given up cannot be given up again.
pub async fn a_lease_is_released_once<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.releases("v", &unmoved(&held)).await?;
    leases.releases_not("v", &moved(&held, after(1))).await
}

/// A lease is given up by its owner alone.
pub async fn a_lease_of_another_worker_is_not_released<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.releases_not("w", &unmoved(&held)).await?;
    let claimed = leases.claims(&held, "w").await?;
    leases.releases_not("w", &unmoved(&claimed)).await?;
    leases.releases_not("v", &unmoved(&Lease { shard: "b".into(), ..held })).await
}
