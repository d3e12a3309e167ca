//! Independence of streams, whatever their names have in common.

use super::backend::Backend;
use super::sample::SampleKey;
use super::trial::{Trial, run_concurrently};
use super::violation::{RuleResult, ensure_eq};

/// The same id in two categories names two streams.
pub(super) async fn the_same_id_in_two_categories_is_two_streams<B: Backend>(on: &Trial<B>) -> RuleResult {
    ensure_distinct(on, [("user", "1"), ("group", "1"), ("users", "1")]).await
}

/// Categories with a common prefix are distinct, and so are ids.
pub(super) async fn names_with_a_common_prefix_are_distinct<B: Backend>(on: &Trial<B>) -> RuleResult {
    ensure_distinct(on, [("user", "1"), ("user", "12"), ("user", "123"), ("user1", "2"), ("us", "er1")]).await
}

/// An id may contain slashes at any position.
pub(super) async fn ids_with_slashes_are_distinct<B: Backend>(on: &Trial<B>) -> RuleResult {
    ensure_distinct(
        on,
        [("a", "b/c"), ("a", "b"), ("a", "/b"), ("a", "b/"), ("a", "//"), ("a", "/"), ("a", "c/b")],
    )
    .await
}

/// Characters with which stores separate the parts of their keys are ordinary characters in a name.
pub(super) async fn ids_with_separators_are_distinct<B: Backend>(on: &Trial<B>) -> RuleResult {
    let separators = ["#", ":", "|", "::", "--", ".", ",", ";", "\u{1}", "\u{1f}", "$", "@"];
    let keys = separators
        .iter()
        .flat_map(|mark| [("a".to_owned(), format!("b{mark}c")), (format!("a{mark}b"), "c".into())]);
    let keys: Vec<_> = keys.chain([("a".into(), "bc".into()), ("ab".into(), "c".into())]).collect();
    ensure_distinct(on, keys.iter().map(|(category, id)| (category.as_str(), id.as_str()))).await
}

/// Upper and lower case are distinct.
pub(super) async fn names_that_differ_in_case_are_distinct<B: Backend>(on: &Trial<B>) -> RuleResult {
    ensure_distinct(
        on,
        [("user", "ada"), ("user", "Ada"), ("user", "ADA"), ("User", "ada"), ("user", "é"), ("user", "É")],
    )
    .await
}

/// Leading, trailing and inner spaces are significant.
pub(super) async fn names_that_differ_in_spaces_are_distinct<B: Backend>(on: &Trial<B>) -> RuleResult {
    ensure_distinct(
        on,
        [
            ("a", "b"),
            ("a", "b "),
            ("a", " b"),
            ("a", "b  "),
            ("a", "b b"),
            ("a", "b  b"),
            ("a ", "b"),
            ("a", " "),
        ],
    )
    .await
}

/// Control characters are significant.
pub(super) async fn ids_with_control_characters_are_distinct<B: Backend>(on: &Trial<B>) -> RuleResult {
    ensure_distinct(
        on,
        [("a", "b\nc"), ("a", "b\tc"), ("a", "b\rc"), ("a", "b\r\nc"), ("a", "bc"), ("a", "b\u{7f}c")],
    )
    .await
}

/// Letters of all scripts may name a stream. Names that only look alike are distinct.
pub(super) async fn unicode_names_are_distinct<B: Backend>(on: &Trial<B>) -> RuleResult {
    // The last two are one letter, and a letter with a combining mark.
    ensure_distinct(
        on,
        [
            ("имя", "日本語"),
            ("имя", "日本"),
            ("a", "ß"),
            ("a", "ss"),
            ("a", "ﬁ"),
            ("a", "fi"),
            ("a", "\u{e9}"),
            ("a", "e\u{301}"),
        ],
    )
    .await
}

/// Emoji, which are longer than two bytes in UTF-16, may name a stream.
pub(super) async fn emoji_names_are_distinct<B: Backend>(on: &Trial<B>) -> RuleResult {
    ensure_distinct(
        on,
        [("🙂", "🙂"), ("🙂", "🙃"), ("a", "👩\u{200d}💻"), ("a", "👩"), ("a", "👩💻"), ("a", "\u{feff}b")],
    )
    .await
}

