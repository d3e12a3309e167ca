//! Events are read back exactly as they were put.

use eventsrc_core::commit::Vec1;
use eventsrc_core::stream::{Zone, ZonedSequence};
use eventsrc_core::{Commit, CommitId, Metadata, Sequence, Timestamp, Token};
use uuid::Uuid;

use super::backend::Backend;
use super::sample::{Sample, SampleKey};
use super::trial::{CommitOf, SequenceOf, Trial};
use super::violation::RuleResult;

/// Times come back to the microsecond.
pub(super) async fn times_come_back_to_the_microsecond<B: Backend>(on: &Trial<B>) -> RuleResult {
    times(on, [1_767_225_600_000_001, 1_767_225_600_999_999, 1_767_225_601_000_000, 1_767_225_601_123_456])
        .await
}

/// Times before 1970 come back.
pub(super) async fn times_before_1970_come_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    // The last microsecond of 1969, some of the 1960s, the year 1 and before, and the first time that there is.
    let first = Timestamp::MIN.as_microsecond();
    times(
        on,
        [-1, -1_000_001, -157_766_399_999_999, -62_135_596_799_999_999, -62_198_755_200_000_001, first, 0],
    )
    .await
}

/// Times of the far future come back.
pub(super) async fn times_of_the_far_future_come_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    // 2038 and 2262, where seconds of 32 bits and nanoseconds of 64 bits overflow, and the last time that there is.
    let last = Timestamp::MAX.as_second() * 1_000_000;
    times(on, [2_147_483_648_000_001, 9_223_372_036_854_776, 9_223_372_037_000_001, last]).await
}

/// A time with nanoseconds comes back exactly, or truncated to the microsecond.
pub(super) async fn times_finer_than_a_microsecond_come_back_rounded_down<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    fields(on, |commit| {
        commit.time = Timestamp::from_nanosecond(1_767_225_600_123_456_999).expect("in range");
    })
    .await
}

/// Times come back even if they decrease along the stream.
pub(super) async fn times_that_run_backwards_come_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    times(on, [1_767_225_600_000_003, 1_767_225_600_000_002, 5, -5]).await
}

/// Commit ids come back, whatever their UUID version.
pub(super) async fn commit_ids_of_every_kind_come_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    let ids = [
        0,
        1,
        u128::MAX,
        0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8,
        0x0190_0000_0000_7000_8000_0000_0000_0001,
    ];
    let mut commits = Vec::new();
    for (at, id) in ids.into_iter().enumerate() {
        let mut commit = on.draft("a", 1 + at as u64, 1);
        commit.metadata.commit_id = CommitId(Uuid::from_u128(id));
        commits.push(commit.into());
    }
    on.open().await.round_trips(&commits).await
}

/// The correlation id comes back.
pub(super) async fn the_correlation_id_comes_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    fields(on, |commit| commit.metadata.correlation_id = Some("conversation 7".into())).await
}

/// The causation id comes back.
pub(super) async fn the_causation_id_comes_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    fields(on, |commit| commit.metadata.causation_id = Some("command 8".into())).await
}

/// The actor comes back.
pub(super) async fn the_actor_comes_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    fields(on, |commit| commit.metadata.actor = Some("an actor".into())).await
}

/// The dependencies come back.
pub(super) async fn the_dependencies_come_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    fields(on, |commit| commit.metadata.dependencies = token_of(&"b".into(), 7, 0)).await
}

/// Dependencies on many streams, of all names and zones, come back.
pub(super) async fn dependencies_on_many_streams_come_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    fields(on, |commit| {
        let tokens = (1..=60).map(|at| {
            token_of(&("group 🙂", &*format!("é/{at}")).into(), at * 999_999_999, at as u16 * 1_000)
        });
        commit.metadata.dependencies = tokens.fold(Token::default(), |all, one| all.join(&one));
    })
    .await
}

/// All metadata fields of one commit come back, each with its own value.
pub(super) async fn all_metadata_together_comes_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    fields(on, |commit| {
        commit.metadata = Metadata {
            commit_id: commit.metadata.commit_id,
            correlation_id: Some("a correlation".into()),
            causation_id: Some("a causation".into()),
            actor: Some("an actor".into()),
            dependencies: token_of(&"b".into(), 3, 0).join(&token_of(&"c".into(), 4, 0)),
        };
    })
    .await
}

