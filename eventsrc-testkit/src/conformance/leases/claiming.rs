//! Claims of leases whose owner is alive.

use eventsrc_core::StorageError;
use eventsrc_core::lease::{Lease, LeaseStore};

use super::super::trial::run_concurrently;
use super::super::violation::{RuleResult, ensure, ensure_eq};
use super::backend::LeaseBackend;
use super::trial::{LeaseTrial, after, owners, renewal, renewal_with};

/// A claim sets the next owner and changes nothing else.
pub(super) async fn a_claim_sets_the_next_owner_and_changes_nothing_else<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, held) = on.taken("b", "v").await?;
    let held = leases.renews("v", &renewal_with(&held, after(1))).await?;
    let before = leases.creates("a").await?;
    let behind = leases.creates("c").await?;
    leases.claims(&held, "w").await?;
    leases.has(&[before, Lease { next_owner: Some("w".into()), ..held }, behind]).await
}

/// The owner of a claimed lease continues to renew it, and sees the claim in the renewed lease.
pub(super) async fn the_owner_of_a_claimed_lease_continues<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.claims(&held, "w").await?;
    let mut renewed = leases.renews("v", &renewal_with(&held, after(1))).await?;
    ensure_eq!(owners(&renewed), (Some("v"), Some("w")), "the owner and the next owner");
    for number in 2..5 {
        renewed = leases.renews("v", &renewal_with(&renewed, after(number))).await?;
        ensure_eq!(owners(&renewed), (Some("v"), Some("w")), "the owner and the next owner");
        ensure_eq!(renewed.checkpoint, after(number), "the checkpoint");
    }
    leases.refuses_renewal("w", &renewal(&renewed)).await
}

/// A lease can be claimed even if its owner renewed it after the observation.
pub(super) async fn a_lease_renewed_since_is_claimed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, seen) = on.taken("a", "v").await?;
    let renewed = leases.renews("v", &renewal_with(&seen, after(1))).await?;
    let claimed = leases.claims(&seen, "w").await?;
    ensure_eq!(claimed, Lease { next_owner: Some("w".into()), ..renewed }, "the claimed lease");
    Ok(())
}

/// A lease with a next owner is not claimed by another worker.
pub(super) async fn a_lease_with_a_next_owner_is_not_claimed<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, seen) = on.taken("a", "v").await?;
    let claimed = leases.claims(&seen, "w").await?;
    leases.refuses_claim(&seen, "x").await?;
    leases.refuses_claim(&claimed, "x").await
}

/// A lease whose owner changed after the observation is not claimed.
pub(super) async fn a_lease_of_another_owner_is_not_claimed<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, seen) = on.taken("a", "v").await?;
    leases.takes(&seen, "u").await?;
    leases.refuses_claim(&seen, "w").await
}

/// A free lease is not claimed, even if it had an owner at the observation.
pub(super) async fn a_free_lease_is_not_claimed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, free) = on.lease("a").await?;
    leases.refuses_claim(&free, "w").await?;
    let taken = leases.takes(&free, "v").await?;
    leases.refuses_claim(&free, "w").await?;
    leases.releases("v", &renewal(&taken)).await?;
    leases.refuses_claim(&taken, "w").await
}

/// A missing lease is not claimed.
pub(super) async fn a_missing_lease_is_not_claimed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, lease) = on.taken("a", "v").await?;
    leases.refuses_claim(&Lease { shard: "b".into(), ..lease }, "w").await
}

/// A claim whose answer was lost can be repeated.
pub(super) async fn a_repeated_claim_succeeds<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, seen) = on.taken("a", "v").await?;
    let claimed = leases.claims(&seen, "w").await?;
    ensure_eq!(leases.claims(&seen, "w").await?, claimed, "the lease after a repeated claim");
    ensure_eq!(leases.claims(&claimed, "w").await?, claimed, "the lease after a third claim");
    Ok(())
}

/// Of 16 workers that claim a lease concurrently, one is the next owner.
pub(super) async fn of_16_racing_claims_one_succeeds<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = [on.open().await, on.open().await];
    for round in 0..10 {
        let lease = leases[0].creates(&format!("round {round:02}")).await?;
        let lease = leases[0].takes(&lease, "v").await?;
        let claims = (0..16).map(|at| {
            let (leases, lease) = (leases[at % 2].clone(), lease.clone());
            async move { leases.store().claim(&lease, &format!("worker {at}")).await }
        });
        let answers = run_concurrently(claims.collect::<Vec<_>>()).await?;
        let answers: Vec<_> = answers.into_iter().collect::<Result<_, StorageError>>()?;
        let next_owners: Vec<_> =
            (0..16).filter(|at| answers[*at]).map(|at| format!("worker {at}")).collect();
        ensure!(
            next_owners.len() == 1,
            "in round {round}, the claims of these workers succeeded: {next_owners:?}"
        );
        let expected = Lease { next_owner: Some(next_owners[0].clone()), ..lease };
        ensure_eq!(leases[1].lease(&expected.shard).await?, expected, "the claimed lease");
    }
    Ok(())
}
