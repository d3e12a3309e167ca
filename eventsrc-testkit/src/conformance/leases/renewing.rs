//! Leases that are renewed, and those that cannot be any more.

use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore};

use super::super::report::{RuleResult, ensure, ensure_eq};
use super::backend::LeaseBackend;
use super::trial::{LeaseTrial, after, checkpoints, hands, moved, new_lease, unmoved};

/// Whoever looks sees another pulse after each renewal.
pub async fn a_renewal_moves_the_pulse<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, mut held) = on.taken("a", "v").await?;
    let watcher = on.open().await;
    let mut pulses = vec![held.heartbeat];
    for _ in 0..5 {
        held = leases.renews("v", &unmoved(&held)).await?;
        let heartbeat = watcher.lease("a").await?.heartbeat;
        ensure!(!pulses.contains(&heartbeat), "the pulse {heartbeat} is none of {pulses:?}");
        pulses.push(heartbeat);
    }
    Ok(())
}

/// All leases of a worker are renewed at once, whether or not they have new checkpoints, and those of others are not.
pub async fn a_renewal_moves_the_pulse_of_all_that_are_held<B: LeaseBackend>(
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
    let renewals = [unmoved(&held[0]), moved(&held[1], after(1)), unmoved(&held[2])];
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

/// A worker that renews goes on to own the lease, and its counter is as it is given.
pub async fn a_renewal_keeps_the_lease<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, mut held) = on.taken("a", "v").await?;
    for number in 1..5 {
        held = leases.renews("v", &moved(&held, after(number))).await?;
        ensure_eq!(hands(&held), (Some("v"), None), "who has it");
    }
    leases.takes(&held, "w").await.map(drop)
}

/// A checkpoint is kept as it is, of whatever kind.
pub async fn a_renewal_keeps_the_new_checkpoint<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, mut held) = on.taken("a", "v").await?;
    for checkpoint in checkpoints().into_iter().rev() {
        held = leases.renews("v", &moved(&held, checkpoint.clone())).await?;
        ensure_eq!(held.checkpoint, checkpoint, "the checkpoint that is given");
        held = leases.renews("v", &unmoved(&held)).await?;
        ensure_eq!(held.checkpoint, checkpoint, "the checkpoint after a renewal without one");
        ensure_eq!(on.open().await.lease("a").await?.checkpoint, checkpoint, "the checkpoint that is there");
    }
    Ok(())
}

/// Of several leases each keeps its own checkpoint, and those without a new one their old.
pub async fn each_lease_keeps_its_own_checkpoint<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    let mut held = Vec::new();
    for shard in ["a", "b", "c"] {
        let lease = leases.creates(shard).await?;
        held.push(leases.takes(&lease, "v").await?);
    }
    let renewals = [moved(&held[0], after(1)), unmoved(&held[1]), moved(&held[2], after(3))];
    leases.store().renew("v", &renewals).await?;
    let found: Vec<_> = leases.leases().await?.into_iter().map(|lease| lease.checkpoint).collect();
    ensure_eq!(found, [after(1), Checkpoint::TrimHorizon, after(3)], "the checkpoints");
    Ok(())
}

/// The leases come back in the order in which they were asked for, whatever the order of their shards.
pub async fn renewed_leases_are_in_the_order_asked_for<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    let mut held = Vec::new();
    for shard in ["c", "a", "e", "b", "d"] {
        let lease = leases.creates(shard).await?;
        held.push(leases.takes(&lease, "v").await?);
    }
    leases.takes(&held[2], "w").await?;
    let renewals: Vec<_> = held.iter().map(unmoved).collect();
    let found = leases.store().renew("v", &renewals).await?;
    let found: Vec<_> = found.iter().map(|lease| lease.as_ref().map(|lease| &*lease.shard)).collect();
    ensure_eq!(found, [Some("c"), Some("a"), None, Some("b"), Some("d")], "the shards of what was renewed");
    Ok(())
}

/// Any number of leases are renewed at once.
pub async fn any_number_of_leases_are_renewed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    let shards: Vec<_> = (0..100).map(|shard| format!("{shard:03}")).collect();
    leases.store().create(&shards.iter().map(|shard| new_lease(shard)).collect::<Vec<_>>()).await?;
    let mut held = Vec::new();
    for lease in leases.leases().await? {
        held.extend(leases.store().take(&lease, "v").await?);
    }
    let renewals: Vec<_> = (0..).zip(&held).map(|(number, lease)| moved(lease, after(number))).collect();
    let renewed = leases.store().renew("v", &renewals).await?;
    let renewed: Vec<_> = renewed.into_iter().flatten().collect();
    ensure_eq!(renewed.len(), shards.len(), "the number of leases that were renewed");
    leases.has(&renewed).await
}

/// A lease that somebody else took over is not renewed, and stays as it is.
pub async fn a_lease_that_was_taken_over_is_given_as_none<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let over = leases.takes(&held, "w").await?;
    leases.renews_not("v", &unmoved(&held)).await?;
    leases.renews_not("v", &moved(&held, after(1))).await?;
    leases.renews_not("v", &moved(&held, Checkpoint::End)).await?;
    leases.renews("w", &moved(&over, after(2))).await?;
    leases.renews_not("v", &moved(&held, after(1))).await
}

