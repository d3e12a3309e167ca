//! Renewals that succeed, and renewals that are refused.

use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore};

use super::super::violation::{RuleResult, ensure, ensure_eq};
use super::backend::LeaseBackend;
use super::trial::{LeaseTrial, after, checkpoints, new_lease, owners, renewal, renewal_with};

/// Every renewal changes the heartbeat that other workers observe.
pub(super) async fn a_renewal_changes_the_heartbeat<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, mut held) = on.taken("a", "v").await?;
    let watcher = on.open().await;
    let mut heartbeats = vec![held.heartbeat];
    for _ in 0..5 {
        held = leases.renews("v", &renewal(&held)).await?;
        let heartbeat = watcher.lease("a").await?.heartbeat;
        ensure!(!heartbeats.contains(&heartbeat), "the heartbeat {heartbeat} is one of {heartbeats:?}");
        heartbeats.push(heartbeat);
    }
    Ok(())
}

/// A renewal changes the heartbeats of all given leases, with or without new checkpoints, and of no lease of another
/// worker.
pub(super) async fn a_renewal_changes_the_heartbeat_of_all_held_leases<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let leases = on.open().await;
    let mut held = Vec::new();
    for shard in ["a", "b", "c", "d"] {
        let lease = leases.creates(shard).await?;
        held.push(leases.takes(&lease, if shard == "c" { "w" } else { "v" }).await?);
    }
    let others = held.remove(2);
    let before = leases.leases().await?;
    let renewals = [renewal(&held[0]), renewal_with(&held[1], after(1)), renewal(&held[2])];
    leases.store().renew("v", &renewals).await?;
    for (before, now) in before.iter().zip(leases.leases().await?) {
        if now.shard == others.shard {
            ensure_eq!(now, *before, "the lease of another worker");
        } else {
            ensure!(now.heartbeat != before.heartbeat, "{} was not renewed: {now:?}", now.shard);
        }
    }
    Ok(())
}

/// A worker that renews keeps the lease, and the renewed lease has the current counter.
pub(super) async fn a_renewal_keeps_the_lease<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, mut held) = on.taken("a", "v").await?;
    for number in 1..5 {
        held = leases.renews("v", &renewal_with(&held, after(number))).await?;
        ensure_eq!(owners(&held), (Some("v"), None), "the owner and the next owner");
    }
    leases.takes(&held, "w").await.map(drop)
}

/// A renewal stores the new checkpoint exactly, of whatever kind.
pub(super) async fn a_renewal_stores_the_new_checkpoint<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, mut held) = on.taken("a", "v").await?;
    for checkpoint in checkpoints().into_iter().rev() {
        held = leases.renews("v", &renewal_with(&held, checkpoint.clone())).await?;
        ensure_eq!(held.checkpoint, checkpoint, "the checkpoint that `renew` returns");
        held = leases.renews("v", &renewal(&held)).await?;
        ensure_eq!(held.checkpoint, checkpoint, "the checkpoint after a renewal without one");
        ensure_eq!(on.open().await.lease("a").await?.checkpoint, checkpoint, "the stored checkpoint");
    }
    Ok(())
}

/// Of several renewed leases, each stores its own checkpoint. A lease without a new checkpoint keeps the old one.
pub(super) async fn each_lease_keeps_its_own_checkpoint<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    let mut held = Vec::new();
    for shard in ["a", "b", "c"] {
        let lease = leases.creates(shard).await?;
        held.push(leases.takes(&lease, "v").await?);
    }
    let renewals = [renewal_with(&held[0], after(1)), renewal(&held[1]), renewal_with(&held[2], after(3))];
    leases.store().renew("v", &renewals).await?;
    let found: Vec<_> = leases.leases().await?.into_iter().map(|lease| lease.checkpoint).collect();
    ensure_eq!(found, [after(1), Checkpoint::TrimHorizon, after(3)], "the checkpoints");
    Ok(())
}

/// Renewed leases are returned in the order of the request.
pub(super) async fn renewed_leases_are_in_the_order_of_the_request<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let leases = on.open().await;
    let mut held = Vec::new();
    for shard in ["c", "a", "e", "b", "d"] {
        let lease = leases.creates(shard).await?;
        held.push(leases.takes(&lease, "v").await?);
    }
    leases.takes(&held[2], "w").await?;
    let renewals: Vec<_> = held.iter().map(renewal).collect();
    let found = leases.store().renew("v", &renewals).await?;
    let found: Vec<_> = found.iter().map(|lease| lease.as_ref().map(|lease| &*lease.shard)).collect();
    ensure_eq!(found, [Some("c"), Some("a"), None, Some("b"), Some("d")], "the shards of the renewed leases");
    Ok(())
}

/// Any number of leases can be renewed in one call.
pub(super) async fn any_number_of_leases_are_renewed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    let shards: Vec<_> = (0..100).map(|shard| format!("{shard:03}")).collect();
    leases.store().create(&shards.iter().map(|shard| new_lease(shard)).collect::<Vec<_>>()).await?;
    let mut held = Vec::new();
    for lease in leases.leases().await? {
        held.extend(leases.store().take(&lease, "v").await?);
    }
    let renewals: Vec<_> =
        (0..).zip(&held).map(|(number, lease)| renewal_with(lease, after(number))).collect();
    let renewed = leases.store().renew("v", &renewals).await?;
    let renewed: Vec<_> = renewed.into_iter().flatten().collect();
    ensure_eq!(renewed.len(), shards.len(), "the number of renewed leases");
    leases.has(&renewed).await
}

