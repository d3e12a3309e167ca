//! Creation, listing and removal of leases.

use eventsrc_core::lease::{Checkpoint, LeaseStore, NewLease};

use super::super::trial::run_concurrently;
use super::super::violation::{RuleResult, ensure, ensure_eq};
use super::backend::LeaseBackend;
use super::trial::{LeaseTrial, checkpoints, new_lease, owners, renewal, renewal_with};

/// A created lease is as requested, and is free.
pub(super) async fn a_created_lease_is_as_requested<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    let new = |(at, checkpoint): (usize, Checkpoint)| NewLease {
        shard: format!("shard {at}"),
        parents: (0..at % 3).map(|parent| format!("parent {parent}")).collect(),
        checkpoint,
    };
    let news: Vec<_> = checkpoints().into_iter().enumerate().map(new).collect();
    leases.store().create(&news).await?;
    for new in news {
        let mut lease = leases.lease(&new.shard).await?;
        lease.parents.sort();
        let found = NewLease {
            shard: lease.shard.clone(),
            parents: lease.parents.clone(),
            checkpoint: lease.checkpoint.clone(),
        };
        ensure_eq!(found, new, "the created lease");
        ensure_eq!(owners(&lease), (None, None), "the owner and the next owner of a new lease");
    }
    Ok(())
}

/// A second creation does not change an existing lease, in whatever state it is.
pub(super) async fn an_existing_lease_is_left_unchanged<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, free) = on.lease("free").await?;
    let taken = leases.creates("taken").await?;
    let taken = leases.takes(&taken, "a").await?;
    leases.claims(&taken, "b").await?;
    let ended = leases.creates("ended").await?;
    let ended = leases.takes(&ended, "a").await?;
    leases.releases("a", &renewal_with(&ended, Checkpoint::End)).await?;
    let before = leases.leases().await?;
    let again = ["free", "taken", "ended"].map(|shard| NewLease {
        parents: vec!["other".into()],
        checkpoint: Checkpoint::Latest,
        ..new_lease(shard)
    });
    leases.store().create(&again).await?;
    leases.has(&before).await?;
    leases.takes(&free, "c").await.map(drop)
}

/// Of several requested leases, those that are missing are created.
pub(super) async fn missing_leases_are_created_next_to_existing_ones<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, _) = on.taken("b", "w").await?;
    let there = leases.lease("b").await?;
    leases.store().create(&["a", "b", "c"].map(new_lease)).await?;
    let found = leases.leases().await?;
    ensure_eq!(found.len(), 3, "the number of leases");
    ensure_eq!(found[1], there, "the existing lease");
    Ok(())
}

/// A shard that is requested twice has one lease, the first.
pub(super) async fn a_shard_named_twice_has_one_lease<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    let second = NewLease { checkpoint: Checkpoint::Latest, ..new_lease("a") };
    leases.store().create(&[new_lease("a"), second]).await?;
    ensure_eq!(leases.lease("a").await?.checkpoint, Checkpoint::TrimHorizon, "the checkpoint of the first");
    ensure_eq!(leases.leases().await?.len(), 1, "the number of leases");
    Ok(())
}

/// Creating an empty list of leases has no effect.
pub(super) async fn an_empty_list_may_be_created<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    leases.store().create(&[]).await?;
    leases.has(&[]).await
}

/// Concurrent creations of the same leases, in different orders, all succeed, and each shard has one lease.
pub(super) async fn concurrent_creates_of_the_same_leases_succeed<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let mut creating = Vec::new();
    for worker in 0..8usize {
        let leases = on.open().await;
        let mut news: Vec<_> = (0..20).map(|shard| new_lease(&format!("{shard:02}"))).collect();
        news.rotate_left(worker * 3 % 20);
        if worker % 2 == 1 {
            news.reverse();
        }
        creating.push(async move { leases.store().create(&news).await });
    }
    for created in run_concurrently(creating).await? {
        created?;
    }
    let found: Vec<_> = on.open().await.leases().await?.into_iter().map(|lease| lease.shard).collect();
    ensure_eq!(found, (0..20).map(|shard| format!("{shard:02}")).collect::<Vec<_>>(), "the shards");
    Ok(())
}