/// A lease that was lost does not hold up the others.
pub async fn what_is_held_is_renewed_beside_what_was_lost<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    let mut held = Vec::new();
    for shard in ["a", "b", "c"] {
        let lease = leases.creates(shard).await?;
        held.push(leases.takes(&lease, "v").await?);
    }
    let lost = leases.takes(&held[1], "w").await?;
    let renewals: Vec<_> = held.iter().map(|lease| moved(lease, after(1))).collect();
    let renewed = leases.store().renew("v", &renewals).await?;
    ensure_eq!(renewed[1], None, "what is given for a lease that was lost");
    let expected = vec![renewed[0].clone(), Some(lost), renewed[2].clone()];
    let found: Vec<_> = leases.leases().await?.into_iter().map(Some).collect();
    ensure_eq!(found, expected, "the leases");
    ensure_eq!(found[0].as_ref().map(|lease| &lease.checkpoint), Some(&after(1)), "a checkpoint");
    Ok(())
}

/// A lease that was lost and won back is held anew: who still knows it from before does not hold it.
pub async fn a_lease_that_was_won_back_is_held_anew<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, before) = on.taken("a", "v").await?;
    let lost = leases.takes(&before, "w").await?;
    let anew = leases.takes(&lost, "v").await?;
    leases.renews_not("v", &moved(&before, after(1))).await?;
    leases.renews("v", &moved(&anew, after(2))).await.map(drop)
}

/// A lease that was given up is not renewed.
pub async fn a_lease_that_was_released_is_given_as_none<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.releases("v", &unmoved(&held)).await?;
    leases.renews_not("v", &moved(&held, after(1))).await
}

/// A lease is renewed by its owner alone, whoever knows it.
pub async fn a_lease_of_another_worker_is_given_as_none<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.renews_not("w", &moved(&held, after(1))).await?;
    let free = leases.creates("free").await?;
    leases.renews_not("w", &moved(&free, after(1))).await?;
    leases.renews("v", &unmoved(&held)).await.map(drop)
}

/// A lease that is not there is not renewed, and not made.
pub async fn a_lease_that_is_not_there_is_given_as_none<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let missing = Lease { shard: "b".into(), ..held.clone() };
    let renewed = leases.store().renew("v", &[unmoved(&missing), moved(&held, after(1))]).await?;
    ensure_eq!(renewed[0], None, "what is given for a lease that is not there");
    leases.has(&renewed.into_iter().flatten().collect::<Vec<_>>()).await
}

/// A worker that holds nothing may renew, any number of times, before it takes a lease and after it lost all.
pub async fn a_worker_that_holds_nothing_renews<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, lease) = on.lease("a").await?;
    let renews_nothing = async || {
        let before = leases.leases().await?;
        ensure_eq!(leases.store().renew("v", &[]).await?, vec![], "what is renewed of nothing");
        leases.has(&before).await
    };
    renews_nothing().await?;
    renews_nothing().await?;
    let held = leases.takes(&lease, "v").await?;
    let held = leases.renews("v", &unmoved(&held)).await?;
    leases.takes(&held, "w").await?;
    renews_nothing().await
}

/// A renewal whose answer was lost, so that the lease is known as it was before, can be made again.
pub async fn a_renewal_made_again_renews<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.renews("v", &unmoved(&held)).await?;
    let again = leases.renews("v", &unmoved(&held)).await?;
    ensure_eq!(hands(&again), (Some("v"), None), "who has it");
    leases.renews("v", &moved(&again, after(1))).await.map(drop)
}

/// So can one with a checkpoint.
pub async fn a_renewal_made_again_keeps_its_checkpoint<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.renews("v", &moved(&held, after(1))).await?;
    let again = leases.renews("v", &moved(&held, after(1))).await?;
    ensure_eq!(again.checkpoint, after(1), "the checkpoint");
    leases.renews("v", &unmoved(&again)).await.map(drop)
}

/// A worker that went on since may bring a later checkpoint when it renews again.
pub async fn a_renewal_made_again_brings_a_later_checkpoint<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.renews("v", &moved(&held, after(1))).await?;
    let again = leases.renews("v", &moved(&held, after(2))).await?;
    ensure_eq!(again.checkpoint, after(2), "the checkpoint");
    Ok(())
}

/// A lease whose renewal was lost can be given up as it was known before.
pub async fn after_a_lost_renewal_a_lease_is_released<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    leases.renews("v", &moved(&held, after(1))).await?;
    let released = leases.releases("v", &unmoved(&held)).await?;
    ensure_eq!(
        (hands(&released), released.checkpoint.clone()),
        ((None, None), after(1)),
        "what was given up"
    );
    Ok(())
}

/// The end of a shard can be said again.
pub async fn an_end_made_again_is_given<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, held) = on.taken("a", "v").await?;
    let ended = leases.renews("v", &moved(&held, Checkpoint::End)).await?;
    let again = leases.renews("v", &moved(&held, Checkpoint::End)).await?;
    ensure_eq!((again.checkpoint.clone(), hands(&again)), (Checkpoint::End, (None, None)), "what ended");
    ensure_eq!(again.counter, ended.counter, "its counter");
    Ok(())
}
