//! Leases of shards that have ended.

use eventsrc_core::lease::Checkpoint;

use super::super::violation::{RuleResult, Violation, ensure_eq};
use super::backend::LeaseBackend;
use super::trial::{LeaseHandle, LeaseTrial, after, owners, renewal, renewal_with};

/// A shard that is ended by a renewal has no owner, as the renewed lease shows.
pub(super) async fn a_shard_ended_by_renewal_has_no_owner<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let ended = leases.renews("v", &renewal_with(&held, Checkpoint::End)).await?;
    ensure_eq!(
        (owners(&ended), &ended.checkpoint),
        ((None, None), &Checkpoint::End),
        "the owners and the checkpoint of the ended shard"
    );
    leases.refuses_renewal("v", &renewal(&held)).await
}

/// A shard that is ended by a release has no owner.
pub(super) async fn a_shard_ended_by_release_has_no_owner<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let ended = leases.releases("v", &renewal_with(&held, Checkpoint::End)).await?;
    ensure_eq!(
        (owners(&ended), &ended.checkpoint),
        ((None, None), &Checkpoint::End),
        "the owners and the checkpoint of the ended shard"
    );
    leases.refuses_release("v", &renewal(&held)).await
}

/// An ended shard has no next owner.
pub(super) async fn an_ended_shard_has_no_next_owner<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    for renews in [true, false] {
        for knows in [true, false] {
            let (leases, held) = on.taken(&format!("{renews} {knows}"), "v").await?;
            let claimed = leases.claims(&held, "w").await?;
            let end = renewal_with(if knows { &claimed } else { &held }, Checkpoint::End);
            let ended =
                if renews { leases.renews("v", &end).await? } else { leases.releases("v", &end).await? };
            ensure_eq!(
                (owners(&ended), &ended.checkpoint),
                ((None, None), &Checkpoint::End),
                "the owners and the checkpoint of the ended shard"
            );
        }
    }
    Ok(())
}

/// An ended shard is not taken, whenever its lease was observed.
pub(super) async fn an_ended_shard_is_not_taken<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    for renews in [true, false] {
        let (leases, free) = on.lease(&format!("{renews}")).await?;
        let held = leases.takes(&free, "v").await?;
        ends(&leases, &renewal_with(&held, Checkpoint::End), renews).await?;
        let ended = leases.lease(&free.shard).await?;
        for (seen, worker) in [(&ended, "v"), (&ended, "w"), (&held, "w"), (&free, "w"), (&free, "v")] {
            leases.refuses_take(seen, worker).await?;
        }
    }
    Ok(())
}

/// An ended shard is not claimed.
pub(super) async fn an_ended_shard_is_not_claimed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    for renews in [true, false] {
        let (leases, held) = on.taken(&format!("{renews}"), "v").await?;
        ends(&leases, &renewal_with(&held, Checkpoint::End), renews).await?;
        leases.refuses_claim(&leases.lease(&held.shard).await?, "w").await?;
        leases.refuses_claim(&held, "w").await?;
    }
    Ok(())
}

/// An ended shard keeps the checkpoint `End`.
pub(super) async fn an_ended_shard_keeps_its_checkpoint<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let ended = leases.renews("v", &renewal_with(&held, Checkpoint::End)).await?;
    for seen in [&held, &ended] {
        leases.refuses_renewal("v", &renewal_with(seen, after(1))).await?;
        leases.refuses_release("v", &renewal_with(seen, after(1))).await?;
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