/// Quotes and backslashes are ordinary characters.
pub(super) async fn ids_with_quotes_are_distinct<B: Backend>(on: &Trial<B>) -> RuleResult {
    ensure_distinct(
        on,
        [
            ("a", "'"),
            ("a", "''"),
            ("a", "\""),
            ("a", "\\"),
            ("a", "\\'"),
            ("a", "x' OR '1'='1"),
            ("a", "`"),
            ("a", "--"),
        ],
    )
    .await
}

/// The wildcards of query languages are ordinary characters.
pub(super) async fn ids_with_wildcards_are_distinct<B: Backend>(on: &Trial<B>) -> RuleResult {
    ensure_distinct(
        on,
        [
            ("a", "%"),
            ("a", "_"),
            ("a", "*"),
            ("a", "?"),
            ("a", "b%"),
            ("a", "bc"),
            ("a", "b_"),
            ("a", "%25"),
            ("a", "[b]"),
        ],
    )
    .await
}

/// Ids that denote the same number are distinct.
pub(super) async fn ids_that_look_like_numbers_are_distinct<B: Backend>(on: &Trial<B>) -> RuleResult {
    ensure_distinct(
        on,
        [
            ("a", "1"),
            ("a", "01"),
            ("a", "1.0"),
            ("a", "1e0"),
            ("a", "+1"),
            ("a", "-0"),
            ("a", "0"),
            ("a", "null"),
        ],
    )
    .await
}

/// Ids of 1,000 bytes that differ in the last byte are distinct.
pub(super) async fn very_long_ids_are_distinct<B: Backend>(on: &Trial<B>) -> RuleResult {
    let long = "x".repeat(999);
    let ids = [format!("{long}a"), format!("{long}b"), long.clone(), "é".repeat(500)];
    ensure_distinct(on, ids.iter().map(|id| ("a", id.as_str()))).await
}

/// A sequence that is taken on one stream is free on another.
pub(super) async fn a_sequence_taken_on_one_stream_is_free_on_another<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&on.chain("a", [1, 2, 3])).await?;
    let others = on.chain("b", [3, 2, 1]);
    storage.round_trips(&others).await?;
    storage.conflicts(&on.commit("a", 4, 1)).await.map(drop)
}

/// The same commit id on two streams names two commits. A command may write to both.
pub(super) async fn a_commit_id_may_be_stored_on_two_streams<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let one = on.commit("a", 1, 1);
    let mut other = on.draft("b", 1, 2);
    other.metadata = one.metadata.clone();
    storage.round_trips(&[one]).await?;
    storage.round_trips(&[other.into()]).await
}

/// 2,000 streams are distinct.
pub(super) async fn two_thousand_streams_are_distinct<B: Backend>(on: &Trial<B>) -> RuleResult {
    const WRITERS: usize = 50;
    const READERS: usize = 20;
    let storage = on.open().await;
    let commits: Vec<_> = (0..2_000).map(|at| on.commit(&*format!("stream {at}"), 1, 1 + at % 2)).collect();
    let writers = commits.chunks(commits.len() / WRITERS).map(|commits| {
        let (storage, commits) = (storage.clone(), commits.to_vec());
        async move { storage.stores_all(&commits).await }
    });
    run_concurrently(writers).await?.into_iter().collect::<RuleResult>()?;
    let readers = commits.chunks(commits.len() / READERS).map(|commits| {
        let (storage, commits) = (storage.clone(), commits.to_vec());
        async move {
            for commit in &commits {
                storage.holds(&commit.key, std::slice::from_ref(commit)).await?;
            }
            Ok(())
        }
    });
    run_concurrently(readers).await?.into_iter().collect()
}

/// Stores two commits on each stream, in turn, and expects each stream to hold only its own.
async fn ensure_distinct<'a, B: Backend>(
    on: &Trial<B>,
    keys: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> RuleResult {
    let storage = on.open().await;
    let keys: Vec<SampleKey> = keys.into_iter().map(SampleKey::from).collect();
    let chains: Vec<_> = keys.iter().enumerate().map(|(at, key)| on.chain(key, [1 + at % 3, 2])).collect();
    for key in &keys {
        ensure_eq!(storage.latest(key).await?, None, "latest of {key:?} before it has events");
    }
    for turn in 0..2 {
        for chain in &chains {
            storage.stores(&chain[turn]).await?;
        }
    }
    for (key, chain) in keys.iter().zip(&chains) {
        storage.holds(key, chain).await?;
    }
    Ok(())
}
