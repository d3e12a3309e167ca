//! Visibility of changes to leases.

use eventsrc_core::lease::{Checkpoint, LeaseStore};

use super::super::trial::run_concurrently;
use super::super::violation::{RuleResult, ensure_eq};
use super::backend::LeaseBackend;
use super::trial::{LeaseTrial, after, new_lease, owners, renewal, renewal_with};

/// Every change by one worker is visible at once through a handle that another worker opened before.
pub(super) async fn a_change_is_visible_through_an_earlier_handle<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (worker, watcher) = (on.open().await, on.open().await);
    watcher.has(&[]).await?;
    let free = worker.creates("a").await?;
    watcher.has(std::slice::from_ref(&free)).await?;
    let held = worker.takes(&free, "v").await?;
    watcher.has(std::slice::from_ref(&held)).await?;
    let claimed = worker.claims(&held, "w").await?;
    watcher.has(&[claimed]).await?;
    let renewed = worker.renews("v", &renewal_with(&held, after(1))).await?;
    watcher.has(std::slice::from_ref(&renewed)).await?;
    let released = worker.releases("v", &renewal(&renewed)).await?;
    watcher.has(std::slice::from_ref(&released)).await?;
    let ended = worker.renews("w", &renewal_with(&released, Checkpoint::End)).await?;
    watcher.has(&[ended]).await?;
    worker.store().remove(&["a".into()]).await?;
    watcher.has(&[]).await
}

/// A change is visible after the handle that made it was dropped.
pub(super) async fn a_change_outlives_its_handle<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let free = on.open().await.creates("a").await?;
    let held = on.open().await.takes(&free, "v").await?;
    on.open().await.claims(&held, "w").await?;
    let renewed = on.open().await.renews("v", &renewal_with(&held, after(1))).await?;
    ensure_eq!(owners(&renewed), (Some("v"), Some("w")), "the owner and the next owner");
    let released = on.open().await.releases("v", &renewal(&renewed)).await?;
    on.open().await.has(&[released]).await
}

/// Two workers with separate handles hand a lease over to each other repeatedly.
pub(super) async fn two_processes_hand_leases_over_repeatedly<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (v, w) = (on.open().await, on.open().await);
    let mut held = v.creates("a").await?;
    held = v.takes(&held, "v").await?;
    for number in 1..4 {
        w.claims(&w.lease("a").await?, "w").await?;
        held = v.renews("v", &renewal_with(&held, after(2 * number))).await?;
        ensure_eq!(held.next_owner.as_deref(), Some("w"), "the next owner in the renewed lease");
        v.releases("v", &renewal(&held)).await?;
        let own = w.renews("w", &renewal(&w.lease("a").await?)).await?;
        ensure_eq!(own.checkpoint, after(2 * number), "the checkpoint after the handover");
        v.claims(&v.lease("a").await?, "v").await?;
        w.releases("w", &renewal_with(&own, after(2 * number + 1))).await?;
        held = v.lease("a").await?;
        ensure_eq!(
            (owners(&held), &held.checkpoint),
            ((Some("v"), None), &after(2 * number + 1)),
            "the owners and the checkpoint of the returned lease"
        );
    }
    Ok(())
}

/// Concurrent workers each hold the leases that they took, and advance the checkpoints without losing a lease.
pub(super) async fn concurrent_workers_renew_their_own_leases<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let leases = on.open().await;
    let shards: Vec<_> = (0..12).map(|shard| format!("{shard:02}")).collect();
    leases.store().create(&shards.iter().map(|shard| new_lease(shard)).collect::<Vec<_>>()).await?;
    let mut workers = Vec::new();
    for (at, own) in shards.chunks(3).enumerate() {
        let (leases, own, name) = (on.open().await, own.to_vec(), format!("worker {at}"));
        workers.push(async move {
            let mut held = Vec::new();
            for shard in &own {
                held.push(leases.takes(&leases.lease(shard).await?, &name).await?);
            }
            for number in 1..=10 {
                let renewals: Vec<_> = held.iter().map(|lease| renewal_with(lease, after(number))).collect();
                let renewed = leases.store().renew(&name, &renewals).await?;
                held = renewed.into_iter().flatten().collect();
                ensure_eq!(held.len(), own.len(), "the number of leases that {name} holds");
            }
            Ok(())
        });
    }
    run_concurrently(workers).await?.into_iter().collect::<RuleResult>()?;
    let checkpoints: Vec<_> = leases.leases().await?.into_iter().map(|lease| lease.checkpoint).collect();
    ensure_eq!(checkpoints, vec![after(10); shards.len()], "the checkpoints");
    Ok(())
}
