//! Streams of old storages, whose names are longer than those of new streams may be.

use eventsrc_core::view::{StreamPosition, ViewStore};

use super::super::sample::SampleKey;
use super::super::violation::{RuleResult, ensure, ensure_eq};
use super::backend::ViewBackend;
use super::sample::ViewSample::Ignore;
use super::trial::{ViewCommitOf, ViewTrial, named, run};

/// Positions of streams with names of any length move with their batches, and are listed under the names.
pub(super) async fn streams_with_long_names_are_applied<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains: Vec<_> = LENGTHS.map(|length| chain(on, &id(length), 2)).into();
    for commits in [0..1, 1..2] {
        view.applies(chains.iter().map(|chain| run::<B>(chain, commits.clone())).collect()).await?;
        view.has_positions(chains.iter().map(|chain| (named(&chain[0].key), chain[commits.start].last())))
            .await?;
        view.refuses_position(vec![run::<B>(&chains[LENGTHS.len() - 1], 0..1)]).await?;
    }
    let mut listed = Vec::new();
    while let Some(next) = view.store().positions(listed.last(), 1).await?.pop() {
        ensure!(listed.len() < LENGTHS.len(), "more positions than streams");
        listed.push(next.0);
    }
    listed.sort_unstable();
    let mut expected: Vec<_> = chains.iter().map(|chain| named(&chain[0].key)).collect();
    expected.sort_unstable();
    ensure_eq!(listed, expected, "the streams, listed one by one");
    Ok(())
}

/// Streams with names of any length are quarantined before and after their first commit, released and skipped.
pub(super) async fn streams_with_long_names_are_quarantined_and_skipped<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chains = LENGTHS.map(|length| chain(on, &id(length), 2));
    for index in 0..2 {
        let mut entries: Vec<_> = chains.iter().map(|chain| on.quarantined_commit(chain, index)).collect();
        for entry in &entries {
            view.store().quarantine(entry).await?;
        }
        view.has_quarantined(&entries.iter().collect::<Vec<_>>()).await?;
        let released = entries.pop().expect("there are streams");
        ensure!(view.store().release(&released.stream).await?, "the quarantine of the longest name ends");
        view.has_quarantined(&entries.iter().collect::<Vec<_>>()).await?;
        for chain in &chains {
            view.skips(&on.skip(chain, index)).await?;
        }
        view.has_quarantined(&[]).await?;
    }
    let mut skipped: Vec<_> = view.store().skipped().await?.into_iter().map(|skip| skip.change).collect();
    skipped.sort_unstable_by(|a, b| (&a.stream, a.to).cmp(&(&b.stream, b.to)));
    let mut expected: Vec<_> =
        chains.iter().flat_map(|chain| [0, 1].map(|index| on.skip(chain, index).change)).collect();
    expected.sort_unstable_by(|a, b| (&a.stream, a.to).cmp(&(&b.stream, b.to)));
    ensure_eq!(skipped, expected, "the skips");
    Ok(())
}

/// Long names that differ in their last byte, or of which one continues the other, are distinct.
pub(super) async fn long_names_are_distinct<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let long = id(4_000);
    let ids = [format!("{long}a"), format!("{long}b"), long.clone(), long[..3_999].to_owned()];
    for (at, id) in ids.iter().enumerate() {
        view.applies(vec![run::<B>(&chain(on, id, 1), 0..1)]).await?;
        let streams: Vec<_> = ids.iter().map(|id| named(&**id)).collect();
        let found = view.store().positions_of(&streams).await?;
        let applied = found.iter().filter(|found| **found != StreamPosition::default()).count();
        ensure_eq!(applied, at + 1, "the number of streams with a position");
    }
    Ok(())
}

/// Lengths of ids: at the limit of new names, of keys of DynamoDB, of index rows of Postgres, and far beyond.
const LENGTHS: [usize; 5] = [1_017, 2_041, 2_050, 2_700, 20_000];

/// Consecutive commits that write no row.
fn chain<B: ViewBackend>(on: &ViewTrial<B>, id: &str, commits: usize) -> Vec<ViewCommitOf<B>> {
    on.chain_of(SampleKey::from(id), vec![vec![Ignore]; commits])
}

/// An id of `length` bytes, which do not compress.
fn id(length: usize) -> String {
    let mut state = length as u32;
    let letter = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'!' + (state >> 24) as u8 % 90)
    };
    (0..length).map(letter).collect()
}