/// A lease that another worker took over is not renewed and does not change.
pub(super) async fn a_lease_taken_over_is_returned_as_none<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let over = leases.takes(&held, "w").await?;
    leases.refuses_renewal("v", &renewal(&held)).await?;
    leases.refuses_renewal("v", &renewal_with(&held, after(1))).await?;
    leases.refuses_renewal("v", &renewal_with(&held, Checkpoint::End)).await?;
    leases.renews("w", &renewal_with(&over, after(2))).await?;
    leases.refuses_renewal("v", &renewal_with(&held, after(1))).await
}

/// A lost lease does not prevent the renewal of the others.
pub(super) async fn held_leases_are_renewed_next_to_lost_ones<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let leases = on.open().await;
    let mut held = Vec::new();
    for shard in ["a", "b", "c"] {
        let lease = leases.creates(shard).await?;
        held.push(leases.takes(&lease, "v").await?);
    }
    let lost = leases.takes(&held[1], "w").await?;
    let renewals: Vec<_> = held.iter().map(|lease| renewal_with(lease, after(1))).collect();
    let renewed = leases.store().renew("v", &renewals).await?;
    ensure_eq!(renewed[1], None, "the answer for a lost lease");
    let expected = vec![renewed[0].clone(), Some(lost), renewed[2].clone()];
    let found: Vec<_> = leases.leases().await?.into_iter().map(Some).collect();
    ensure_eq!(found, expected, "the leases");
    ensure_eq!(found[0].as_ref().map(|lease| &lease.checkpoint), Some(&after(1)), "a checkpoint");
    Ok(())
}

/// A worker that lost a lease and took it back can renew it, but not as it was before.
pub(super) async fn a_lease_taken_back_is_renewed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, before) = on.taken("a", "v").await?;
    let lost = leases.takes(&before, "w").await?;
    let taken_back = leases.takes(&lost, "v").await?;
    leases.refuses_renewal("v", &renewal_with(&before, after(1))).await?;
    leases.renews("v", &renewal_with(&taken_back, after(2))).await.map(drop)
}

/// A released lease is not renewed.
pub(super) async fn a_released_lease_is_returned_as_none<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.releases("v", &renewal(&held)).await?;
    leases.refuses_renewal("v", &renewal_with(&held, after(1))).await
}

/// A lease of another worker, or a free one, is not renewed.
pub(super) async fn a_lease_of_another_worker_is_returned_as_none<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.refuses_renewal("w", &renewal_with(&held, after(1))).await?;
    let free = leases.creates("free").await?;
    leases.refuses_renewal("w", &renewal_with(&free, after(1))).await?;
    leases.renews("v", &renewal(&held)).await.map(drop)
}

/// A missing lease is not renewed and not created.
pub(super) async fn a_missing_lease_is_returned_as_none<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let missing = Lease { shard: "b".into(), ..held.clone() };
    let renewed = leases.store().renew("v", &[renewal(&missing), renewal_with(&held, after(1))]).await?;
    ensure_eq!(renewed[0], None, "the answer for a missing lease");
    leases.has(&renewed.into_iter().flatten().collect::<Vec<_>>()).await
}

/// A worker without leases may renew any number of times, before its first lease and after the loss of the last.
pub(super) async fn a_worker_without_leases_renews<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, lease) = on.lease("a").await?;
    let renews_nothing = async || {
        let before = leases.leases().await?;
        ensure_eq!(leases.store().renew("v", &[]).await?, vec![], "the answer to a renewal of no leases");
        leases.has(&before).await
    };
    renews_nothing().await?;
    renews_nothing().await?;
    let held = leases.takes(&lease, "v").await?;
    let held = leases.renews("v", &renewal(&held)).await?;
    leases.takes(&held, "w").await?;
    renews_nothing().await
}

/// A renewal whose answer was lost can be repeated with the lease as it was before.
pub(super) async fn a_repeated_renewal_renews<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.renews("v", &renewal(&held)).await?;
    let again = leases.renews("v", &renewal(&held)).await?;
    ensure_eq!(owners(&again), (Some("v"), None), "the owner and the next owner");
    leases.renews("v", &renewal_with(&again, after(1))).await.map(drop)
}

/// A renewal with a checkpoint can be repeated.
pub(super) async fn a_repeated_renewal_keeps_its_checkpoint<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.renews("v", &renewal_with(&held, after(1))).await?;
    let again = leases.renews("v", &renewal_with(&held, after(1))).await?;
    ensure_eq!(again.checkpoint, after(1), "the checkpoint");
    leases.renews("v", &renewal(&again)).await.map(drop)
}

/// A repeated renewal may have a later checkpoint.
pub(super) async fn a_repeated_renewal_stores_a_later_checkpoint<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.renews("v", &renewal_with(&held, after(1))).await?;
    let again = leases.renews("v", &renewal_with(&held, after(2))).await?;
    ensure_eq!(again.checkpoint, after(2), "the checkpoint");
    Ok(())
}

/// A lease can be released as it was before a renewal whose answer was lost.
pub(super) async fn a_lease_is_released_after_a_lost_renewal<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.renews("v", &renewal_with(&held, after(1))).await?;
    let released = leases.releases("v", &renewal(&held)).await?;
    ensure_eq!(
        (owners(&released), released.checkpoint.clone()),
        ((None, None), after(1)),
        "the owners and the checkpoint of the released lease"
    );
    Ok(())
}

/// The end of a shard can be reported again.
pub(super) async fn a_repeated_end_is_returned<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let ended = leases.renews("v", &renewal_with(&held, Checkpoint::End)).await?;
    let again = leases.renews("v", &renewal_with(&held, Checkpoint::End)).await?;
    ensure_eq!(
        (again.checkpoint.clone(), owners(&again)),
        (Checkpoint::End, (None, None)),
        "the checkpoint and the owners of the ended shard"
    );
    ensure_eq!(again.counter, ended.counter, "the counter");
    Ok(())
}
