//! Leases that are made, listed and forgotten.

use eventsrc_core::lease::{Checkpoint, LeaseStore, NewLease};

use super::super::report::{RuleResult, ensure, ensure_eq};
use super::super::trial::together;
use super::backend::LeaseBackend;
use super::trial::{LeaseTrial, checkpoints, hands, moved, new_lease, unmoved};

/// A lease is made as it was asked for, and nobody has it.
pub async fn a_created_lease_is_as_it_was_asked_for<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
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
        ensure_eq!(found, new, "what was created");
        ensure_eq!(hands(&lease), (None, None), "who has a new lease");
    }
    Ok(())
}

/// What becomes of a lease is not undone by creating it again, in whatever way.
pub async fn a_lease_that_is_there_is_left_alone<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, free) = on.lease("free").await?;
    let taken = leases.creates("taken").await?;
    let taken = leases.takes(&taken, "a").await?;
    leases.claims(&taken, "b").await?;
    let ended = leases.creates("ended").await?;
    let ended = leases.takes(&ended, "a").await?;
    leases.releases("a", &moved(&ended, Checkpoint::End)).await?;
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

/// Of some leases to be made, those are that are not there.
pub async fn leases_that_are_missing_are_made_beside_those_that_are_there<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, _) = on.taken("b", "w").await?;
    let there = leases.lease("b").await?;
    leases.store().create(&["a", "b", "c"].map(new_lease)).await?;
    let found = leases.leases().await?;
    ensure_eq!(found.len(), 3, "the number of leases");
    ensure_eq!(found[1], there, "the one that was there");
    Ok(())
}

/// A shard that is named twice has one lease, the first.
pub async fn a_shard_named_twice_has_one_lease<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    let second = NewLease { checkpoint: Checkpoint::Latest, ..new_lease("a") };
    leases.store().create(&[new_lease("a"), second]).await?;
    ensure_eq!(leases.lease("a").await?.checkpoint, Checkpoint::TrimHorizon, "the checkpoint of the first");
    ensure_eq!(leases.leases().await?.len(), 1, "the number of leases");
    Ok(())
}

/// To create nothing does nothing.
pub async fn nothing_may_be_created<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    leases.store().create(&[]).await?;
    leases.has(&[]).await
}

/// Of many who create the same leases at once, in different orders, all succeed, and a shard has one lease.
pub async fn many_may_create_the_same_leases_at_once<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
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
    for created in together(creating).await? {
        created?;
    }
    let found: Vec<_> = on.open().await.leases().await?.into_iter().map(|lease| lease.shard).collect();
    ensure_eq!(found, (0..20).map(|shard| format!("{shard:02}")).collect::<Vec<_>>(), "the shards");
    Ok(())
}

/// Where nothing was created, there are no leases.
pub async fn a_new_place_has_no_leases<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    on.open().await.has(&[]).await
}

/// Leases are in the order of their shards, byte by byte, whoever has them and whenever they were made.
pub async fn leases_are_sorted_by_shard<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
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

/// Any number of leases are made and listed.
pub async fn any_number_of_leases_are_listed<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    let news: Vec<_> = (0..300).map(|shard| new_lease(&format!("{shard:03}"))).collect();
    leases.store().create(&news).await?;
    let found: Vec<_> = leases.leases().await?.into_iter().map(|lease| lease.shard).collect();
    ensure_eq!(found, news.into_iter().map(|new| new.shard).collect::<Vec<_>>(), "the shards");
    Ok(())
}

/// The lease of a shard that ended can be forgotten.
pub async fn a_lease_that_ended_is_forgotten<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, ended) = on.taken("ended", "a").await?;
    let kept = leases.creates("kept").await?;
    leases.releases("a", &moved(&ended, Checkpoint::End)).await?;
    leases.store().remove(&["ended".into()]).await?;
    leases.has(&[kept]).await
}

/// No other lease is forgotten, whoever has it.
pub async fn a_lease_that_has_not_ended_is_not_forgotten<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, taken) = on.taken("taken", "a").await?;
    leases.claims(&taken, "b").await?;
    leases.creates("free").await?;
    let released = leases.creates("released").await?;
    let released = leases.takes(&released, "a").await?;
    leases.releases("a", &unmoved(&released)).await?;
    let before = leases.leases().await?;
    leases.store().remove(&["free", "released", "taken"].map(String::from)).await?;
    leases.has(&before).await
}

/// What ended is kept until somebody says that it can be forgotten.
pub async fn a_lease_that_ended_is_kept_until_it_is_removed<B: LeaseBackend>(
    on: &LeaseTrial<B>,
) -> RuleResult {
    let (leases, ended) = on.taken("ended", "a").await?;
    let other = leases.creates("other").await?;
    let ended = leases.releases("a", &moved(&ended, Checkpoint::End)).await?;
    leases.store().remove(&[]).await?;
    leases.store().remove(&["other".into(), "never there".into()]).await?;
    leases.has(&[ended, other]).await
}

/// Some of the leases may be forgotten already, by somebody else at the same time.
pub async fn many_may_remove_the_same_leases_at_once<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let leases = on.open().await;
    let mut shards: Vec<_> = (0..10).map(|shard| shard.to_string()).collect();
    for shard in &shards {
        let lease = leases.creates(shard).await?;
        let lease = leases.takes(&lease, "a").await?;
        leases.releases("a", &moved(&lease, Checkpoint::End)).await?;
    }
    let mut removing = Vec::new();
    for _ in 0..4 {
        let leases = on.open().await;
        shards.rotate_left(3);
        let shards = shards.clone();
        removing.push(async move { leases.store().remove(&shards).await });
    }
    for removed in together(removing).await? {
        removed?;
    }
    leases.has(&[]).await
}

/// A lease that was forgotten can be made again.
pub async fn a_forgotten_lease_can_be_made_again<B: LeaseBackend>(on: &LeaseTrial<B>) -> RuleResult {
    let (leases, ended) = on.taken("a", "w").await?;
    leases.releases("w", &moved(&ended, Checkpoint::End)).await?;
    leases.store().remove(&["a".into()]).await?;
    let again = leases.creates("a").await?;
    ensure!(!again.has_ended(), "it is new: {again:?}");
    leases.takes(&again, "x").await.map(drop)
}
