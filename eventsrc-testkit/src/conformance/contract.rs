//! The contract of an event storage: its sentences, and the rules that check each.

use eventsrc_core::storage::ScanStorage;

use super::backend::Backend;
use super::rule::{Rule, rules};
use super::suite::Suite;
use super::trial::Trial;
use super::{
    atomicity, cancellation, conflicts, diverging, heads, invalid_puts, lost_replies, puts, races, reading,
    recent, round_trips, scanning, streams, unreadable, visibility,
};

/// Returns the rules of [`EventStorage`](eventsrc_core::EventStorage).
pub fn storage_suite<B: Backend>() -> Suite<B> {
    let mut rules = putting_rules();
    rules.extend(reading_rules());
    Suite::new(rules)
}

/// Returns the rules of [`ScanStorage`].
pub fn scan_suite<B: Backend<Storage: ScanStorage>>() -> Suite<B> {
    Suite::new(scan_rules())
}

fn putting_rules<B: Backend>() -> Vec<Rule<B>> {
    rules! { Trial;
        "A put stores a commit of one or more events if it directly follows the end of its stream." => puts [
            a_put_on_an_empty_stream_is_stored,
            a_put_after_the_latest_commit_is_stored,
            a_put_after_a_commit_of_several_events_is_stored,
            a_commit_of_two_events_is_stored,
            a_commit_of_26_events_is_stored,
            a_commit_of_101_events_is_stored,
            a_commit_of_1000_events_is_stored,
            a_stream_of_300_commits_is_stored,
            a_payload_of_a_megabyte_is_stored,
            a_stream_of_more_than_a_megabyte_is_stored,
            a_put_directly_after_one_of_another_handle_is_stored,
        ];
        "A commit is stored whole or not at all, and no reader ever sees a part of it." => atomicity [
            a_reader_never_sees_a_part_of_a_commit,
            a_reader_through_another_handle_never_sees_a_part,
            latest_never_lies_inside_a_commit,
        ];
        "Of any number of concurrent puts at one sequence, exactly one is stored." => races [
            of_two_racing_puts_one_is_stored,
            of_64_racing_puts_one_is_stored,
            of_racing_puts_through_two_handles_one_is_stored,
            of_racing_puts_of_different_lengths_one_is_stored,
            of_racing_puts_after_a_commit_one_is_stored,
            of_racing_puts_from_different_zones_one_is_stored,
            writers_that_retry_conflicts_store_every_commit_once,
        ];
        "A put at a sequence that another commit holds changes nothing and returns [`Put::Conflict`], never an error."
            => conflicts [
            a_put_at_a_taken_sequence_is_a_conflict,
            a_put_at_a_taken_sequence_changes_nothing,
            a_put_at_an_earlier_commit_is_a_conflict,
            a_longer_commit_at_a_taken_sequence_stores_no_part,
            a_shorter_commit_at_a_taken_sequence_is_a_conflict,
            the_same_payloads_under_another_id_are_a_conflict,
            a_commit_id_stored_at_another_sequence_is_a_conflict,
            a_put_after_a_conflict_is_stored,
            a_conflicting_commit_is_stored_at_the_next_sequence,
            a_put_at_a_taken_sequence_with_another_previous_is_a_conflict,
            a_hundred_conflicts_change_nothing,
            a_conflicting_commit_is_readable,
            the_data_of_a_conflict_is_correct,
        ];
        "A put at a sequence that another commit holds changes nothing and returns [`Put::Conflict`], never an error."
            needs decodes => unreadable [
            a_put_that_meets_an_unreadable_commit_is_a_conflict,
        ];
        "A conflict carries the commit that holds the sequence, if the backend can return it without another read."
            needs conflict_has_commit => conflicts [
            a_conflict_carries_the_commit_in_the_way,
            a_conflict_carries_the_commit_whole,
            a_conflict_carries_the_commit_at_its_sequence,
            losers_of_a_race_get_the_winning_commit,
        ];
        "A conflict carries the commit that holds the sequence, if the backend can return it without another read."
            needs conflict_has_commit => invalid_puts [
            a_conflict_inside_a_commit_carries_that_commit,
        ];
        "A conflict carries the head of the stream, if the backend can return it without another read."
            needs conflict_has_head => conflicts [
            a_conflict_carries_the_head,
            a_conflict_carries_the_head_of_the_latest_commit,
        ];
        "A put of a commit that is already stored at this sequence, recognised by its commit id, changes nothing and \
         returns [`Put::Repeated`] with the last sequence of the stored commit. This happens after a lost reply or a \
         repeated command." => lost_replies [
            a_second_put_of_the_only_commit_is_repeated,
            a_second_put_of_the_latest_commit_is_repeated,
            a_second_put_of_an_earlier_commit_is_repeated,
            a_second_put_of_many_events_is_repeated,
            a_second_put_stores_no_second_copy,
            a_second_put_through_another_handle_is_repeated,
            concurrent_puts_of_one_commit_store_it_once,
            a_second_put_is_recognised_by_its_commit_id,
            a_second_put_returns_the_last_stored_sequence,
            a_second_put_with_another_previous_is_repeated,
            a_second_put_does_not_change_the_head,
        ];
        "A put of a commit that is already stored at this sequence, recognised by its commit id, changes nothing and \
         returns [`Put::Repeated`] with the last sequence of the stored commit. This happens after a lost reply or a \
         repeated command."
            needs decodes => unreadable [
            a_second_put_of_an_unreadable_commit_is_repeated,
        ];
        "Streams are independent: a put to one stream does not appear in another, however similar their names are."
            => streams [
            the_same_id_in_two_categories_is_two_streams,
            names_with_a_common_prefix_are_distinct,
            ids_with_slashes_are_distinct,
            ids_with_separators_are_distinct,
            names_that_differ_in_case_are_distinct,
            names_that_differ_in_spaces_are_distinct,
            ids_with_control_characters_are_distinct,
            unicode_names_are_distinct,
            emoji_names_are_distinct,
            ids_with_quotes_are_distinct,
            ids_with_wildcards_are_distinct,
            ids_that_look_like_numbers_are_distinct,
            very_long_ids_are_distinct,
            a_sequence_taken_on_one_stream_is_free_on_another,
            a_commit_id_may_be_stored_on_two_streams,
            two_thousand_streams_are_distinct,
        ];
        "Streams are independent: a put to one stream does not appear in another, however similar their names are."
            => races [
            writers_on_different_streams_do_not_conflict,
        ];
        "A put at a sequence inside a stored commit is a conflict." => invalid_puts [
            a_put_inside_a_commit_is_a_conflict,
            a_put_that_begins_inside_the_latest_commit_is_a_conflict,
            a_put_inside_a_commit_under_its_id_is_a_conflict,
        ];
        "A put of a commit beyond the next sequence of its stream is an error of kind `Diverged`: its writer knows events \
         that are not stored here. A stream without events begins at the first sequence." => diverging [
            a_put_that_leaves_a_hole_of_one_diverges,
            a_put_that_leaves_a_hole_after_several_events_diverges,
            a_put_that_leaves_a_large_hole_diverges,
            a_linked_put_that_leaves_a_hole_diverges,
            a_put_beyond_the_first_sequence_of_an_empty_stream_diverges,
        ];
        "A put of a commit whose [`previous`](Commit::previous) is not the id of the last stored commit is an error of kind \
         `Diverged`. A commit without a `previous` is not compared." => diverging [
            a_put_after_another_commit_diverges,
            a_put_after_another_commit_than_an_unlinked_one_diverges,
            a_put_after_another_commit_diverges_through_another_handle,
            a_commit_without_a_previous_is_stored,
        ];
        "An error of kind `Diverged` names the stream, the sequence before the commit, and both commit ids as far as they \
         are known; its source is a [`Diverged`](super::Diverged)." => diverging [
            the_error_for_a_hole_names_both_ends,
            the_error_on_an_empty_stream_has_no_stored_end,
            the_error_for_another_previous_names_both_commits,
        ];
        "A put of a commit that begins before the first sequence or extends past the last one, that has a malformed \
         stream name, or that is the first of its stream and names a previous one, is an error of kind `Invalid`." => invalid_puts [
            a_commit_past_the_last_sequence_is_refused,
            a_first_commit_with_a_previous_is_refused,
            a_name_without_a_category_is_refused,
            a_name_without_an_id_is_refused,
            a_category_with_a_slash_is_refused,
            a_name_with_a_zero_character_is_refused,
        ];
        "A put of a commit whose time, rounded down to the microsecond, is not a time, is an error of kind `Invalid`."
            => invalid_puts [
            a_time_that_would_not_come_back_is_refused,
        ];
        "A put of a commit in which an event has no payload or several, because an upcaster dropped or split it, is an error \
         of kind `Invalid`." => invalid_puts [
            a_commit_with_an_event_without_a_payload_is_refused,
            a_commit_with_a_split_event_is_refused,
        ];
        "A put of the first commit of a stream whose name, `category/id`, has more than 16,384 bytes is an error of kind \
         `Invalid`. A name of up to 1,024 bytes is stored. One in between is stored whole or refused as `Invalid`, as the \
         backend documents." => invalid_puts [
            a_new_stream_with_a_longer_name_is_refused,
            names_that_every_backend_stores_are_stored,
            a_longer_name_is_stored_whole_or_refused,
        ];
        "An error of kind `Invalid`, `Diverged` or `Overloaded` means that the put stored nothing." => invalid_puts [
            a_commit_past_the_last_sequence_changes_nothing,
            a_put_under_a_malformed_name_changes_nothing,
        ];
        "An error of kind `Invalid`, `Diverged` or `Overloaded` means that the put stored nothing." => diverging [
            a_put_that_leaves_a_hole_changes_nothing,
            a_put_after_another_commit_changes_nothing,
        ];
        "After a put has returned `Stored` or `Repeated`, every later read sees the commit, from any task or process."
            => visibility [
            a_stored_commit_is_read_at_once,
            a_stored_commit_is_read_at_once_from_its_sequence,
            a_stored_commit_is_read_from_another_task,
            a_stored_commit_is_read_through_an_earlier_handle,
            a_stored_commit_outlives_the_handle,
            latest_is_up_to_date_through_every_handle,
            concurrent_writers_read_their_own_commits,
        ];
        "After a put has returned `Stored` or `Repeated`, every later read sees the commit, from any task or process."
            => races [
            two_handles_may_write_in_turn,
        ];
        "A put may be cancelled: if its future is dropped, the commit is stored whole or not at all." => cancellation [
            a_dropped_put_stores_its_commit_whole_or_not_at_all,
            a_dropped_put_blocks_no_other_call,
            concurrent_dropped_puts_leave_every_stream_complete,
        ];
    }
}