/// A new store has no leases.
pub(super) async fn a_new_store_has_no_leases<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    on.open().await.has(&[]).await
}

/// Leases are sorted by shard in byte order, whatever their owner and the time of their creation.
pub(super) async fn leases_are_sorted_by_shard<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    let names =
        ["b", "a", "shardId-000000000010", "shardId-000000000009", "B", "ä", "a b", "a-b", "aB", "ab"];
    for name in names {
        let lease = leases.creates(name).await?;
        if name.len() % 2 == 0 {
            leases.takes(&lease, name).await?;
        }
    }
    let found: Vec<_> = leases.leases().await?.into_iter().map(|lease| lease.shard).collect();
    let mut expected = names;
    expected.sort_unstable();
    ensure_eq!(found, expected, "the order of the leases");
    Ok(())
}

/// Any number of leases can be created and listed.
pub(super) async fn any_number_of_leases_are_listed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    let news: Vec<_> = (0..300).map(|shard| new_lease(&format!("{shard:03}"))).collect();
    leases.store().create(&news).await?;
    let found: Vec<_> = leases.leases().await?.into_iter().map(|lease| lease.shard).collect();
    ensure_eq!(found, news.into_iter().map(|new| new.shard).collect::<Vec<_>>(), "the shards");
    Ok(())
}

/// The lease of an ended shard can be removed.
pub(super) async fn an_ended_lease_is_removed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, ended) = on.taken("ended", "a").await?;
    let kept = leases.creates("kept").await?;
    leases.releases("a", &renewal_with(&ended, Checkpoint::End)).await?;
    leases.store().remove(&["ended".into()]).await?;
    leases.has(&[kept]).await
}

/// A lease of a shard that has not ended is not removed, whatever its owner.
pub(super) async fn a_lease_that_has_not_ended_is_not_removed<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, taken) = on.taken("taken", "a").await?;
    leases.claims(&taken, "b").await?;
    leases.creates("free").await?;
    let released = leases.creates("released").await?;
    let released = leases.takes(&released, "a").await?;
    leases.releases("a", &renewal(&released)).await?;
    let before = leases.leases().await?;
    leases.store().remove(&["free", "released", "taken"].map(String::from)).await?;
    leases.has(&before).await
}

/// The lease of an ended shard remains until it is removed.
pub(super) async fn an_ended_lease_remains_until_it_is_removed<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, ended) = on.taken("ended", "a").await?;
    let other = leases.creates("other").await?;
    let ended = leases.releases("a", &renewal_with(&ended, Checkpoint::End)).await?;
    leases.store().remove(&[]).await?;
    leases.store().remove(&["other".into(), "never there".into()]).await?;
    leases.has(&[ended, other]).await
}

/// Concurrent removals of the same leases all succeed.
pub(super) async fn concurrent_removals_of_the_same_leases_succeed<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let leases = on.open().await;
    let mut shards: Vec<_> = (0..10).map(|shard| shard.to_string()).collect();
    for shard in &shards {
        let lease = leases.creates(shard).await?;
        let lease = leases.takes(&lease, "a").await?;
        leases.releases("a", &renewal_with(&lease, Checkpoint::End)).await?;
    }
    let mut removing = Vec::new();
    for _ in 0..4 {
        let leases = on.open().await;
        shards.rotate_left(3);
        let shards = shards.clone();
        removing.push(async move { leases.store().remove(&shards).await });
    }
    for removed in run_concurrently(removing).await? {
        removed?;
    }
    leases.has(&[]).await
}

/// A removed lease can be created again.
pub(super) async fn a_removed_lease_can_be_created_again<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, ended) = on.taken("a", "w").await?;
    leases.releases("w", &renewal_with(&ended, Checkpoint::End)).await?;
    leases.store().remove(&["a".into()]).await?;
    let again = leases.creates("a").await?;
    ensure!(!again.has_ended(), "the created lease has ended: {again:?}");
    leases.takes(&again, "x").await.map(drop)
}
