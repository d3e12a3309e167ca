//! Proofs of the rules about versions.

use eventsrc_core::view::TakeOver as Answer;
use eventsrc_core::view::{Applied, Batch};
use eventsrc_core::{ErrorKind, StorageError};

use super::applying::part;
use super::kept::{Kept, digest};
use super::{Defect, Proof, Views};
use Defect::{Behind, Digest, Open, Read, Retire, RetiresOnlyWithTable, TakeOver};

pub(crate) fn proofs() -> Vec<Proof> {
    [serving(), taking_over(), retiring(), digests()].concat()
}

fn serving() -> Vec<Proof> {
    vec![
        ("the_first_version_serves_at_once", "no version serves before it takes over", Open(|_, _| {})),
        (
            "the_first_version_may_have_any_number",
            "version 1 serves at first",
            Open(|views, which| {
                views.serving.entry(which.0.clone()).or_insert(1);
            }),
        ),
        (
            "a_later_version_does_not_serve",
            "the version that was opened last serves",
            Open(|views, which| {
                views.serving.insert(which.0.clone(), which.1);
            }),
        ),
        (
            "readers_see_the_rows_of_the_serving_version",
            "readers see the version that they opened",
            Read(|views, which, streams| {
                let rows = views.kept.get(which).map(|kept| kept.rows.clone()).unwrap_or_default();
                (views.read(which, streams).0, rows)
            }),
        ),
        (
            "readers_see_the_positions_of_the_serving_version",
            "readers are told positions of the version that they opened",
            Read(|views, which, streams| {
                let own = views.kept.get(which).cloned().unwrap_or_default();
                let places = streams.iter().map(|stream| own.place(stream)).collect();
                (places, views.read(which, streams).1)
            }),
        ),
        (
            "a_version_that_took_over_serves",
            "a handle remembers which version serves",
            Defect::ServingIsRemembered,
        ),
        (
            "the_old_version_is_still_maintained",
            "the rows of the version before are removed",
            TakeOver(|views, which, _, brought| {
                let before = views.serving(which);
                let answer = views.take_over(which, &brought?);
                views.of(&before).rows.clear();
                answer
            }),
        ),
        (
            "the_old_version_can_take_over_again",
            "an earlier version does not take over",
            TakeOver(|views, which, _, brought| {
                if views.serving(which).1 > which.1 {
                    return Ok(Answer::Behind);
                }
                views.take_over(which, &brought?)
            }),
        ),
    ]
}

/// Takes over, even if streams are still behind.
fn blindly(views: &mut Views, which: &super::Which, brought: &super::kept::B) -> super::kept::TakenOver {
    let answer = views.of(which).apply(brought);
    views.serving.insert(which.0.clone(), which.1);
    answer.map(Answer::from)
}

