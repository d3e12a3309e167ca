//! The contract of a snapshot storage: its sentences, and the rules that check each.

use super::backend::SnapshotBackend;
use super::rule::rules;
use super::snapshot_trial::SnapshotTrial;
use super::suite::Suite;
use super::{snapshot_modes, snapshots};

/// Returns the rules of [`SnapshotStorage`](eventsrc_core::snapshot::SnapshotStorage).
pub fn snapshot_suite<B: SnapshotBackend>() -> Suite<B> {
    Suite::new(rules! { SnapshotTrial;
        "A snapshot is found under the query key and the fold version that it was put with, and under no other."
            => snapshots [
            versions_are_distinct,
            each_version_has_its_own_snapshots,
        ];
        "Query keys are independent of each other, and so are storages with different names in one file or table."
            => snapshots [
            keys_are_distinct,
            keys_that_differ_in_case_or_spaces_are_distinct,
            unicode_keys_are_distinct,
            long_keys_are_distinct,
        ];
        "Query keys are independent of each other, and so are storages with different names in one file or table."
            needs has_names => snapshots [
            names_are_distinct,
        ];
        "`Latest` is the snapshot with the greatest sequence, `Earliest` the one with the least, and `Before(s)` the one \
         with the greatest sequence less than `s`." => snapshots [
            latest_is_the_greatest,
            earliest_is_the_least,
            before_is_the_greatest_that_is_less,
            before_a_sequence_excludes_the_snapshot_at_it,
            before_a_sequence_includes_the_cached_one,
            zones_are_in_order,
        ];
        "A snapshot that does not exist is `None` and not an error." => snapshots [
            a_missing_snapshot_is_none,
        ];
        "A snapshot is returned as it was put: value or deletion, sequence, time (to the microsecond) and commit id."
            => snapshots [
            values_come_back,
            deletions_come_back,
            a_deletion_replaces_a_value,
            sequences_come_back,
            times_come_back,
            commit_ids_come_back,
            large_values_come_back,
            a_snapshot_is_visible_through_every_handle,
        ];
        "A put with mode `Cache` replaces the cached snapshot of the key, unless the cached one has a greater sequence. A \
         slow writer therefore never moves a cache backwards." => snapshot_modes [
            the_cache_keeps_one_snapshot,
            the_cache_never_goes_back,
            an_older_value_does_not_replace_a_cached_deletion,
            the_cache_replaces_one_of_the_same_sequence,
            the_cache_is_independent_of_epochs,
        ];
        "A put with mode `Epoch` stores the snapshot in addition to all others, and replaces an epoch of the same sequence."
            => snapshot_modes [
            epochs_are_kept,
            an_epoch_may_be_put_out_of_order,
            an_epoch_replaces_one_of_the_same_sequence,
        ];
        "A cached snapshot never replaces an epoch, and an epoch never replaces a cached snapshot of another sequence."
            => snapshot_modes [
            a_cached_snapshot_replaces_no_epoch,
            an_epoch_outlives_a_cached_one_of_its_sequence,
            an_epoch_replaces_no_cached_snapshot,
        ];
        "A put of a snapshot of no event, or of one inside a commit, stores nothing." => snapshot_modes [
            a_snapshot_of_no_event_is_not_kept,
            a_snapshot_of_no_event_replaces_nothing,
            a_snapshot_inside_a_commit_is_not_kept,
        ];
        "A snapshot that cannot be read is an error of kind `Corrupt`, and a query that gets this error folds the events instead."
            needs decodes => snapshot_modes [
            an_unreadable_snapshot_is_a_corrupt_error,
            an_unreadable_snapshot_does_not_affect_others,
        ];
        "Any number of tasks may put and get concurrently." => snapshot_modes [
            concurrent_cache_puts_keep_the_greatest,
            concurrent_epoch_puts_are_all_kept,
            a_reader_during_writes_never_goes_back,
        ];
    })
}