/// Metadata with letters of all scripts, quotes and line ends comes back.
pub(super) async fn unicode_metadata_comes_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    fields(on, |commit| {
        commit.metadata.correlation_id = Some("日本語 🙂 \"quoted\" \\ back".into());
        commit.metadata.causation_id = Some("line\nline\r\n\ttab 'x' \u{7f}".into());
        commit.metadata.actor = Some("e\u{301} é {\"a\":1} ,[]".into());
    })
    .await
}

/// An empty text in the metadata comes back as an empty text and not as `None`.
pub(super) async fn an_empty_text_is_not_none<B: Backend>(on: &Trial<B>) -> RuleResult {
    fields(on, |commit| {
        commit.metadata.correlation_id = Some(String::new());
        commit.metadata.actor = Some(String::new());
    })
    .await
}

/// Metadata of 10,000 bytes comes back.
pub(super) async fn long_metadata_comes_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    fields(on, |commit| commit.metadata.actor = Some("an actor ".repeat(1_100))).await
}

/// A payload without data comes back, and so do empty texts, bytes and lists.
pub(super) async fn empty_payloads_come_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    let numbers = Sample::Numbers { signed: 0, unsigned: 0, pairs: vec![] };
    payloads(on, vec![Sample::Nothing, Sample::Text(String::new()), Sample::Bytes(vec![]), numbers]).await
}

/// Texts of all scripts, with every control character, come back.
pub(super) async fn texts_of_every_character_come_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    let texts = [
        "日本語 🙂 e\u{301} é",
        "\"quoted\" \\ 'x' %_ ]]>",
        "\u{feff}\u{2028}\u{fffd}\u{10ffff}",
        " spaces  around ",
    ];
    let controls: String = (0..=0x9f).filter_map(char::from_u32).collect();
    payloads(on, texts.into_iter().map(String::from).chain([controls]).map(Sample::Text).collect()).await
}

/// Bytes of every value come back.
pub(super) async fn bytes_of_every_value_come_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    payloads(
        on,
        vec![Sample::Bytes((0..=255).collect()), Sample::Bytes(vec![0; 300]), Sample::Bytes(vec![255])],
    )
    .await
}

/// Numbers at the limits of their range come back exactly.
pub(super) async fn numbers_at_the_ends_of_their_range_come_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    let pairs = vec![(0, None), (255, Some(true)), (7, Some(false))];
    let numbers = [(i64::MIN, u64::MAX), (i64::MAX, 0), (-1, (1 << 53) + 1), (0, 1 << 63)];
    let samples =
        numbers.map(|(signed, unsigned)| Sample::Numbers { signed, unsigned, pairs: pairs.clone() });
    payloads(on, samples.into()).await
}

/// Events of one commit come back in order, equal payloads included.
pub(super) async fn events_of_a_commit_come_back_in_order<B: Backend>(on: &Trial<B>) -> RuleResult {
    let words = ["b", "a", "c", "a", "a", "10", "9", "b"];
    payloads(on, words.map(|word| Sample::Text(word.into())).into()).await
}

/// Payloads of different sizes in one commit come back, each at its index.
pub(super) async fn payloads_of_different_sizes_come_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    let largest = on.capabilities().largest_commit.min(1 << 20) / 2;
    let sizes = [0, 1, 127, 128, 255, 256, 16_383, 16_384, 65_536, 0, largest - 85_000, 1];
    payloads(on, sizes.map(Sample::of_length).into()).await
}

/// Events come back in the commits in which they were put.
pub(super) async fn events_come_back_in_their_commits<B: Backend>(on: &Trial<B>) -> RuleResult {
    // Commits of one writer at one time differ only in their id.
    let storage = on.open().await;
    let mut commits = Vec::new();
    let time = on.draft("a", 1, 1).time;
    for (number, length) in [(1, 1), (2, 2), (4, 1), (5, 3)] {
        let mut commit = on.draft("a", number, length);
        commit.time = time;
        commit.payloads = Vec1::try_from_vec(vec![Sample::Nothing; length]).expect("not empty").into();
        commits.push(commit.into());
    }
    storage.round_trips(&commits).await
}

