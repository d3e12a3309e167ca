//! Operations, which decide to save events or to reject.

use std::fmt;

use vec1::{Vec1, vec1};

use crate::snapshot::Snapshot;
use crate::stream::{Sequence, StreamKey};
use crate::token::{Token, TokenPosition};

/// Pure function from what the writer knows of a stream to a [`Decision`]: save these events, do nothing, or reject for
/// these reasons.
///
/// The function must be pure, because it is called again after a conflict, with newer knowledge. The knowledge `Kn` is
/// the latest sequence (`Option<S>`, saved with [`SaveApi`](crate::SaveApi)) or a folded [`Snapshot`] (saved with a
/// [`Decider`](crate::Decider)). It does not include the key, so an operation works for streams of every key type.
///
/// ```
/// use eventsrc_core::{Decision, Operation};
///
/// // At most three events in a stream.
/// let add: Operation<&str, String> = Operation::new(|latest: &Option<u64>| match latest {
///     Some(3) => Decision::reject("the stream has three events already"),
///     _ => Decision::save("one more"),
/// });
/// ```
pub struct Operation<E, R = PreconditionFailed, Kn = Option<u64>> {
    decide: Box<dyn Fn(&Kn) -> Decision<E, R> + Send + Sync>,
}

/// Knowledge of a stream that an operation decides on.
pub trait Known: Send + Sync {
    /// Sequence type of the stream.
    type Sequence: Sequence;

    /// Returns the latest known sequence; `None` for a stream without events.
    fn sequence(&self) -> Option<Self::Sequence>;

    /// True if the stream has no events, or no folded value.
    fn is_absent(&self) -> bool;
}

impl<S: Sequence> Known for Option<S> {
    type Sequence = S;

    fn sequence(&self) -> Option<S> {
        *self
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<S: Sequence, V: Send + Sync> Known for Snapshot<S, V> {
    type Sequence = S;

    fn sequence(&self) -> Option<S> {
        self.sequence()
    }

    fn is_absent(&self) -> bool {
        self.value.is_none()
    }
}

/// Result of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision<E, R> {
    /// Save these events in one commit.
    Save(Vec1<E>),
    /// Save nothing, because there is nothing to do. The save succeeds.
    Nothing,
    /// Save nothing, for these reasons.
    Reject(Vec1<R>),
}

impl<E, R> Decision<E, R> {
    /// Save one event.
    pub fn save(event: E) -> Self {
        Self::Save(vec1![event])
    }

    /// Reject for one reason.
    pub fn reject(reason: impl Into<R>) -> Self {
        Self::Reject(vec1![reason.into()])
    }
}

impl<E, R, Kn> Operation<E, R, Kn> {
    /// Creates the operation that decides with `decide`.
    pub fn new(decide: impl Fn(&Kn) -> Decision<E, R> + Send + Sync + 'static) -> Self {
        Self { decide: Box::new(decide) }
    }

    /// Returns the decision for `known`.
    pub fn decide(&self, known: &Kn) -> Decision<E, R> {
        (self.decide)(known)
    }
}

impl<E: 'static, R: 'static, Kn: 'static> Operation<E, R, Kn> {
    /// Combines two operations into one that saves the events of both, first those of `self`. It rejects if one of them
    /// rejects, with the reasons of each that does. Both decide on the same knowledge; in a batch
    /// ([`SaveApi::save_all`](crate::SaveApi::save_all)), the second one sees the effect of the first.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::new(move |known| match (self.decide(known), other.decide(known)) {
            (Decision::Save(mut first), Decision::Save(second)) => {
                first.extend(second);
                Decision::Save(first)
            }
            (Decision::Reject(mut first), Decision::Reject(second)) => {
                first.extend(second);
                Decision::Reject(first)
            }
            (Decision::Reject(reasons), _) | (_, Decision::Reject(reasons)) => Decision::Reject(reasons),
            (Decision::Nothing, other) | (other, Decision::Nothing) => other,
        })
    }

    /// Combines two operations into one that decides like `self`, or like `other` if `self` rejects. If both reject, it
    /// rejects with the reasons of both.
    #[must_use]
    pub fn or_else(self, other: Self) -> Self {
        Self::new(move |known| match self.decide(known) {
            decision @ (Decision::Save(_) | Decision::Nothing) => decision,
            Decision::Reject(mut first) => match other.decide(known) {
                decision @ (Decision::Save(_) | Decision::Nothing) => decision,
                Decision::Reject(second) => {
                    first.extend(second);
                    Decision::Reject(first)
                }
            },
        })
    }

    /// Converts the events, for a stream with a wider payload type.
    pub fn map_events<E2>(self, map: impl Fn(E) -> E2 + Send + Sync + 'static) -> Operation<E2, R, Kn> {
        Operation::new(move |known| match self.decide(known) {
            Decision::Save(events) => Decision::Save(events.mapped(&map)),
            Decision::Nothing => Decision::Nothing,
            Decision::Reject(reasons) => Decision::Reject(reasons),
        })
    }

    /// Converts the reasons of a rejection.
    pub fn map_reasons<R2>(self, map: impl Fn(R) -> R2 + Send + Sync + 'static) -> Operation<E, R2, Kn> {
        Operation::new(move |known| match self.decide(known) {
            Decision::Save(events) => Decision::Save(events),
            Decision::Nothing => Decision::Nothing,
            Decision::Reject(reasons) => Decision::Reject(reasons.mapped(&map)),
        })
    }
}

