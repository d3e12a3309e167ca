//! Leases of shards that ended.

use eventsrc_core::lease::Checkpoint;

use super::super::report::{RuleResult, Violation, ensure_eq};
use super::backend::LeaseBackend;
use super::trial::{LeaseHandle, LeaseTrial, after, hands, moved, unmoved};

/// A shard that ended with a renewal has no owner, and the answer says so.
pub async fn a_shard_that_ended_by_renewal_has_no_owner<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let ended = leases.renews("v", &moved(&held, Checkpoint::End)).await?;
    ensure_eq!((hands(&ended), &ended.checkpoint), ((None, None), &Checkpoint::End), "what ended");
    leases.renews_not("v", &unmoved(&held)).await
}

/// A shard that ended with a release has no owner.
pub async fn a_shard_that_ended_by_release_has_no_owner<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let ended = leases.releases("v", &moved(&held, Checkpoint::End)).await?;
    ensure_eq!((hands(&ended), &ended.checkpoint), ((None, None), &Checkpoint::End), "what ended");
    leases.releases_not("v", &unmoved(&held)).await
}

/// What ended does not go to its heir.
pub async fn a_shard_that_ended_has_no_heir<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    for renews in [true, false] {
        for knows in [true, false] {
            let (leases, held) = on.taken(&format!("{renews} {knows}"), "v").await?;
            let claimed = leases.claims(&held, "w").await?;
            let end = moved(if knows { &claimed } else { &held }, Checkpoint::End);
            let ended =
                if renews { leases.renews("v", &end).await? } else { leases.releases("v", &end).await? };
            ensure_eq!((hands(&ended), &ended.checkpoint), ((None, None), &Checkpoint::End), "what ended");
        }
    }
    Ok(())
}

/// Nobody takes what ended, whenever it was seen.
pub async fn a_shard_that_ended_is_not_taken<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    for renews in [true, false] {
        let (leases, free) = on.lease(&format!("{renews}")).await?;
        let held = leases.takes(&free, "v").await?;
        ends(&leases, &moved(&held, Checkpoint::End), renews).await?;
        let ended = leases.lease(&free.shard).await?;
        for (seen, worker) in [(&ended, "v"), (&ended, "w"), (&held, "w"), (&free, "w"), (&free, "v")] {
            leases.takes_not(seen, worker).await?;
        }
    }
    Ok(())
}

/// Nobody claims what ended.
pub async fn a_shard_that_ended_is_not_claimed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    for renews in [true, false] {
        let (leases, held) = on.taken(&format!("{renews}"), "v").await?;
        ends(&leases, &moved(&held, Checkpoint::End), renews).await?;
        leases.claims_not(&leases.lease(&held.shard).await?, "w").await?;
        leases.claims_not(&held, "w").await?;
    }
    Ok(())
}

/// What ended does not begin again.
pub async fn a_shard_that_ended_has_no_other_checkpoint<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let ended = leases.renews("v", &moved(&held, Checkpoint::End)).await?;
    for seen in [&held, &ended] {
        leases.renews_not("v", &moved(seen, after(1))).await?;
        leases.releases_not("v", &moved(seen, after(1))).await?;
    }
    Ok(())
}

async fn ends<B: LeaseBackend>(
    leases: &LeaseHandle<B>,
    end: &eventsrc_core::lease::Renewal,
    renews: bool,
) -> Result<(), Violation> {
    if renews { leases.renews("v", end).await.map(drop) } else { leases.releases("v", end).await.map(drop) }
}
