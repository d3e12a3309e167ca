//! The contract of a snapshot storage, sentence by sentence, and the rules that check each.

use super::backend::SnapshotBackend;
use super::contract::rules;
use super::report::Suite;
use super::snapshot_trial::SnapshotTrial;
use super::{snapshot_modes, snapshots};

/// The rules of [`SnapshotStorage`](eventsrc_core::snapshot::SnapshotStorage).
pub fn snapshot_suite<B: SnapshotBackend>() -> Suite<B> {
    Suite::new(rules! { SnapshotTrial;
        "A snapshot is found under the query key and the fold version that it was put with, and under no other." => snapshots [
            versions_are_apart,
            each_version_has_its_own_snapshots,
        ];
        "Query keys are independent, and so are storages of different names that share a file or a table." => snapshots [
            keys_are_apart,
            keys_that_differ_in_case_or_spaces_are_apart,
            unicode_keys_are_apart,
            long_keys_are_apart,
        ];
        "Query keys are independent, and so are storages of different names that share a file or a table."
            needs has_names => snapshots [
            names_are_apart,
        ];
        "`Latest` is the one with the greatest sequence, `Earliest` the one with the least, and `Before(s)` the greatest \
         of those with a sequence less than `s`." => snapshots [
            latest_is_the_greatest,
            earliest_is_the_least,
            before_is_the_greatest_that_is_less,
            before_a_sequence_is_not_the_one_at_it,
            before_a_sequence_may_be_the_cached_one,
            zones_are_in_order,
        ];
        "What is not there is `None`, which is no error." => snapshots [
            what_is_not_there_is_none,
        ];
        "A snapshot comes back as it was put: value or deletion, sequence and time (to the microsecond)." => snapshots [
            values_come_back,
            deletions_come_back,
            a_deletion_replaces_a_value,
            sequences_come_back,
            times_come_back,
            large_values_come_back,
            what_was_put_is_there_through_every_handle,
        ];
        "A put with mode `Cache` replaces the cached snapshot of the key unless that one has a greater sequence: a slow \
         writer never sets a cache back." => snapshot_modes [
            the_cache_keeps_one_snapshot,
            the_cache_never_goes_back,
            a_cached_deletion_is_not_set_back,
            the_cache_replaces_one_of_the_same_sequence,
            the_cache_is_apart_from_the_epochs,
        ];
        "A put with mode `Epoch` keeps the snapshot beside all others; at a sequence that has one already, it replaces it." => snapshot_modes [
            epochs_are_kept,
            an_epoch_may_be_put_late,
            an_epoch_replaces_one_of_the_same_sequence,
        ];
        "A cached snapshot never replaces an epoch, nor an epoch a cached one of another sequence." => snapshot_modes [
            a_cached_snapshot_replaces_no_epoch,
            an_epoch_outlives_a_cached_one_of_its_sequence,
            an_epoch_replaces_no_cached_snapshot,
        ];
        "A snapshot of no event is not kept, and neither is one inside a commit: putting it does nothing." => snapshot_modes [
            a_snapshot_of_no_event_is_not_kept,
            a_snapshot_of_no_event_replaces_nothing,
            a_snapshot_inside_a_commit_is_not_kept,
        ];
        "A snapshot that cannot be read is an error of kind `Corrupt`; the query that meets it folds from the events."
            needs decodes => snapshot_modes [
            an_unreadable_snapshot_is_a_corrupt_error,
            an_unreadable_snapshot_stops_no_other,
        ];
        "Any number of tasks may put and get at once." => snapshot_modes [
            the_greatest_of_many_cached_at_once_is_kept,
            epochs_put_at_once_are_all_kept,
            a_reader_beside_a_writer_never_goes_back,
        ];
    })
}
