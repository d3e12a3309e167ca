//! Payloads of the events of a commit.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};

use vec1::{Size0Error, Vec1};

use crate::codec::{Codec, CodecError};

/// Payloads of the events of a commit, in order. Dereferences to the slice of all payloads.
///
/// An event that is put has one payload. An event that is read may have none or several, if an upcaster dropped or split it
/// ([`Kind::split`](crate::codec::Kind::split)); it still is one event, with one sequence.
///
/// ```
/// use eventsrc_core::commit::{Payloads, vec1};
///
/// let payloads = Payloads::from(vec1!["opened", "deposited"]);
/// assert_eq!((payloads.event_count(), payloads[1]), (2, "deposited"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Payloads<E> {
    values: Vec<E>,
    /// Number of payloads up to the end of each event. Empty if each event has one payload.
    ends: Vec<usize>,
}

impl<E> Payloads<E> {
    /// Returns the number of events, at least 1.
    pub fn event_count(&self) -> usize {
        if self.ends.is_empty() { self.values.len() } else { self.ends.len() }
    }

    /// Returns the payloads of the event at `index`.
    ///
    /// # Panics
    ///
    /// If there is no such event.
    pub fn of_event(&self, index: usize) -> &[E] {
        &self.values[self.position(index)..self.position(index + 1)]
    }

    /// Returns the payloads if each event has exactly one, which is what a storage puts.
    pub fn one_each(&self) -> Option<&[E]> {
        self.ends.is_empty().then_some(&*self.values)
    }

    /// Converts each payload.
    #[must_use]
    pub fn mapped<E2>(self, map: impl FnMut(E) -> E2) -> Payloads<E2> {
        Payloads { values: self.values.into_iter().map(map).collect(), ends: self.ends }
    }

    /// Converts each payload, until `map` returns an error.
    ///
    /// # Errors
    ///
    /// The first error of `map`.
    pub fn try_mapped<E2, Err>(self, map: impl FnMut(E) -> Result<E2, Err>) -> Result<Payloads<E2>, Err> {
        Ok(Payloads { values: self.values.into_iter().map(map).collect::<Result<_, _>>()?, ends: self.ends })
    }

    /// Returns the payloads of the events at `events`, each with the index of its event.
    pub(crate) fn indexed(
        &self,
        events: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (usize, &E)> + ExactSizeIterator {
        let first = self.position(events.start);
        let values = &self.values[first..self.position(events.end)];
        values.iter().enumerate().map(move |(offset, payload)| {
            let position = first + offset;
            let event = if self.ends.is_empty() {
                position
            } else {
                self.ends.partition_point(|end| *end <= position)
            };
            (event, payload)
        })
    }

    /// Returns the position of the first payload of the event at `index`.
    fn position(&self, index: usize) -> usize {
        if self.ends.is_empty() || index == 0 { index } else { self.ends[index - 1] }
    }
}

/// One payload for each event.
impl<E> From<Vec1<E>> for Payloads<E> {
    fn from(payloads: Vec1<E>) -> Self {
        Self { values: payloads.into_vec(), ends: Vec::new() }
    }
}

/// One payload for each event. Fails if there is none.
impl<E> TryFrom<Vec<E>> for Payloads<E> {
    type Error = Size0Error;

    fn try_from(payloads: Vec<E>) -> Result<Self, Size0Error> {
        Vec1::try_from_vec(payloads).map(Self::from)
    }
}

/// A list of the payloads, or of the lists of payloads of each event if one has not exactly one.
impl<E: fmt::Debug> fmt::Debug for Payloads<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.one_each() {
            Some(payloads) => payloads.fmt(f),
            None => {
                f.debug_list().entries((0..self.event_count()).map(|index| self.of_event(index))).finish()
            }
        }
    }
}

impl<E> Deref for Payloads<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        &self.values
    }
}

impl<E> DerefMut for Payloads<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        &mut self.values
    }
}

impl<E> IntoIterator for Payloads<E> {
    type Item = E;
    type IntoIter = std::vec::IntoIter<E>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter()
    }
}

impl<'a, E> IntoIterator for &'a mut Payloads<E> {
    type Item = &'a mut E;
    type IntoIter = std::slice::IterMut<'a, E>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.iter_mut()
    }
}