fn taking_over() -> Vec<Proof> {
    vec![
        (
            "an_up_to_date_version_takes_over",
            "`catch_up` is given streams that do not lie behind",
            Behind(|kept, serving| {
                let even =
                    serving.positions.iter().filter(|(stream, at)| kept.position(stream) == Some(**at));
                let even = even.map(|(stream, at)| eventsrc_core::view::PositionChange {
                    stream: stream.clone(),
                    from: Some(*at),
                    to: *at,
                });
                kept.behind(serving).into_iter().chain(even).collect()
            }),
        ),
        (
            "catch_up_gets_every_stream_that_is_behind",
            "streams that this version does not have are left out",
            Behind(|kept, serving| {
                kept.behind(serving).into_iter().filter(|moved| moved.from.is_some()).collect()
            }),
        ),
        (
            "the_catch_up_batch_is_applied",
            "positions are taken from the serving version",
            TakeOver(|views, which, behind, _| {
                views.of(which).advance(behind);
                views.take_over(which, &Batch::new(Vec::new()))
            }),
        ),
        (
            "catch_up_may_bring_later_commits",
            "what is beyond the serving version is refused",
            TakeOver(|views, which, behind, brought| {
                let brought = brought?;
                if brought.position_changes() != behind {
                    return Ok(Answer::Behind);
                }
                views.take_over(which, &brought)
            }),
        ),
        (
            "a_catch_up_that_fails_changes_nothing",
            "a version serves before it has caught up",
            TakeOver(|views, which, _, brought| {
                views.serving.insert(which.0.clone(), which.1);
                views.take_over(which, &brought?)
            }),
        ),
        (
            "catch_up_is_not_called_when_nothing_is_behind",
            "`catch_up` is called whatever lies behind",
            Defect::CatchesUpWithNothing,
        ),
        (
            "a_catch_up_that_fails_changes_nothing",
            "every catch-up that fails may go well another time",
            TakeOver(|views, which, _, brought| {
                let passing =
                    |error| StorageError::new(ErrorKind::Unavailable, "cannot catch up").because(error);
                views.take_over(which, &brought.map_err(passing)?)
            }),
        ),
        (
            "a_catch_up_rejected_by_the_code_changes_nothing",
            "streams that are brought are applied one by one",
            TakeOver(|views, which, _, brought| {
                let brought = brought?;
                for stream in 0..brought.position_changes().len() {
                    let stream = part(&brought, |at, _| at == stream);
                    if let Applied::Rejected(error) = views.of(which).apply(&stream)? {
                        return Ok(Answer::Rejected(error));
                    }
                }
                views.take_over(which, &Batch::new(Vec::new()))
            }),
        ),
        (
            "a_catch_up_that_violates_a_constraint_changes_nothing",
            "an error of the database fails the take-over",
            TakeOver(|views, which, _, brought| match views.take_over(which, &brought?) {
                Ok(Answer::Rejected(error)) if error.to_string().contains("a row has a text") => {
                    Err(StorageError::new(ErrorKind::Invalid, "the database refuses").because(error))
                }
                answer => answer,
            }),
        ),
        (
            "a_catch_up_that_violates_a_deferred_constraint_changes_nothing",
            "a version serves before its transaction has come to its end",
            TakeOver(|views, which, _, brought| {
                let answer = views.take_over(which, &brought?);
                if let Ok(Answer::Rejected(error)) = &answer
                    && error.to_string().contains("there is no row")
                {
                    views.serving.insert(which.0.clone(), which.1);
                }
                answer
            }),
        ),
        (
            "positions_do_not_change_during_a_take_over",
            "positions move while a version catches up",
            Defect::CatchesUpWithoutLock,
        ),
        (
            "readers_during_a_take_over_never_go_back",
            "a version serves before it has caught up",
            Defect::ServesBeforeItCatchesUp,
        ),
        (
            "a_version_that_stays_behind_does_not_take_over",
            "what was brought is not looked at",
            TakeOver(|views, which, _, brought| blindly(views, which, &brought?)),
        ),
        (
            "a_version_quarantined_behind_the_serving_one_does_not_take_over",
            "what was brought is applied through a quarantine",
            TakeOver(|views, which, _, brought| {
                let quarantined = std::mem::take(&mut views.of(which).quarantined);
                let answer = views.take_over(which, &brought?);
                views.of(which).quarantined = quarantined;
                answer
            }),
        ),
        (
            "a_version_quarantined_behind_the_serving_one_does_not_take_over",
            "a quarantine is told as any other reason to lie behind",
            TakeOver(|views, which, _, brought| match views.take_over(which, &brought?) {
                Ok(Answer::Quarantined(_)) => Ok(Answer::Behind),
                answer => answer,
            }),
        ),
        (
            "a_quarantine_that_is_not_behind_does_not_prevent_a_take_over",
            "any quarantine hinders",
            TakeOver(|views, which, _, brought| {
                if !views.of(which).quarantined.is_empty() {
                    return Ok(Answer::Behind);
                }
                views.take_over(which, &brought?)
            }),
        ),
    ]
}

