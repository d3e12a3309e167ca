//! Codecs that check less often than always that a value comes back as it was.

use std::collections::HashSet;
use std::fmt;
use std::mem::{Discriminant, discriminant};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::contract::{Codec, CodecError};

/// Codec that never checks whether a value comes back as it was. For values that are known to round-trip, such as those of
/// a type that `assert_round_trips` of the testkit has tested, and for tests of unreadable events.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unchecked<C>(pub C);

impl<T, C: Codec<T>> Codec<T> for Unchecked<C> {
    fn version(&self) -> u32 {
        self.0.version()
    }

    fn version_of(&self, value: &T) -> u32 {
        self.0.version_of(value)
    }

    fn is_text(&self) -> bool {
        self.0.is_text()
    }

    fn encode(&self, value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        self.0.encode(value, bytes)
    }

    fn check(&self, _: &T, _: &[u8]) -> Result<(), CodecError> {
        Ok(())
    }

    fn decode(&self, version: u32, bytes: &[u8]) -> Result<T, CodecError> {
        self.0.decode(version, bytes)
    }

    fn decode_event(&self, version: u32, bytes: &[u8], values: &mut Vec<T>) -> Result<(), CodecError> {
        self.0.decode_event(version, bytes, values)
    }
}

/// Codec that checks the first value of each kind, and then one of every `n` values, for events whose decoding is costly. A
/// kind is a variant of the enum `T`.
pub struct Sampled<C, T> {
    codec: C,
    every: u32,
    values: AtomicU32,
    checked: Mutex<HashSet<Discriminant<T>>>,
}

impl<C, T> Sampled<C, T> {
    /// Creates a codec that checks one of `every` values, and the first of each kind. 0 counts as 1.
    pub fn new(codec: C, every: u32) -> Self {
        Self { codec, every: every.max(1), values: AtomicU32::new(0), checked: Mutex::default() }
    }
}

impl<T: Send + 'static, C: Codec<T>> Codec<T> for Sampled<C, T> {
    fn version(&self) -> u32 {
        self.codec.version()
    }

    fn version_of(&self, value: &T) -> u32 {
        self.codec.version_of(value)
    }

    fn is_text(&self) -> bool {
        self.codec.is_text()
    }

    fn encode(&self, value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        self.codec.encode(value, bytes)
    }

    fn check(&self, value: &T, bytes: &[u8]) -> Result<(), CodecError> {
        let is_due = self.values.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.every);
        let kind = discriminant(value);
        let known = || self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_due && known().contains(&kind) {
            return Ok(());
        }
        self.codec.check(value, bytes)?;
        // A kind counts as checked only once a value of it was accepted.
        known().insert(kind);
        Ok(())
    }

    fn decode(&self, version: u32, bytes: &[u8]) -> Result<T, CodecError> {
        self.codec.decode(version, bytes)
    }

    fn decode_event(&self, version: u32, bytes: &[u8], values: &mut Vec<T>) -> Result<(), CodecError> {
        self.codec.decode_event(version, bytes, values)
    }
}

impl<C: fmt::Debug, T> fmt::Debug for Sampled<C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampled")
            .field("codec", &self.codec)
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}