impl<E: Clone + Send + Sync + 'static, Kn: Known> Operation<E, PreconditionFailed, Kn> {
    /// Saves `event` unconditionally.
    pub fn insert(event: E) -> Self {
        Self::new(move |_| Decision::save(event.clone()))
    }

    /// Saves `event` if the stream has no events or, in a [`Decider`](crate::Decider), if the folded value does not
    /// exist or is deleted.
    pub fn if_absent(event: E) -> Self {
        Self::new(move |known| {
            if known.is_absent() {
                return Decision::save(event.clone());
            }
            Decision::reject(PreconditionFailed::Present { at: known.sequence().map(|at| at.to_string()) })
        })
    }

    /// Saves `event` if `expected` is the latest sequence of the stream (`None`: the stream has no events).
    pub fn if_seq(expected: Option<Kn::Sequence>, event: E) -> Self {
        Self::if_position(expected.map(TokenPosition::of), event)
    }

    /// Saves `event` if the stream of `key` has no events after those in `token`. If the token does not name the
    /// stream, the stream must have no events.
    ///
    /// Put the token into the [`Context`](crate::Context) too: the save then also notices that the storage has another
    /// history of the stream than the token.
    pub fn if_token<K: StreamKey>(token: &Token, key: &K, event: E) -> Self {
        Self::if_position(token.position(key), event)
    }

    /// Compares the parts of the sequences, so that a position that the sequence type lacks equals no sequence.
    fn if_position(expected: Option<TokenPosition>, event: E) -> Self {
        Self::new(move |known| {
            let actual = known.sequence();
            if actual.map(TokenPosition::of) == expected {
                return Decision::save(event.clone());
            }
            Decision::reject(PreconditionFailed::Moved {
                expected: expected.map(|position| {
                    let sequence = Kn::Sequence::from_parts(position.number, position.zone);
                    sequence.map_or_else(|| position.to_string(), |sequence| sequence.to_string())
                }),
                actual: actual.map(|sequence| sequence.to_string()),
            })
        })
    }
}

impl<E, R, Kn> fmt::Debug for Operation<E, R, Kn> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").finish_non_exhaustive()
    }
}

/// Reason for which a ready-made operation rejected. Sequences are text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PreconditionFailed {
    /// A value exists where none was expected.
    #[error("there is a value already, at {}", or_start(.at))]
    Present {
        /// Sequence of the stream; `None` if the value is the initial value of the fold.
        at: Option<String>,
    },
    /// The stream is not at the expected sequence.
    #[error("the stream is at {}, not at {}", or_start(.actual), or_start(.expected))]
    Moved {
        /// Expected sequence; `None` for a stream without events.
        expected: Option<String>,
        /// Sequence of the stream; `None` for a stream without events.
        actual: Option<String>,
    },
}

fn or_start(sequence: &Option<String>) -> String {
    sequence.as_ref().map_or_else(|| "its start".into(), |sequence| format!("sequence {sequence}"))
}
