//! What was answered is there for everybody.

use eventsrc_core::lease::{Checkpoint, LeaseStore};

use super::super::report::{RuleResult, ensure_eq};
use super::super::trial::together;
use super::backend::LeaseBackend;
use super::trial::{LeaseTrial, after, hands, moved, new_lease, unmoved};

/// Whatever one worker did, another one that was there before sees at once.
pub async fn what_a_worker_did_is_seen_through_an_earlier_handle<B: LeaseBackend>(
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
    let renewed = worker.renews("v", &moved(&held, after(1))).await?;
    watcher.has(std::slice::from_ref(&renewed)).await?;
    let released = worker.releases("v", &unmoved(&renewed)).await?;
    watcher.has(std::slice::from_ref(&released)).await?;
    let ended = worker.renews("w", &moved(&released, Checkpoint::End)).await?;
    watcher.has(&[ended]).await?;
    worker.store().remove(&["a".into()]).await?;
    watcher.has(&[]).await
}

/// It is there when the worker that did it is gone.
pub async fn what_a_worker_did_outlives_its_handle<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let free = on.open().await.creates("a").await?;
    let held = on.open().await.takes(&free, "v").await?;
    on.open().await.claims(&held, "w").await?;
    let renewed = on.open().await.renews("v", &moved(&held, after(1))).await?;
    ensure_eq!(hands(&renewed), (Some("v"), Some("w")), "who has it, and who is to");
    let released = on.open().await.releases("v", &unmoved(&renewed)).await?;
    on.open().await.has(&[released]).await
}

/// Two workers that share their leases through handles of their own hand them to and fro.
pub async fn two_processes_hand_leases_to_and_fro<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (v, w) = (on.open().await, on.open().await);
    let mut held = v.creates("a").await?;
    held = v.takes(&held, "v").await?;
    for number in 1..4 {
        w.claims(&w.lease("a").await?, "w").await?;
        held = v.renews("v", &moved(&held, after(2 * number))).await?;
        ensure_eq!(held.next_owner.as_deref(), Some("w"), "the heir that the owner is told of");
        v.releases("v", &unmoved(&held)).await?;
        let own = w.renews("w", &unmoved(&w.lease("a").await?)).await?;
        ensure_eq!(own.checkpoint, after(2 * number), "the checkpoint that it came with");
        v.claims(&v.lease("a").await?, "v").await?;
        w.releases("w", &moved(&own, after(2 * number + 1))).await?;
        held = v.lease("a").await?;
        ensure_eq!(
            (hands(&held), &held.checkpoint),
            ((Some("v"), None), &after(2 * number + 1)),
            "what came back"
        );
    }
    Ok(())
}

/// Workers side by side each hold what they took, and bring their checkpoints forward, without a word of one being lost.
pub async fn workers_side_by_side_renew_what_they_hold<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
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
                let renewals: Vec<_> = held.iter().map(|lease| moved(lease, after(number))).collect();
                let renewed = leases.store().renew(&name, &renewals).await?;
                held = renewed.into_iter().flatten().collect();
                ensure_eq!(held.len(), own.len(), "how many leases {name} holds");
            }
            Ok(())
        });
    }
    together(workers).await?.into_iter().collect::<RuleResult>()?;
    let checkpoints: Vec<_> = leases.leases().await?.into_iter().map(|lease| lease.checkpoint).collect();
    ensure_eq!(checkpoints, vec![after(10); shards.len()], "the checkpoints");
    Ok(())
}
