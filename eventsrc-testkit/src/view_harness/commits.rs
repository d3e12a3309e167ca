//! The commits that a harness applies.

use std::collections::HashMap;
use std::sync::Arc;

use eventsrc_core::clock::Randomness;
use eventsrc_core::commit::Vec1;
use eventsrc_core::stream::Zone;
use eventsrc_core::view::ViewStore;
use eventsrc_core::{Commit, Head, Metadata, Sequence, StreamKey, StreamName, Timestamp};

/// Commit of the streams of a view.
pub(super) type CommitOf<V> =
    Arc<Commit<<V as ViewStore>::Key, <V as ViewStore>::Sequence, <V as ViewStore>::Payload>>;

/// Returns the commits of the streams that the view follows.
pub(super) fn followed<'c, V: ViewStore>(
    view: &'c V,
    commits: &'c [CommitOf<V>],
) -> impl Iterator<Item = &'c CommitOf<V>> {
    let definition = view.definition();
    commits.iter().filter(|commit| definition.follows(named(commit).category()))
}

pub(super) fn named<K: StreamKey, S, E>(commit: &Commit<K, S, E>) -> StreamName {
    StreamName::of(&commit.key).expect("a key names a stream")
}

/// Returns the commits as a storage would hold them, one second apart.
pub(super) fn commits_of<V: ViewStore>(
    commits: impl IntoIterator<Item = (V::Key, Vec<V::Payload>)>,
) -> Vec<CommitOf<V>> {
    let ids = Randomness::seeded(0);
    let mut heads = HashMap::new();
    let commit = |(second, (key, payloads)): (i64, (V::Key, Vec<V::Payload>))| {
        let latest = heads.get(&key).copied();
        let sequence = latest.map(|head: Head<_>| head.sequence);
        let time =
            Timestamp::from_second(1_767_225_600 + second).expect("a time of this century is in range");
        let commit = Commit {
            first: V::Sequence::following(sequence, Zone::default()).expect("the stream is not full"),
            previous: latest.and_then(|head| head.commit_id),
            time,
            metadata: Metadata::new(ids.commit_id(time)),
            payloads: Vec1::try_from_vec(payloads).unwrap_or_else(|_| panic!("a commit has an event")).into(),
            key: key.clone(),
        };
        heads.insert(key, commit.head());
        Arc::new(commit)
    };
    (0..).zip(commits).map(commit).collect()
}