/// Retires the version, and leaves a part of its state.
fn leaving(
    views: &mut Views,
    which: &super::Which,
    part: impl FnOnce(Kept) -> Kept,
) -> Result<(), StorageError> {
    let kept = views.kept(which);
    views.retire(which)?;
    views.kept.insert(which.clone(), part(kept));
    Ok(())
}

/// Retires the version, and removes a part of the state of all versions of the view.
fn taking(views: &mut Views, which: &super::Which, part: impl Fn(&mut Kept)) -> Result<(), StorageError> {
    views.retire(which)?;
    let versions = views.kept.iter_mut().filter(|((name, _), _)| *name == which.0);
    versions.for_each(|(_, kept)| part(kept));
    Ok(())
}

fn retiring() -> Vec<Proof> {
    vec![
        (
            "a_version_without_its_table_is_retired",
            "it drops a table that does not exist",
            RetiresOnlyWithTable,
        ),
        (
            "a_retired_version_is_gone",
            "its rows stay",
            Retire(|views, which| {
                leaving(views, which, |Kept { rows, .. }| Kept { rows, ..Kept::default() })
            }),
        ),
        (
            "a_retired_version_is_gone",
            "its positions stay",
            Retire(|views, which| {
                leaving(views, which, |Kept { positions, .. }| Kept { positions, ..Kept::default() })
            }),
        ),
        (
            "a_retired_version_is_gone",
            "its quarantines stay",
            Retire(|views, which| {
                leaving(views, which, |Kept { quarantined, .. }| Kept { quarantined, ..Kept::default() })
            }),
        ),
        (
            "a_retired_version_is_gone",
            "its decisions to skip stay",
            Retire(|views, which| {
                leaving(views, which, |Kept { skipped, .. }| Kept { skipped, ..Kept::default() })
            }),
        ),
        (
            "other_versions_outlive_a_retired_one",
            "versions of that number of all views are removed",
            Retire(|views, which| {
                views.retire(which)?;
                views.kept.retain(|(_, version), _| *version != which.1);
                Ok(())
            }),
        ),
        (
            "other_versions_outlive_a_retired_one",
            "the rows of all versions are removed",
            Retire(|views, which| taking(views, which, |kept| kept.rows.clear())),
        ),
        (
            "other_versions_outlive_a_retired_one",
            "the positions of all versions are removed",
            Retire(|views, which| taking(views, which, |kept| kept.positions.clear())),
        ),
        (
            "other_versions_outlive_a_retired_one",
            "the quarantines of all versions are removed",
            Retire(|views, which| taking(views, which, |kept| kept.quarantined.clear())),
        ),
        (
            "other_versions_outlive_a_retired_one",
            "the decisions to skip of all versions are removed",
            Retire(|views, which| taking(views, which, |kept| kept.skipped.clear())),
        ),
        (
            "the_serving_version_is_not_retired",
            "the serving version is retired as any other",
            Retire(|views, which| {
                views.kept.remove(which);
                Ok(())
            }),
        ),
    ]
}

fn digests() -> Vec<Proof> {
    vec![
        (
            "equal_rows_have_one_digest",
            "positions are part of the digest",
            Digest(|kept| digest(kept.rows.len(), &(&kept.rows, &kept.positions))),
        ),
        (
            "other_rows_have_another_digest",
            "the columns of a row are put together with nothing between",
            Digest(|kept| {
                let rows: Vec<_> = kept.rows.iter().map(|(name, text)| format!("{name}{text}")).collect();
                digest(rows.len(), &rows)
            }),
        ),
        (
            "a_digest_is_of_all_rows",
            "the digest is of the first 1,000 rows",
            Digest(|kept| digest(kept.rows.len(), &kept.rows.iter().take(1_000).collect::<Vec<_>>())),
        ),
    ]
}