/// Zones come back, also if they differ within one stream.
pub(super) async fn zones_come_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    let mut commits = Vec::new();
    for (number, zone) in (1..).zip([0, 1, 255, 256, 32_768, u16::MAX, 3, 0]) {
        let mut commit = on.draft("a", number, 1);
        commit.first = SequenceOf::<B>::from_parts(number, Zone(zone)).unwrap_or(commit.first);
        commits.push(commit.into());
    }
    on.open().await.round_trips(&commits).await
}

/// Keys come back exactly, also those with characters that stores use as separators.
pub(super) async fn keys_come_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let names =
        [("user", "Ada Lovelace "), ("Имя", "a/b/c"), ("🙂", "'%_\"\\"), (" ", "\n"), ("a#b", "e\u{301}")];
    for name in names {
        storage.round_trips(&on.chain(SampleKey::from(name), [1, 2])).await?;
    }
    Ok(())
}

/// Sequences of one byte, of two and of more come back exactly.
pub(super) async fn sequences_beyond_16_bits_come_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let small = [126, 1, 1, 126, 1, 1, 1];
    let stored = on.chain("a", small.into_iter().chain([1_000; 65]).chain([277, 1, 1, 2]));
    storage.round_trips(&stored).await?;
    for commit in &stored[stored.len() - 4..] {
        storage.holds_from("a", commit.first, &stored).await?;
    }
    Ok(())
}

/// The ids of previous commits come back, of whatever UUID version, and so does their absence.
pub(super) async fn previous_commits_come_back<B: Backend>(on: &Trial<B>) -> RuleResult {
    let ids = [0, u128::MAX, 1, 0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8, 7];
    let mut commits: Vec<CommitOf<B>> = Vec::new();
    for (number, id) in (1..).zip(ids.into_iter().chain([2])) {
        let mut commit = on.draft("a", number, 1);
        commit.metadata.commit_id = CommitId(Uuid::from_u128(id));
        commit.previous = commits.last().filter(|_| id != 7).map(|last| last.metadata.commit_id);
        commits.push(commit.into());
    }
    on.open().await.round_trips(&commits).await
}

async fn times<B: Backend>(on: &Trial<B>, microseconds: impl IntoIterator<Item = i64>) -> RuleResult {
    let mut commits = Vec::new();
    for (number, time) in (1..).zip(microseconds) {
        let mut commit = on.draft("a", number, 1);
        commit.time = Timestamp::from_microsecond(time).expect("the time is in range");
        commits.push(commit.into());
    }
    on.open().await.round_trips(&commits).await
}

/// Stores a commit after `change`, between two plain ones.
async fn fields<B: Backend>(
    on: &Trial<B>,
    change: impl FnOnce(&mut Commit<SampleKey, SequenceOf<B>, Sample>),
) -> RuleResult {
    let mut changed = on.draft("a", 2, 2);
    change(&mut changed);
    on.open().await.round_trips(&[on.commit("a", 1, 1), changed.into(), on.commit("a", 4, 1)]).await
}

/// Stores the payloads in one commit, and each in a commit of its own.
async fn payloads<B: Backend>(on: &Trial<B>, payloads: Vec<Sample>) -> RuleResult {
    let storage = on.open().await;
    let mut alone = Vec::new();
    for (number, payload) in (1..).zip(&payloads) {
        let mut commit = on.draft("alone", number, 1);
        commit.payloads[0] = payload.clone();
        alone.push(commit.into());
    }
    storage.round_trips(&alone).await?;
    let mut together = on.draft("together", 1, 1);
    together.payloads = Vec1::try_from_vec(payloads).expect("there are payloads").into();
    storage.round_trips(&[together.into()]).await
}

/// Returns a token of one position in any zone.
fn token_of(key: &SampleKey, number: u64, zone: u16) -> Token {
    let sequence = ZonedSequence::from_parts(number, Zone(zone)).expect("in range");
    Token::claimed(key, sequence).expect("a well-formed name")
}
