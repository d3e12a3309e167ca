//! Proofs of the rules about positions.

use std::collections::BTreeMap;

use eventsrc_core::stream::Zone;
use eventsrc_core::view::{Applied, StreamPosition};
use eventsrc_core::{ErrorKind, Sequence, StorageError};

use super::kept::S;
use super::{Defect, Proof};
use Defect::{Apply, Places, Positions, Quarantined, Skipped, Which};

pub(crate) fn proofs() -> Vec<Proof> {
    vec![
        (
            "a_new_view_has_no_positions",
            "a stream that is not there is at its first event",
            Places(|kept, streams| {
                let first = |place: StreamPosition<S>| StreamPosition {
                    position: place.position.or(Some(S::first(Zone::default()))),
                    ..place
                };
                Ok(streams.iter().map(|stream| first(kept.place(stream))).collect())
            }),
        ),
        (
            "a_stream_has_no_position_before_it_is_applied",
            "a stream that was elsewhere is noted as the batch believed it to be",
            Apply(|kept, batch| {
                let answer = kept.apply(batch);
                if let Ok(Applied::PositionDiffers) = answer {
                    for moved in batch.position_changes() {
                        if let Some(from) = moved.from {
                            kept.positions.entry(moved.stream.clone()).or_insert(from);
                        }
                    }
                }
                answer
            }),
        ),
        (
            "a_stream_with_a_similar_name_is_unaffected",
            "names are looked up without regard to case",
            Places(|kept, streams| {
                let lower: BTreeMap<_, _> =
                    kept.positions.iter().map(|(name, at)| (name.as_str().to_lowercase(), *at)).collect();
                let place = |stream: &eventsrc_core::StreamName| StreamPosition {
                    position: lower.get(&stream.as_str().to_lowercase()).copied(),
                    quarantined: false,
                };
                Ok(streams.iter().map(place).collect())
            }),
        ),
        (
            "positions_are_returned_in_the_order_of_the_request",
            "places come by name",
            Places(|kept, streams| {
                let mut sorted = streams.to_vec();
                sorted.sort();
                Ok(sorted.iter().map(|stream| kept.place(stream)).collect())
            }),
        ),
        (
            "a_stream_requested_twice_is_returned_twice",
            "each stream is answered once",
            Places(|kept, streams| {
                let mut left: BTreeMap<_, _> =
                    streams.iter().map(|stream| (stream, kept.place(stream))).collect();
                Ok(streams.iter().filter_map(|stream| left.remove(stream)).collect())
            }),
        ),
        (
            "a_request_for_no_streams_returns_an_empty_list",
            "no streams are taken for all",
            Places(|kept, streams| {
                let all = kept.positions.keys().filter(|_| streams.is_empty());
                Ok(streams.iter().chain(all).map(|stream| kept.place(stream)).collect())
            }),
        ),
        (
            "any_number_of_streams_may_be_requested",
            "a question has at most 32,766 parameters",
            Places(|kept, streams| {
                if streams.len() > 32_766 {
                    return Err(StorageError::new(ErrorKind::Invalid, "too many SQL variables"));
                }
                Ok(streams.iter().map(|stream| kept.place(stream)).collect())
            }),
        ),
        (
            "positions_are_sorted_by_name",
            "the order is that of a language",
            Positions(|kept, after, limit| {
                let mut found = kept.after(after, limit);
                found.sort_by_key(|(stream, _)| stream.as_str().to_lowercase());
                found
            }),
        ),
        (
            "pages_of_positions_are_complete",
            "a page begins with the name that it is to come after",
            Positions(|kept, after, limit| {
                let from =
                    kept.positions.iter().filter(|(stream, _)| after.is_none_or(|after| *stream >= after));
                from.take(limit).map(|(stream, position)| (stream.clone(), *position)).collect()
            }),
        ),
        (
            "positions_may_begin_after_any_name",
            "after a name that has no position comes nothing",
            Positions(|kept, after, limit| match after {
                Some(after) if !kept.positions.contains_key(after) => Vec::new(),
                after => kept.after(after, limit),
            }),
        ),
        (
            "streams_in_quarantine_keep_their_positions",
            "streams in quarantine are not listed",
            Positions(|kept, after, limit| {
                let mut sound = kept.clone();
                sound.positions.retain(|stream, _| !kept.quarantined.contains_key(stream));
                sound.after(after, limit)
            }),
        ),
        ("versions_are_distinct", "versions have one digit", Which(|which| which.1 %= 10)),
        (
            "versions_are_distinct",
            "a quarantine is one of all versions",
            Quarantined(|views, which| {
                let versions = views.versions(which).flat_map(|kept| kept.quarantined.clone());
                versions.collect::<BTreeMap<_, _>>().into_values().collect()
            }),
        ),
        (
            "versions_are_distinct",
            "a decision to skip is one of all versions",
            Skipped(|views, which| views.versions(which).flat_map(|kept| kept.skipped.clone()).collect()),
        ),
        (
            "views_are_distinct",
            "names are cut at the last mark",
            Which(|which| which.0 = which.0.split('_').next().unwrap_or_default().into()),
        ),
    ]
}
