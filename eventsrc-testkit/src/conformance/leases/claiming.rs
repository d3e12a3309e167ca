//! Leases that somebody asks for whose owner lives.

use eventsrc_core::StorageError;
use eventsrc_core::lease::{Lease, LeaseStore};

use super::super::report::{RuleResult, ensure, ensure_eq};
use super::super::trial::together;
use super::backend::LeaseBackend;
use super::trial::{LeaseTrial, after, hands, moved, unmoved};

/// Who claims a lease becomes its heir, and nothing else changes.
pub async fn a_claim_names_the_heir_and_changes_nothing_else<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, held) = on.taken("b", "v").await?;
    let held = leases.renews("v", &moved(&held, after(1))).await?;
    let before = leases.creates("a").await?;
    let behind = leases.creates("c").await?;
    leases.claims(&held, "w").await?;
    leases.has(&[before, Lease { next_owner: Some("w".into()), ..held }, behind]).await
}

/// The owner of a claimed lease goes on as before, and sees the claim when it renews.
pub async fn the_owner_of_a_claimed_lease_goes_on<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.claims(&held, "w").await?;
    let mut renewed = leases.renews("v", &moved(&held, after(1))).await?;
    ensure_eq!(hands(&renewed), (Some("v"), Some("w")), "who has it, and who is to");
    for number in 2..5 {
        renewed = leases.renews("v", &moved(&renewed, after(number))).await?;
        ensure_eq!(hands(&renewed), (Some("v"), Some("w")), "who has it, and who is to");
        ensure_eq!(renewed.checkpoint, after(number), "its checkpoint");
    }
    leases.renews_not("w", &unmoved(&renewed)).await
}

/// A lease can be claimed although its owner renewed it since it was seen.
pub async fn a_lease_that_was_renewed_is_claimed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, seen) = on.taken("a", "v").await?;
    let renewed = leases.renews("v", &moved(&seen, after(1))).await?;
    let claimed = leases.claims(&seen, "w").await?;
    ensure_eq!(claimed, Lease { next_owner: Some("w".into()), ..renewed }, "what was claimed");
    Ok(())
}

/// A lease that has an heir is not claimed by another one.
pub async fn a_lease_that_has_an_heir_is_not_claimed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, seen) = on.taken("a", "v").await?;
    let claimed = leases.claims(&seen, "w").await?;
    leases.claims_not(&seen, "x").await?;
    leases.claims_not(&claimed, "x").await
}

/// A lease whose owner is another one by now is not claimed.
pub async fn a_lease_of_another_owner_is_not_claimed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, seen) = on.taken("a", "v").await?;
    leases.takes(&seen, "u").await?;
    leases.claims_not(&seen, "w").await
}

/// A lease that nobody has is not claimed, whoever had it when it was seen.
pub async fn a_lease_that_nobody_has_is_not_claimed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, free) = on.lease("a").await?;
    leases.claims_not(&free, "w").await?;
    let taken = leases.takes(&free, "v").await?;
    leases.claims_not(&free, "w").await?;
    leases.releases("v", &unmoved(&taken)).await?;
    leases.claims_not(&taken, "w").await
}

/// A lease that is not there is not claimed.
pub async fn a_lease_that_is_not_there_is_not_claimed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, lease) = on.taken("a", "v").await?;
    leases.claims_not(&Lease { shard: "b".into(), ..lease }, "w").await
}

/// A claim whose answer was lost can be made again.
pub async fn a_claim_made_again_stands<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, seen) = on.taken("a", "v").await?;
    let claimed = leases.claims(&seen, "w").await?;
    ensure_eq!(leases.claims(&seen, "w").await?, claimed, "what is claimed again");
    ensure_eq!(leases.claims(&claimed, "w").await?, claimed, "what is claimed once more");
    Ok(())
}

/// Of 16 workers that claim a lease at once, one is its heir.
pub async fn of_16_claimers_one_is_heir<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = [on.open().await, on.open().await];
    for round in 0..10 {
        let lease = leases[0].creates(&format!("round {round:02}")).await?;
        let lease = leases[0].takes(&lease, "v").await?;
        let claims = (0..16).map(|at| {
            let (leases, lease) = (leases[at % 2].clone(), lease.clone());
            async move { leases.store().claim(&lease, &format!("worker {at}")).await }
        });
        let answers = together(claims.collect::<Vec<_>>()).await?;
        let answers: Vec<_> = answers.into_iter().collect::<Result<_, StorageError>>()?;
        let heirs: Vec<_> = (0..16).filter(|at| answers[*at]).map(|at| format!("worker {at}")).collect();
        ensure!(heirs.len() == 1, "in round {round} these claimed it: {heirs:?}");
        let expected = Lease { next_owner: Some(heirs[0].clone()), ..lease };
        ensure_eq!(leases[1].lease(&expected.shard).await?, expected, "what was claimed");
    }
    Ok(())
}
