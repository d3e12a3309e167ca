//! Tables as an earlier version of the library made them.

use eventsrc_core::Timestamp;
use eventsrc_core::view::{
    Batch, PositionChange, QuarantinedCommit, SkippedCommits, StreamPosition as At, TakeOver, VersionedStore,
    ViewStore,
};
use futures::FutureExt;

use super::{Lines, Location, apply, commit, line, name};

/// A schema with tables of version 1, in SQL. It must not be changed.
const VERSION_1: &str = include_str!("version_1.sql");

fn time(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_version_1_stay_readable() {
    let place = Location::new().await;
    place.execute(&VERSION_1.replace("{place}", &place.name)).await;
    let (first, second) = (place.open(Lines::new(1)).await, place.open(Lines::new(2)).await);
    assert_eq!((first.serving().await.unwrap(), second.serving().await.unwrap()), (1, 1));
    assert_eq!(line(&second, "line/1").await, (Some("a".into()), Some(1)));
    let poison = |stream, position, sequence, error: &str, at| QuarantinedCommit {
        stream: name(stream),
        position,
        sequence,
        error: error.into(),
        time: time(at),
    };
    assert_eq!(
        first.quarantined().await.unwrap(),
        [
            poison("line/1", Some(1), 2, "no such line", 1_767_225_602_000_000),
            poison("line/4", None, 1, "a\u{2400}b", 1_767_225_602_000_001)
        ]
    );
    assert_eq!(second.quarantined().await.unwrap(), []);
    let streams = ["line/5", "line/4", "line/1"].map(name);
    let at = |position, quarantined| At { position, quarantined };
    assert_eq!(
        first.positions_of(&streams).await.unwrap(),
        [at(None, false), at(None, true), at(Some(1), true)]
    );
    assert_eq!(first.positions(None, 10).await.unwrap(), [(name("line/1"), 1)]);
    let positions = [("line/1", 3), ("line/2", 1), ("line/3", 4)].map(|(stream, at)| (name(stream), at));
    assert_eq!(second.positions(None, 10).await.unwrap(), positions);
    let skip = |stream, from, to, reason: &str, at| SkippedCommits {
        change: PositionChange { stream: name(stream), from, to },
        reason: reason.into(),
        time: time(at),
    };
    assert_eq!(
        second.skipped().await.unwrap(),
        [
            skip("line/2", None, 1, "of no use", 1_767_225_603_000_000),
            skip("line/3", Some(2), 4, "too late", 1_767_225_604_000_001)
        ]
    );
    let digest = second.digest().await.unwrap();
    assert_eq!((digest.rows, digest.hash.as_str()), (2, DIGEST));

    // The view continues from there.
    for stream in ["line/1", "line/4"] {
        assert!(first.release(&name(stream)).await.unwrap());
    }
    apply(&first, &[&commit("line/1", 2, &["b", "c"]), &commit("line/4", 1, &["e"])]).await;
    apply(&first, &[&commit("line/5", 1, &["f"])]).await;
    assert_eq!(line(&first, "line/1").await, (Some("a b c".into()), Some(3)));
    let behind = Box::new(|moves: Vec<PositionChange<u64>>| {
        assert_eq!(moves.len(), 2);
        async { Ok(Batch::new(Vec::new())) }.boxed()
    });
    assert!(matches!(second.take_over(behind).await.unwrap(), TakeOver::Behind));
    apply(&second, &[&commit("line/4", 1, &["e"]), &commit("line/5", 1, &["f"])]).await;
    let level = Box::new(|moves| panic!("it lies nowhere behind: {moves:?}"));
    assert!(matches!(second.take_over(level).await.unwrap(), TakeOver::Done));
    assert_eq!(line(&first, "line/3").await, (Some("d".into()), Some(4)));
}

/// A name that Postgres compressed so well that version 1 could store it.
#[tokio::test(flavor = "multi_thread")]
async fn long_names_of_version_1_keep_their_positions() {
    let place = Location::new().await;
    let schema = format!("{}_eventsrc", place.name);
    let long = format!("line/{}", "é".repeat(3_000));
    place.execute(&VERSION_1.replace("{place}", &place.name)).await;
    place
        .execute(&format!(
            "INSERT INTO {schema}.view_positions (number, zone, stopped, version, stream)
             SELECT 7, 0, true, id, '{long}' FROM {schema}.view_versions WHERE view = 'lines' AND version = 1;
             INSERT INTO {schema}.view_quarantine (number, zone, time, error, version, stream)
             SELECT 8, 0, 1, 'no such line', id, '{long}' FROM {schema}.view_versions
             WHERE view = 'lines' AND version = 1"
        ))
        .await;
    let view = place.open(Lines::new(1)).await;
    let stream = name(&long);
    let positions = view.positions_of(std::slice::from_ref(&stream)).await.unwrap();
    assert_eq!(positions, [At { position: Some(7), quarantined: true }]);
    assert!(view.quarantined().await.unwrap().iter().any(|poison| poison.stream == stream));
    assert!(view.release(&stream).await.unwrap());
    apply(&view, &[&commit(&long, 8, &["b"])]).await;
    let listed = view.positions(None, 10).await.unwrap();
    assert_eq!(listed.into_iter().find(|(found, _)| *found == stream), Some((stream, 8)));
}

/// The digest of the rows of version 2 of the view. Digests must not change between releases.
const DIGEST: &str = "e559e74f7faf470645df1fac649c98fc";