fn reading_rules<B: Backend>() -> Vec<Rule<B>> {
    rules! { Trial;
        "`latest` returns the head of the stream: the last sequence, and the time and id of the last commit. It is `None` for \
         a stream without events." => reading [
            latest_is_none_without_events,
            latest_is_the_last_sequence_of_the_commit,
            latest_has_the_time_of_the_last_commit,
            latest_has_the_id_of_the_last_commit,
            latest_advances_with_each_commit,
            latest_is_ordered_by_sequence_not_by_time,
            a_put_right_after_latest_is_stored,
        ];
        "`recent` returns the heads after each of the last commits, newest first, and at most as many as asked for."
            => recent [
            recent_is_newest_first,
            recent_has_the_end_of_each_commit,
            recent_returns_at_most_as_many_as_asked_for,
            recent_returns_fewer_if_the_stream_has_fewer,
            recent_of_no_commits_is_empty,
            recent_is_empty_without_events,
            recent_agrees_with_latest,
            recent_of_300_commits_is_complete,
        ];
        "`recent` and `latest` do not decode payloads, so an unreadable event does not stop the writers of its stream."
            needs decodes => unreadable [
            latest_does_not_decode,
            recent_does_not_decode,
            an_unreadable_event_does_not_stop_writers,
        ];
        "`events` delivers events in order, without holes or repetitions, in pages of bounded size." => reading [
            events_are_in_order_without_holes_or_repetitions,
            a_long_stream_comes_in_several_pages,
            concurrent_reads_of_one_stream_are_complete,
        ];
        "`events` from a sequence starts at exactly that event, even inside a commit, and is empty beyond the end."
            => reading [
            events_from_the_first_sequence_are_all,
            events_from_the_first_of_a_commit_begin_there,
            events_from_inside_a_commit_begin_there,
            events_from_every_index_of_a_long_commit_begin_there,
            a_long_stream_is_read_from_each_of_its_sequences,
            events_from_the_last_sequence_are_the_last_event,
            events_from_beyond_the_end_are_empty,
            events_from_far_beyond_the_end_are_empty,
            events_from_another_zone_begin_at_the_first_not_less,
        ];
        "`events_after` the end of a commit delivers the same events as `events` from the next sequence." => reading [
            events_after_a_commit_are_those_from_the_next_sequence,
        ];
        "A read of a stream without events is empty and not an error." => reading [
            a_stream_without_events_is_empty,
            a_stream_without_events_is_empty_from_any_sequence,
            reading_a_stream_changes_nothing,
        ];
        "Events are returned as they were put: key, sequence, previous commit, time (to the microsecond), metadata and \
         payload." => round_trips [
            keys_come_back,
            sequences_beyond_16_bits_come_back,
            previous_commits_come_back,
            zones_come_back,
            times_come_back_to_the_microsecond,
            times_before_1970_come_back,
            times_of_the_far_future_come_back,
            times_finer_than_a_microsecond_come_back_rounded_down,
            times_that_run_backwards_come_back,
            commit_ids_of_every_kind_come_back,
            the_correlation_id_comes_back,
            the_causation_id_comes_back,
            the_actor_comes_back,
            the_dependencies_come_back,
            dependencies_on_many_streams_come_back,
            all_metadata_together_comes_back,
            unicode_metadata_comes_back,
            an_empty_text_is_not_none,
            long_metadata_comes_back,
            empty_payloads_come_back,
            texts_of_every_character_come_back,
            bytes_of_every_value_come_back,
            numbers_at_the_ends_of_their_range_come_back,
            payloads_of_different_sizes_come_back,
            events_of_a_commit_come_back_in_order,
            events_come_back_in_their_commits,
        ];
        "A read that has started may or may not see later puts, but never a part of a commit." => reading [
            a_running_read_continues_during_writes,
        ];
        "An event that cannot be read is an error of kind `Corrupt`, or `Unsupported` if a newer process wrote it in a \
         version or kind that this one does not know. The error names the stream and the sequence. The events before it \
         are delivered first, and no event is skipped silently." needs decodes => unreadable [
            an_unreadable_event_is_a_corrupt_error,
            an_unreadable_event_names_its_stream,
            an_unreadable_event_names_its_sequence,
            an_unreadable_event_keeps_its_cause,
            events_before_an_unreadable_one_are_delivered,
            events_after_an_unreadable_one_can_be_read,
            an_unreadable_event_stops_its_own_stream_only,
        ];
        "Dropping a stream of events early is allowed and releases its resources." => cancellation [
            events_may_be_dropped_early,
            dropped_events_release_their_resources,
            unread_events_block_no_other_call,
            a_dropped_latest_blocks_no_other_call,
        ];
    }
}