impl<'a, E> IntoIterator for &'a Payloads<E> {
    type Item = &'a E;
    type IntoIter = std::slice::Iter<'a, E>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.iter()
    }
}

/// Decodes the events of a commit, one after the other.
#[derive(Debug)]
pub struct PayloadsDecoder<E> {
    payloads: Payloads<E>,
}

impl<E> PayloadsDecoder<E> {
    /// Creates a decoder for about `events` events.
    pub fn with_capacity(events: usize) -> Self {
        Self { payloads: Payloads { values: Vec::with_capacity(events), ends: Vec::new() } }
    }

    /// Decodes the next event, which `codec` wrote with version `version`.
    ///
    /// # Errors
    ///
    /// [`CodecError`] of the event.
    pub fn decode<C: Codec<E> + ?Sized>(
        &mut self,
        codec: &C,
        version: u32,
        bytes: &[u8],
    ) -> Result<(), CodecError> {
        let Payloads { values, ends } = &mut self.payloads;
        let before = values.len();
        codec.decode_event(version, bytes, values)?;
        let is_one = values.len() == before + 1;
        if !(is_one && ends.is_empty()) {
            if ends.is_empty() {
                ends.extend(1..=before);
            }
            ends.push(values.len());
        }
        Ok(())
    }

    /// Returns the number of decoded events.
    pub fn event_count(&self) -> usize {
        self.payloads.event_count()
    }

    /// Returns the payloads, or `None` if no event was decoded.
    pub fn finish(self) -> Option<Payloads<E>> {
        Some(self.payloads).filter(|payloads| payloads.event_count() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a number `n` as `n` payloads, each with the value `n`.
    struct Repeated;

    impl Codec<u8> for Repeated {
        fn version(&self) -> u32 {
            1
        }

        fn is_text(&self) -> bool {
            false
        }

        fn encode(&self, value: &u8, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
            bytes.push(*value);
            Ok(())
        }

        fn decode(&self, _: u32, bytes: &[u8]) -> Result<u8, CodecError> {
            Ok(bytes[0])
        }

        fn decode_event(&self, _: u32, bytes: &[u8], values: &mut Vec<u8>) -> Result<(), CodecError> {
            values.extend(std::iter::repeat_n(bytes[0], bytes[0].into()));
            Ok(())
        }
    }

    fn decoded(events: &[u8]) -> Payloads<u8> {
        let mut decoder = PayloadsDecoder::with_capacity(events.len());
        for event in events {
            decoder.decode(&Repeated, 1, &[*event]).unwrap();
        }
        decoder.finish().unwrap()
    }

    #[test]
    fn each_event_keeps_its_index_however_many_payloads_it_has() {
        for length in 1..=4 {
            for code in 0..3u32.pow(length) {
                let events: Vec<u8> = (0..length).map(|index| (code / 3u32.pow(index) % 3) as u8).collect();
                let payloads = decoded(&events);
                assert_eq!(payloads.event_count(), events.len(), "{events:?}");
                assert_eq!(
                    payloads.one_each().is_some(),
                    events.iter().all(|event| *event == 1),
                    "{events:?}"
                );
                for (index, event) in events.iter().enumerate() {
                    assert_eq!(
                        payloads.of_event(index),
                        vec![*event; usize::from(*event)],
                        "{events:?} at {index}"
                    );
                }
                for start in 0..=events.len() {
                    for end in start..=events.len() {
                        let expected: Vec<_> = (start..end)
                            .flat_map(|index| {
                                std::iter::repeat_n((index, events[index]), events[index].into())
                            })
                            .collect();
                        let found: Vec<_> =
                            payloads.indexed(start..end).map(|(index, payload)| (index, *payload)).collect();
                        assert_eq!(found, expected, "{events:?} from {start} to {end}");
                    }
                }
            }
        }
    }

    #[test]
    fn payloads_are_shown_as_a_list() {
        assert_eq!(format!("{:?}", decoded(&[1, 1])), "[1, 1]");
        assert_eq!(format!("{:?}", decoded(&[1, 0, 2])), "[[1], [], [2, 2]]");
    }

    #[test]
    fn no_event_is_not_a_commit() {
        assert_eq!(PayloadsDecoder::<u8>::with_capacity(0).finish(), None);
    }
}