fn scan_rules<B: Backend<Storage: ScanStorage>>() -> Vec<Rule<B>> {
    rules! { Trial;
        "A scan delivers every event of every stream that was stored when the scan started; it may or may not deliver \
         later ones." => scanning [
            an_empty_storage_scans_as_empty,
            a_scan_delivers_every_event,
            a_scan_delivers_what_was_just_stored,
            a_scan_delivers_a_commit_of_1000_events,
            a_scan_delivers_two_thousand_streams,
            a_scan_returns_commits_unchanged,
            a_scan_during_writes_delivers_earlier_commits,
            a_scan_agrees_with_the_streams,
        ];
        "Segments of the same total are disjoint, and together they cover all streams." => scanning [
            two_segments_are_disjoint_and_complete,
            three_segments_are_disjoint_and_complete,
            seven_segments_are_disjoint_and_complete,
            more_segments_than_streams_are_complete,
            segments_through_different_handles_are_complete,
            concurrent_segments_are_complete,
        ];
        "Each stream belongs to exactly one segment, and its events are in order, without holes or repetitions."
            => scanning [
            a_stream_lies_in_one_segment,
        ];
        "A page may hold events of several streams, and a stream may continue in a later page, with other streams in \
         between." => scanning [
            scanned_streams_are_in_order,
            a_scan_may_be_dropped_early,
        ];
        "A commit is stored whole or not at all, and no reader ever sees a part of it." => atomicity [
            a_scan_never_sees_a_part_of_a_commit,
        ];
        "An event that cannot be read is an error of kind `Corrupt` or `Unsupported` that names the event, and no event is \
         skipped silently." needs decodes => unreadable [
            a_scan_names_an_unreadable_event,
        ];
        "`heads` delivers every stream that had events when the call started, once; it may or may not deliver later ones."
            => heads [
            an_empty_storage_has_no_heads,
            heads_deliver_every_stream_once,
            heads_deliver_what_was_just_stored,
            heads_return_keys_unchanged,
            heads_during_writes_deliver_every_stream_once,
        ];
        "The head of a stream is what `latest` returns at some moment after the call of `heads` started." => heads [
            heads_are_what_latest_answers,
            a_head_never_lies_inside_a_commit,
        ];
        "The heads of a segment are those of the streams that a scan of the same segment delivers." => heads [
            heads_of_segments_are_disjoint_and_complete,
            heads_cover_the_streams_of_a_scan,
        ];
        "`heads` delivers pages of bounded size, and dropping them early is allowed." => heads [
            heads_of_many_streams_come_in_several_pages,
            heads_may_be_dropped_early,
        ];
        "`heads` does not decode payloads, so an unreadable event hides no stream." needs decodes => heads [
            heads_do_not_decode,
        ];
    }
}
